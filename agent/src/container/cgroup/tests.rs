use super::*;

#[track_caller]
fn check_layout(mounts: &str, expected: &str) {
    let found = match Layout::parse(mounts) {
        Some(Layout::V1(hierarchies)) => hierarchies
            .iter()
            .map(|hierarchy| format!("{}@{}", hierarchy.name(), hierarchy.mount.display()))
            .collect::<Vec<_>>()
            .join(" "),
        Some(Layout::V2(mount)) => format!("v2@{}", mount.display()),
        None => "none".to_owned(),
    };
    assert_eq!(found, expected);
}

#[test]
fn the_mounted_form_is_found() {
    check_layout("1 0 0:1 / /proc rw - proc proc rw", "none");
    check_layout(
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
        "v2@/sys/fs/cgroup",
    );
}

#[test]
fn a_hybrid_host_counts_as_v1() {
    check_layout(
        "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
         32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
        "cpu,cpuacct@/sys/fs/cgroup/cpu,cpuacct memory@/sys/fs/cgroup/memory systemd@/sys/fs/cgroup/systemd",
    );
}

#[test]
fn paths_that_lead_out_of_the_root_are_refused() {
    for path in ["/", "", "../x", "/a/../../b"] {
        assert!(Cgroup::at(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn memory_and_swap_become_swap_as_in_runc() {
    let check = |memory: i64, both: i64, expected: Result<Option<&str>, ()>| {
        let found = v2::swap_alone(Some(memory), Some(both)).map_err(drop);
        assert_eq!(
            found,
            expected.map(|text| text.map(str::to_owned)),
            "{memory} {both}"
        );
    };
    check(100, 200, Ok(Some("100")));
    check(100, 100, Ok(Some("0")));
    check(100, -1, Ok(Some("max")));
    check(100, 0, Ok(None));
    check(-1, 0, Ok(Some("max")));
    check(0, 0, Ok(None));
    check(100, 99, Err(()));
    check(0, 200, Err(()));
}

#[test]
fn shares_become_weights_as_in_runc() {
    assert_eq!(
        [2, 1024, 262_144].map(v2::weight_of_shares),
        [1, 39, 10_000]
    );
}

/// Where a program that is put into the container `wharfie/a` goes.
#[track_caller]
fn check_beside(controllers: &str, init: &str, expected: &str) {
    let mount = tempfile::tempdir().unwrap();
    let path = Path::new("wharfie/a");
    let own = mount.path().join(path);
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("cgroup.subtree_control"), controllers).unwrap();
    let found = v2::beside(mount.path(), path, init);
    assert_eq!(
        found,
        mount.path().join(expected),
        "{controllers:?} {init:?}"
    );
}

#[test]
fn what_is_put_into_a_divided_cgroup_goes_to_the_first_process() {
    check_beside("", "0::/wharfie/a/init\n", "wharfie/a");
    check_beside("\n", "0::/wharfie/a/init\n", "wharfie/a");
    check_beside("cpu memory\n", "0::/wharfie/a/init\n", "wharfie/a/init");
    check_beside("cpu\n", "3:cpu:/b\n0::/wharfie/a/b/c\n", "wharfie/a/b/c");
    // Not to where it would not be the container's any more.
    for elsewhere in [
        "0::/",
        "0::/wharfie/ab",
        "0::/wharfie/a/../b",
        "0::/../a",
        "3:cpu:/",
        "",
    ] {
        check_beside("cpu memory\n", elsewhere, "wharfie/a");
    }
}
