//! Against a directory that looks like cgroup v2: every file can be written, and says what was.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Cgroup, Layout};
use super::*;

const GROUP: &str = "wharfie/a";

/// The mount, with the controllers that its kernel has.
fn mounted(controllers: &str) -> tempfile::TempDir {
    let mount = tempfile::tempdir().unwrap();
    fs::write(mount.path().join("cgroup.controllers"), controllers).unwrap();
    mount
}

fn cgroup(mount: &tempfile::TempDir) -> Cgroup {
    Cgroup {
        layout: Arc::new(Layout::V2(mount.path().to_owned())),
        path: GROUP.into(),
    }
}

/// What is in a directory's files, a line each.
fn files(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let files: BTreeMap<String, String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            Some((name, fs::read_to_string(entry.path()).ok()?))
        })
        .collect();
    files
        .iter()
        .map(|(name, text)| format!("{name}: {text}\n"))
        .collect()
}

/// Writes the limits and shows the files, and behind them what the kernel could not keep; `missing`
/// are files that it does not have.
#[track_caller]
fn check(resources: Value, missing: &[&str], expected: &str) {
    let mount = mounted("");
    let directory = mount.path().join(GROUP);
    for file in missing {
        // Cannot be written to, like a file that cannot be made.
        fs::create_dir_all(directory.join(file)).unwrap();
    }
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let text = match cgroup(&mount).create(Some(&resources)) {
        Ok(warnings) => {
            let mut text = files(&directory);
            for warning in warnings {
                let (what, _) = warning.split_once(" (os error").unwrap();
                text += &format!("warning: {what}\n");
            }
            text
        }
        Err(failure) => failure.message(),
    };
    assert_eq!(text.trim_end(), expected);
}

#[test]
fn memory_is_bounded_and_swap_counted_alone() {
    check(
        json!({ "memory": { "limit": 67_108_864, "swap": 134_217_728, "reservation": 1_048_576 } }),
        &[],
        "memory.low: 1048576\nmemory.max: 67108864\nmemory.swap.max: 67108864",
    );
    check(
        json!({ "memory": { "limit": 4096, "swap": 4096 } }),
        &[],
        "memory.max: 4096\nmemory.swap.max: 0",
    );
    check(
        json!({ "memory": { "limit": -1, "swap": -1 } }),
        &[],
        "memory.max: max\nmemory.swap.max: max",
    );
    check(json!({ "memory": {} }), &[], "");
}

#[test]
fn a_kernel_that_does_not_count_swap_is_told_and_the_memory_is_bounded_all_the_same() {
    check(
        json!({ "memory": { "limit": 4096, "swap": 8192 } }),
        &["memory.swap.max"],
        "memory.max: 4096\n\
         warning: swap limit is not supported by this kernel: Is a directory",
    );
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    let mount = mounted("");
    fs::create_dir_all(mount.path().join(GROUP).join("memory.max")).unwrap();
    let resources = json!({ "memory": { "limit": 4096 } });
    let resources = serde_json::from_value(resources).unwrap();
    let failure = cgroup(&mount).create(Some(&resources)).unwrap_err();
    let text = failure.message();
    assert!(
        text.contains("4096") && text.contains("memory.max"),
        "{text}"
    );
}

#[test]
fn cpus_are_shared_by_weight_and_bounded_by_time() {
    check(
        json!({ "cpu": { "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0" } }),
        &[],
        "cpu.max: 50000 100000\ncpu.weight: 39\ncpuset.cpus: 0-1\ncpuset.mems: 0",
    );
    check(
        json!({ "cpu": { "quota": -1 } }),
        &[],
        "cpu.max: max 100000",
    );
    check(
        json!({ "cpu": { "period": 20_000 } }),
        &[],
        "cpu.max: max 20000",
    );
    check(json!({ "cpu": { "shares": 0 } }), &[], "");
}

#[test]
fn processes_are_counted_and_zero_is_no_bound() {
    check(json!({ "pids": { "limit": 64 } }), &[], "pids.max: 64");
    check(json!({ "pids": { "limit": 0 } }), &[], "pids.max: max");
    check(json!({ "pids": { "limit": -1 } }), &[], "pids.max: max");
}

#[test]
fn a_weight_goes_to_the_scheduler_that_the_kernel_has() {
    let io = |weight: u16| json!({ "blockIO": { "weight": weight } });
    check(io(300), &[], "io.bfq.weight: default 300");
    check(
        io(300),
        &["io.bfq.weight"],
        &format!("io.weight: default {}", 1 + 290 * 9999 / 990),
    );
    check(io(10), &["io.bfq.weight"], "io.weight: default 1");
    check(io(1000), &["io.bfq.weight"], "io.weight: default 10000");
    check(
        io(300),
        &["io.bfq.weight", "io.weight"],
        "warning: block I/O weight is not supported by this kernel: Is a directory",
    );
}

#[test]
fn a_disk_is_bounded_by_its_number() {
    check(
        json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1_048_576 }] } }),
        &[],
        "io.max: 254:0 rbps=1048576",
    );
    check(
        json!({ "blockIO": { "throttleWriteIOPSDevice": [{ "major": 7, "minor": 1, "rate": 100 }] } }),
        &[],
        "io.max: 7:1 wiops=100",
    );
}

#[test]
fn files_are_written_by_name_and_nowhere_else() {
    check(
        json!({ "unified": { "memory.high": "1000" } }),
        &[],
        "memory.high: 1000",
    );
    check(
        json!({ "unified": { "../memory.high": "1000" } }),
        &[],
        "cannot write ../memory.high: not the name of a cgroup file",
    );
}

#[test]
fn controllers_are_handed_down_to_the_container_and_not_further() {
    let handed = |controllers: &str| {
        let mount = mounted(controllers);
        cgroup(&mount).create(None).unwrap();
        let directories = ["", "wharfie", GROUP];
        directories.map(|directory| {
            let file = mount.path().join(directory).join("cgroup.subtree_control");
            fs::read_to_string(file).unwrap_or_default()
        })
    };
    assert_eq!(handed("memory rdma"), ["+memory", "", ""]);
    assert_eq!(handed("rdma"), ["", "", ""]);
}

#[test]
fn a_container_is_frozen_thawed_and_killed_as_a_whole() {
    let mount = mounted("");
    let cgroup = cgroup(&mount);
    cgroup.create(None).unwrap();
    let directory = mount.path().join(GROUP);
    let says = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
    let frozen = |state: u8| {
        let text = format!("populated 1\nfrozen {state}\n");
        fs::write(directory.join("cgroup.events"), text).unwrap();
    };
    assert_eq!(cgroup.freeze_state(), None);
    frozen(1);
    cgroup.freeze(Freeze::Frozen).unwrap();
    assert_eq!(says("cgroup.freeze"), "1");
    assert_eq!(cgroup.freeze_state(), Some(Freeze::Frozen));
    frozen(0);
    cgroup.freeze(Freeze::Thawed).unwrap();
    assert_eq!(says("cgroup.freeze"), "0");
    cgroup.kill();
    assert_eq!(says("cgroup.kill"), "1");
}

#[test]
fn who_freezes_prevails_over_a_thaw_of_somebody_else() {
    let mount = mounted("");
    let cgroup = cgroup(&mount);
    cgroup.create(None).unwrap();
    let directory = mount.path().join(GROUP);
    std::thread::scope(|scope| {
        // The kernel, and another who kills at the same time.
        scope.spawn(|| {
            let is_asked = || {
                let wish = fs::read_to_string(directory.join("cgroup.freeze"));
                wish.is_ok_and(|text| text == "1")
            };
            for frozen in ["frozen 0\n", "frozen 1\n"] {
                let begin = std::time::Instant::now();
                while !is_asked() && begin.elapsed().as_secs() < 60 {
                    std::thread::yield_now();
                }
                if frozen == "frozen 0\n" {
                    fs::write(directory.join("cgroup.freeze"), "0").unwrap();
                }
                fs::write(directory.join("cgroup.events"), frozen).unwrap();
            }
        });
        cgroup.freeze(Freeze::Frozen).unwrap();
    });
}

#[test]
fn what_it_has_used_is_read() {
    let mount = mounted("");
    let cgroup = cgroup(&mount);
    cgroup.create(None).unwrap();
    assert_eq!(cgroup.oom_kills(), 0);
    for (file, text) in [
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\n"),
        (
            "cpu.stat",
            "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        ),
        ("memory.current", "8192\n"),
        ("memory.stat", "anon 1\ninactive_file 4096\n"),
        ("memory.max", "max\n"),
        ("pids.current", "4\n"),
        ("pids.max", "64\n"),
        (
            "io.stat",
            "254:0 rbytes=10 wbytes=20 rios=1\n7:0 rbytes=1 wbytes=2 rios=1\n",
        ),
    ] {
        fs::write(mount.path().join(GROUP).join(file), text).unwrap();
    }
    assert_eq!(cgroup.oom_kills(), 3);
    let stats = cgroup.stats();
    assert_eq!(
        (
            stats.cpu_nanos,
            stats.cpu_user_nanos,
            stats.cpu_system_nanos
        ),
        (1_500_000, 1_000_000, 500_000)
    );
    assert_eq!(
        (stats.memory, stats.memory_inactive_file, stats.memory_limit),
        (8192, 4096, None)
    );
    assert_eq!((stats.pids, stats.pids_limit), (4, Some(64)));
    assert_eq!((stats.io_read, stats.io_written), (11, 22));
}
