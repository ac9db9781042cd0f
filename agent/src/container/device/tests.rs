use super::*;

/// The rule as cgroup v1 takes it, or the error.
#[track_caller]
fn check(text: &str, expected: &str) {
    let line = match DeviceRule::parse(text) {
        Ok(rule) => {
            assert_eq!(DeviceRule::from_oci(&rule.to_oci()).unwrap(), rule);
            rule.v1_line()
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(line, expected);
}

#[test]
fn rules_are_written_as_the_kernel_reads_them() {
    check("c 1:3 mr", "c 1:3 rm");
    check(" b  8:*  rwm ", "b 8:* rwm");
    check("a *:* rwm", "a");
}

#[test]
fn other_texts_are_refused() {
    check("", "`` is not a device rule such as `c 1:3 mr`");
    check("c 1:3", "`c 1:3` is not a device rule such as `c 1:3 mr`");
    check(
        "d 1:3 r",
        "`d 1:3 r` is not a device rule such as `c 1:3 mr`",
    );
    check("c 1 r", "`c 1 r` is not a device rule such as `c 1:3 mr`");
    check(
        "c -1:3 r",
        "`c -1:3 r` is not a device rule such as `c 1:3 mr`",
    );
    check(
        "c +1:3 r",
        "`c +1:3 r` is not a device rule such as `c 1:3 mr`",
    );
    check(
        "c 1048576:3 r",
        "`c 1048576:3 r` is not a device rule such as `c 1:3 mr`",
    );
    check(
        "c 1:3 x",
        "`x` is not a set of device permissions: some of `r`, `w` and `m`",
    );
    check(
        "c 1:3 rr",
        "`rr` is not a set of device permissions: some of `r`, `w` and `m`",
    );
}

#[test]
fn the_defaults_deny_before_they_allow() {
    let lines: Vec<String> = default_rules()
        .iter()
        .map(|rule| format!("{:?} {}", rule.verdict, rule.v1_line()))
        .collect();
    assert_eq!(
        lines,
        [
            "Deny a",
            "Allow c *:* m",
            "Allow b *:* m",
            "Allow c 1:3 rwm",
            "Allow c 1:5 rwm",
            "Allow c 1:7 rwm",
            "Allow c 1:8 rwm",
            "Allow c 1:9 rwm",
            "Allow c 5:0 rwm",
            "Allow c 5:1 rwm",
            "Allow c 5:2 rwm",
            "Allow c 136:* rwm",
        ]
    );
}

#[test]
fn a_device_of_the_host_is_found_under_its_name_in_the_container() {
    let device = |source: &str, permissions: &str| scheduler::model::container::Device {
        source: source.to_owned(),
        target: "/dev/nothing".to_owned(),
        permissions: permissions.to_owned(),
    };
    let found = granted(&device("/dev/null", "r")).unwrap();
    let [found] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(found.node.path(), &PathBuf::from("/dev/nothing"));
    assert_eq!(found.rule().v1_line(), "c 1:3 r");
    assert!(matches!(
        granted(&device("/etc/passwd", "r")),
        Err(DeviceError::NotADevice { .. })
    ));
    assert!(matches!(
        granted(&device("/dev/nowhere", "r")),
        Err(DeviceError::Read { .. })
    ));
}
