use super::*;

#[track_caller]
fn check(add: &str, drop: &str, expected: &str) {
    let list = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let text = match CapabilitySet::tweaked(&list(add), &list(drop)) {
        Ok(set) => set.names().collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected);
}

#[test]
fn starts_from_dockers_fourteen() {
    check(
        "",
        "",
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW \
         SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP",
    );
    assert_eq!(CapabilitySet::container_default().bits(), 0xa804_25fb);
}

#[test]
fn dropping_all_leaves_what_is_added_by_name() {
    check("", "ALL", "");
    check(
        "net_bind_service cap_chown",
        "all",
        "CHOWN NET_BIND_SERVICE",
    );
    check("SYS_TIME", "ALL SYS_TIME", "SYS_TIME");
}

#[test]
fn adding_all_leaves_out_what_is_dropped_by_name() {
    assert_eq!(
        CapabilitySet::tweaked(&["ALL".into()], &[]),
        Ok(CapabilitySet::ALL)
    );
    let set = CapabilitySet::tweaked(&["ALL".into()], &["CAP_SYS_ADMIN".into()]).unwrap();
    assert_eq!(set.bits(), CapabilitySet::ALL.bits() & !(1 << 21));
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    check(
        "NET_ADMINS",
        "",
        "unknown capability `NET_ADMINS`, did you mean `NET_ADMIN`?",
    );
    check(
        "",
        "sys_trace",
        "unknown capability `sys_trace`, did you mean `SYS_PTRACE`?",
    );
    check("xyzzy", "", "unknown capability `xyzzy`");
}

#[test]
fn every_name_survives_the_way_to_oci_and_back() {
    assert_eq!(
        CapabilitySet::from_oci(&CapabilitySet::ALL.to_oci()),
        CapabilitySet::ALL
    );
}

#[test]
fn what_is_both_added_and_dropped_by_name_is_there() {
    let set = CapabilitySet::tweaked(&["KILL".into()], &["KILL".into(), "CHOWN".into()]).unwrap();
    assert!(set.has("KILL") && !set.has("CHOWN"));
}

#[test]
fn what_a_process_has_is_read_from_its_status() {
    let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t0\n";
    assert_eq!(
        CapabilitySet::from_status(status),
        Some(CapabilitySet::container_default())
    );
    assert_eq!(
        CapabilitySet::from_status("CapPrm:\tffffffffffffffff\n"),
        Some(CapabilitySet::ALL)
    );
    assert_eq!(CapabilitySet::from_status(""), None);
}
