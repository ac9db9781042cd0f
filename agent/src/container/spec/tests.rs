use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use insta::assert_snapshot;
use scheduler::model::container::{Device, HealthTest, Security, Ulimit};
use serde_json::Value;

use super::*;
use crate::container::device;

/// What the tests change before building.
struct Wanted {
    container: ContainerSpec,
    image: ImageDefaults,
    namespaces: Namespaces,
    mounts: Vec<ResolvedMount>,
    user: ResolvedUser,
    hostname: String,
}

fn build_with(change: impl FnOnce(&mut Wanted)) -> Result<Built, SpecError> {
    let mut wanted = Wanted {
        container: ContainerSpec::default(),
        image: ImageDefaults {
            cmd: words("sh"),
            ..ImageDefaults::default()
        },
        namespaces: Namespaces::default(),
        mounts: Vec::new(),
        user: ResolvedUser {
            home: "/root".to_owned(),
            ..ResolvedUser::default()
        },
        hostname: "box".to_owned(),
    };
    change(&mut wanted);
    build(&SpecInput {
        container: &wanted.container,
        image: &wanted.image,
        user: wanted.user,
        hostname: wanted.hostname,
        mounts: wanted.mounts,
        etc: EtcFiles {
            hosts: Some("/run/hosts".into()),
            hostname: None,
            resolv_conf: None,
        },
        namespaces: wanted.namespaces,
        device_env: Vec::new(),
        disks: Vec::new(),
        devices: wanted
            .container
            .devices
            .iter()
            .flat_map(device::granted)
            .flatten()
            .collect(),
        host_capabilities: CapabilitySet::ALL,
        cgroup_path: PathBuf::from("/wharfie/box"),
        terminal_size: Some((24, 80)),
    })
}

/// Shows the part of the configuration at `pointer`, an object or list with one entry a line.
fn show(pointer: &str, change: impl FnOnce(&mut Wanted)) -> String {
    let built = match build_with(change) {
        Ok(built) => built,
        Err(error) => return error.to_string(),
    };
    let json = serde_json::to_value(&built.spec).unwrap();
    let Some(part) = json.pointer(pointer) else {
        return "nothing".to_owned();
    };
    let mut text = String::new();
    match part {
        Value::Array(list) => list
            .iter()
            .for_each(|entry| writeln!(text, "{}", line(entry)).unwrap()),
        Value::Object(map) => {
            map.iter()
                .for_each(|(key, value)| writeln!(text, "{key}: {}", line(value)).unwrap());
        }
        other => text = line(other),
    }
    built
        .warnings
        .iter()
        .for_each(|warning| writeln!(text, "warning: {warning}").unwrap());
    text.trim_end().to_owned()
}

fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(mount) if mount.contains_key("destination") => {
            let field = |key: &str| mount.get(key).map(line).unwrap_or_default();
            let options = field("options").replace(['[', ']', '"'], "");
            format!(
                "{} {} {} {options}",
                field("destination"),
                field("type"),
                field("source")
            )
        }
        other => other.to_string(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `None` is a field that is absent; words are parted by spaces, `''` is an empty one.
#[track_caller]
fn check_args(image: [&str; 2], container: [Option<&str>; 2], expected: &str) {
    let list = |text: &str| {
        words(text)
            .iter()
            .map(|word| word.replace("''", ""))
            .collect::<Vec<_>>()
    };
    let shown = show("/process/args", |wanted| {
        wanted.image.entrypoint = list(image[0]);
        wanted.image.cmd = list(image[1]);
        wanted.container.entrypoint = container[0].map(list);
        wanted.container.command = container[1].map(list);
    });
    assert_eq!(shown.replace('\n', " "), expected);
}

#[test]
fn entrypoint_and_command_are_merged_as_docker_does() {
    check_args(["e", "c"], [None, None], "e c");
    check_args(["e", "c"], [None, Some("x y")], "e x y");
    check_args(["e", "c"], [Some("x"), None], "x");
    check_args(["e", "c"], [Some("x"), Some("y")], "x y");
    check_args(["e", "c"], [Some(""), None], "c");
    check_args(["e", "c"], [Some("''"), Some("y")], "y");
    check_args(["e", "c"], [None, Some("")], "e c");
    let none = "no command is given, and the image has none";
    check_args(["", ""], [None, None], none);
    check_args(["e", "c"], [Some("''"), None], none);
    check_args(["", "''"], [None, None], none);
}

#[test]
fn a_plain_container_is_configured_as_dockers_are() {
    assert_snapshot!(show("/mounts", |_| {}), @r#"
    /proc proc proc nosuid,noexec,nodev
    /dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k
    /dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5
    /sys sysfs sysfs nosuid,noexec,nodev,ro
    /sys/fs/cgroup cgroup cgroup ro,nosuid,noexec,nodev
    /dev/mqueue mqueue mqueue nosuid,noexec,nodev
    /dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864
    /etc/hosts bind /run/hosts rbind,rprivate,rw
    "#);
    assert_snapshot!(show("/process/env", |_| {}), @r#"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    HOSTNAME=box
    HOME=/root
    "#);
    assert_snapshot!(show("/linux/namespaces", |_| {}), @r#"
    {"type":"mount"}
    {"type":"network"}
    {"type":"uts"}
    {"type":"pid"}
    {"type":"ipc"}
    {"type":"cgroup"}
    "#);
    assert_snapshot!(show("/linux/maskedPaths", |_| {}).replace('\n', " "), @"/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware");
    assert_snapshot!(show("/linux/readonlyPaths", |_| {}).replace('\n', " "), @"/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger");
    assert_snapshot!(show("/linux/sysctl", |_| {}), @r#"
    net.ipv4.ip_unprivileged_port_start: 0
    net.ipv4.ping_group_range: 0 2147483647
    "#);
    assert_snapshot!(show("/linux/resources/devices/0", |_| {}), @r#"
    access: rwm
    allow: false
    type: a
    "#);
    assert_snapshot!(show("/linux/resources/pids", |_| {}), @"limit: 4096");
    assert_snapshot!(show("/process/rlimits", |_| {}), @r#"
    {"hard":0,"soft":0,"type":"RLIMIT_CORE"}
    {"hard":524288,"soft":1024,"type":"RLIMIT_NOFILE"}
    "#);
    assert_snapshot!(show("/root", |_| {}), @r#"
    path: rootfs
    readonly: false
    "#);
    assert_snapshot!(show("/process/noNewPrivileges", |_| {}), @"false");
    assert_snapshot!(show("/process/oomScoreAdj", |_| {}), @"0");
    assert_snapshot!(show("/linux/seccomp/defaultAction", |_| {}), @"SCMP_ACT_ERRNO");
}

#[test]
fn capabilities_are_never_inheritable_and_only_roots_are_effective() {
    let count = |built: &Built| {
        let process = built.spec.process().clone().unwrap();
        let sets = process.capabilities().clone().unwrap();
        [
            sets.bounding(),
            sets.permitted(),
            sets.effective(),
            sets.inheritable(),
            sets.ambient(),
        ]
        .map(|set| set.as_ref().map_or(99, std::collections::HashSet::len))
    };
    assert_eq!(count(&build_with(|_| {}).unwrap()), [14, 14, 14, 0, 0]);
    assert_eq!(
        count(&build_with(|wanted| wanted.user.uid = 1).unwrap()),
        [14, 0, 0, 0, 0]
    );
    let privileged = build_with(|wanted| wanted.container.privileged = true).unwrap();
    assert_eq!(count(&privileged), [41, 41, 41, 0, 0]);
    let refused = build_with(|wanted| wanted.container.cap_add = words("SYS_ADMON")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "unknown capability `SYS_ADMON`, did you mean `SYS_ADMIN`?"
    );
}

#[test]
fn a_privileged_container_is_confined_by_namespaces_alone() {
    let privileged = |wanted: &mut Wanted| wanted.container.privileged = true;
    assert_eq!(show("/linux/maskedPaths", privileged), "");
    assert_eq!(show("/linux/readonlyPaths", privileged), "");
    assert_eq!(show("/linux/seccomp", privileged), "nothing");
    assert_eq!(
        show("/linux/resources/devices", privileged),
        r#"{"access":"rwm","allow":true,"type":"a"}"#
    );
    assert_eq!(
        show("/mounts/3", privileged),
        "destination: /sys\noptions: [\"nosuid\",\"noexec\",\"nodev\",\"rw\"]\nsource: sysfs\ntype: sysfs"
    );
}

#[test]
fn environment_is_default_then_image_then_spec() {
    let shown = show("/process/env", |wanted| {
        wanted.container.tty = true;
        wanted.image.env = words("PATH=/image A=1 B=2 broken =x");
        for (key, value) in [
            ("A", Some("one")),
            ("B", None),
            ("C", Some("x=y")),
            ("EMPTY", Some("")),
        ] {
            wanted
                .container
                .environment
                .insert(key.to_owned(), value.map(str::to_owned));
        }
        wanted.user.home = "/home/web".to_owned();
    });
    assert_eq!(
        shown,
        "PATH=/image\nHOSTNAME=box\nTERM=xterm\nA=one\nC=x=y\nEMPTY=\nHOME=/home/web"
    );
    let set = |key: &str, value: &str| {
        let (key, value) = (key.to_owned(), value.to_owned());
        show("/process/env", |wanted| {
            let _ = wanted.container.environment.insert(key, Some(value));
        })
    };
    assert!(set("HOME", "/x").ends_with("\nHOME=/x"));
    assert_eq!(set("A=B", "x"), "environment variable `A=B` is not a name");
    assert_eq!(
        set("A", "x\0y"),
        "the environment contains a NUL character or a line break"
    );
}

#[test]
fn the_working_directory_is_absolute_and_not_in_proc() {
    let check = |image: &str, container: Option<&str>, expected: &str| {
        let shown = show("/process/cwd", |wanted| {
            wanted.image.working_dir = image.to_owned();
            wanted.container.working_dir = container.map(str::to_owned);
        });
        assert_eq!(shown, expected);
    };
    check("", None, "/");
    check("/app/./x/..", None, "/app");
    check("/app", Some("/other/"), "/other");
    check(
        "/app",
        Some("rel"),
        "working directory `rel` is not an absolute path",
    );
    check(
        "/proc/self/fd/7",
        None,
        "working directory `/proc/self/fd/7` is inside /proc",
    );
    check(
        "/x/../proc/1/root",
        None,
        "working directory `/x/../proc/1/root` is inside /proc",
    );
}

fn bind(target: &str) -> ResolvedMount {
    let source = ResolvedSource::Host {
        path: "/data".into(),
        recursive: true,
        writable_below: false,
        propagation: None,
    };
    ResolvedMount {
        target: target.to_owned(),
        read_only: false,
        source,
    }
}

fn tmpfs(options: &str) -> ResolvedMount {
    let options = options
        .split(';')
        .filter(|o| !o.is_empty())
        .map(str::to_owned)
        .collect();
    let source = ResolvedSource::Tmpfs {
        size: Some(4096),
        mode: Some(0o1777),
        uid: None,
        gid: None,
        options,
    };
    ResolvedMount {
        target: "/t".to_owned(),
        read_only: false,
        source,
    }
}

#[test]
fn mounts_are_in_the_order_of_their_depth_and_replace_dockers() {
    let shown = show("/mounts", |wanted| {
        wanted.mounts = vec![
            bind("/a/b/c"),
            bind("/a"),
            bind("/dev/shm/"),
            bind("/etc/hosts"),
            bind("/a//b"),
        ];
        wanted.mounts[1].read_only = true;
    });
    let own: Vec<&str> = shown.lines().skip(6).collect();
    assert_eq!(
        own,
        [
            "/a bind /data rbind,rprivate,ro,rro",
            "/dev/shm bind /data rbind,rprivate,rw",
            "/etc/hosts bind /data rbind,rprivate,rw",
            "/a/b bind /data rbind,rprivate,rw",
            "/a/b/c bind /data rbind,rprivate,rw",
        ]
    );
    let twice = show("/mounts", |wanted| {
        wanted.mounts = vec![bind("/a"), bind("/b/../a/")]
    });
    assert_eq!(twice, "more than one thing is mounted at `/b/../a/`");
}

#[test]
fn the_kernels_directories_are_not_covered() {
    let check = |target: &str, expected: bool| {
        let built = build_with(|wanted| wanted.mounts = vec![bind(target)]);
        assert_eq!(built.is_ok(), expected, "{target}");
    };
    for target in [
        "/",
        "//",
        "/.",
        "/proc",
        "/proc/",
        "/proc/sys",
        "/x/../proc",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "rel",
        "",
        "/a\0",
    ] {
        check(target, false);
    }
    for target in [
        "/data",
        "/process",
        "/proc/meminfo",
        "/dev/shm",
        "/dev/bus/usb",
        "/system",
    ] {
        check(target, true);
    }
    let read_only = build_with(|wanted| {
        wanted.mounts = vec![bind("/sys")];
        wanted.mounts[0].read_only = true;
    });
    assert!(read_only.is_ok());
    let shown = show("/mounts", |wanted| wanted.mounts = vec![bind("/proc/sys")]);
    assert_eq!(
        shown,
        "nothing can be mounted at `/proc/sys`: /proc belongs to the kernel"
    );
}

#[test]
fn tmpfs_options_replace_each_other() {
    let check = |options: &str, expected: &str| {
        let shown = show("/mounts", |wanted| wanted.mounts = vec![tmpfs(options)]);
        assert_eq!(shown.lines().last().unwrap(), expected);
    };
    check("", "/t tmpfs tmpfs nosuid,nodev,noexec,size=4096,mode=1777");
    check(
        "exec;size=1m",
        "/t tmpfs tmpfs nosuid,nodev,exec,size=4096,mode=1777",
    );
    check(
        "nr_inodes=10",
        "/t tmpfs tmpfs nosuid,nodev,noexec,nr_inodes=10,size=4096,mode=1777",
    );
    check("bogus", "`bogus` is not an option of tmpfs");
    check("mode=1,suid", "`mode=1,suid` is not an option of tmpfs");
}

#[test]
fn namespaces_of_others_are_joined_and_the_hosts_left_alone() {
    let change = |wanted: &mut Wanted| {
        wanted.namespaces.network = Namespace::Host;
        wanted.namespaces.pid = Namespace::Join("/proc/7/ns/pid".into());
        wanted.namespaces.ipc = Namespace::Host;
        wanted.namespaces.uts = Namespace::Host;
    };
    assert_snapshot!(show("/linux/namespaces", change), @r#"
    {"type":"mount"}
    {"path":"/proc/7/ns/pid","type":"pid"}
    {"type":"cgroup"}
    "#);
    assert_eq!(show("/linux/sysctl", change), "");
    assert_eq!(show("/hostname", change), "nothing");
    assert!(show("/mounts", change).contains("/dev/shm bind /dev/shm bind,rprivate"));
}

#[test]
fn only_sysctls_of_the_containers_namespaces_can_be_set() {
    let check = |key: &str, host: bool, expected: &str| {
        let shown = show("/linux/sysctl", |wanted| {
            wanted
                .container
                .sysctls
                .insert(key.to_owned(), "1".to_owned());
            if host {
                wanted.namespaces.network = Namespace::Host;
                wanted.namespaces.ipc = Namespace::Host;
            }
        });
        let shown = shown
            .lines()
            .find(|line| line.contains(key))
            .unwrap_or_default();
        assert_eq!(shown, expected.replace("KEY", key));
    };
    let no = "sysctl `KEY` cannot be set for a container: ";
    check("net.core.somaxconn", false, "KEY: 1");
    check("kernel.shmmax", false, "KEY: 1");
    check("fs.mqueue.msg_max", false, "KEY: 1");
    check(
        "net.core.somaxconn",
        true,
        &format!("{no}the container uses the host's network"),
    );
    check(
        "kernel.shmmax",
        true,
        &format!("{no}the container uses the host's ipc namespace"),
    );
    for key in [
        "kernel.core_pattern",
        "vm.swappiness",
        "kernel.domainname",
        "kernel",
    ] {
        check(
            key,
            false,
            &format!("{no}it belongs to the host as a whole"),
        );
    }
    for key in [
        "kernel/core_pattern",
        "net..x",
        "net.ipv4/../../kernel.x",
        "kernel.shmmax=1+kernel.core_pattern",
    ] {
        check(
            key,
            false,
            &format!("{no}names are words with dots between them"),
        );
    }
}

#[test]
fn resources_are_bounded_as_asked() {
    let memory = |limit, swap, reservation| {
        show("/linux/resources/memory", |wanted| {
            wanted.container.resources.memory_limit = limit;
            wanted.container.resources.memory_swap = swap;
            wanted.container.resources.memory_reservation = reservation;
        })
        .replace('\n', " ")
    };
    let m = 1 << 20;
    assert_eq!(memory(None, None, None), "nothing");
    assert_eq!(
        memory(Some(16 * m), None, Some(8 * m)),
        "limit: 16777216 reservation: 8388608 swap: 33554432"
    );
    assert_eq!(
        memory(Some(16 * m), Some(-1), None),
        "limit: 16777216 swap: -1"
    );
    assert_eq!(
        memory(Some(16 * m), Some(1), None),
        "memory and swap limit is 1: it is less than the memory limit"
    );
    assert_eq!(
        memory(Some(m), None, None),
        "memory limit is 1048576: it must be at least 6 MiB"
    );
    assert_eq!(
        memory(None, Some(5), None),
        "memory and swap limit is 5: it needs a memory limit"
    );
    assert_eq!(
        memory(Some(u64::MAX), None, None),
        "memory limit is 18446744073709551615: it does not fit in 63 bits"
    );
    let cpu = |millis, period, quota| {
        show("/linux/resources/cpu", |wanted| {
            wanted.container.resources.cpu_limit_millis = millis;
            wanted.container.resources.cpu_period = period;
            wanted.container.resources.cpu_quota = quota;
        })
        .replace('\n', " ")
    };
    assert_eq!(cpu(None, None, None), "nothing");
    assert_eq!(cpu(Some(1500), None, None), "period: 100000 quota: 150000");
    assert_eq!(
        cpu(Some(500), Some(20_000), None),
        "period: 20000 quota: 10000"
    );
    assert_eq!(
        cpu(Some(1), None, None),
        "period: 100000 quota: 1000 warning: the CPU limit was raised to the kernel's least, 1 ms a period"
    );
    assert_eq!(
        cpu(Some(1), None, Some(5000)),
        "CPU quota is 5000: a number of CPUs is given as well"
    );
    assert_eq!(
        cpu(None, Some(1), None),
        "CPU period is 1: it must be between 1 ms and 1 s"
    );
}

#[test]
fn limits_of_processes_are_checked() {
    let limit = |name: &str, soft, hard| {
        let limit = Ulimit { soft, hard };
        show("/process/rlimits", |wanted| {
            let _ = wanted.container.ulimits.insert(name.to_owned(), limit);
        })
    };
    assert!(
        limit("nofile", 10, -1)
            .contains(r#"{"hard":18446744073709551615,"soft":10,"type":"RLIMIT_NOFILE"}"#)
    );
    assert_eq!(
        limit("nofiles", 1, 1),
        "`nofiles` is not a limit that can be set"
    );
    assert_eq!(
        limit("core", -1, 5),
        "limit `core` is -1, more than its upper bound of 5"
    );
}

#[test]
fn devices_open_the_filter_and_get_a_node() {
    let change = |wanted: &mut Wanted| {
        let (source, target) = ("/dev/null".to_owned(), "/dev/xnull".to_owned());
        wanted.container.devices = vec![Device {
            source,
            target,
            permissions: "rw".to_owned(),
        }];
        wanted.container.device_cgroup_rules = vec!["c 10:* rwm".to_owned()];
    };
    assert!(show("/linux/devices", change).contains(r#""path":"/dev/xnull""#));
    let rules = show("/linux/resources/devices", change);
    let last: Vec<&str> = rules.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [
            r#"{"access":"rwm","allow":true,"major":10,"type":"c"}"#,
            r#"{"access":"rw","allow":true,"major":1,"minor":3,"type":"c"}"#,
        ]
    );
}

#[test]
fn system_paths_and_privileges_can_be_chosen() {
    let security = Security {
        no_new_privileges: Some(true),
        seccomp: SeccompProfile::Unconfined,
        unconfined_system_paths: true,
        apparmor: Some("unconfined".to_owned()),
    };
    let change = |wanted: &mut Wanted| wanted.container.security = security.clone();
    assert_eq!(show("/process/noNewPrivileges", change), "true");
    assert_eq!(show("/process/apparmorProfile", change), "nothing");
    assert_eq!(show("/linux/seccomp", change), "nothing");
    assert_eq!(show("/linux/maskedPaths", change), "");
}

#[test]
fn a_host_name_that_would_break_a_file_is_refused() {
    let refused = show("/hostname", |wanted| wanted.hostname = "a\nb".to_owned());
    assert_eq!(
        refused,
        "the host name contains a NUL character or a line break"
    );
    assert!(build_with(|wanted| wanted.hostname = "x".repeat(65)).is_err());
}

#[test]
fn a_health_check_takes_each_field_from_spec_image_or_docker() {
    let second = Duration::from_secs;
    let image = ImageDefaults {
        healthcheck: Some(Healthcheck {
            test: Some(HealthTest::Shell("curl x".to_owned())),
            interval: Some(second(7)),
            retries: Some(9),
            ..Healthcheck::default()
        }),
        ..ImageDefaults::default()
    };
    let mut container = ContainerSpec::default();
    let check = effective_healthcheck(&image, &container).unwrap();
    assert_eq!(check.args, ["/bin/sh", "-c", "curl x"]);
    assert_eq!(
        (check.interval, check.timeout, check.retries),
        (second(7), second(30), 9)
    );
    assert_eq!(
        (check.start_period, check.start_interval),
        (second(0), second(5))
    );
    container.healthcheck = Some(Healthcheck {
        timeout: Some(second(2)),
        interval: Some(second(0)),
        ..Healthcheck::default()
    });
    let check = effective_healthcheck(&image, &container).unwrap();
    assert_eq!((check.interval, check.timeout), (second(7), second(2)));
    container.healthcheck = Some(Healthcheck {
        test: Some(HealthTest::Disabled),
        ..Healthcheck::default()
    });
    assert_eq!(effective_healthcheck(&image, &container), None);
    assert_eq!(
        effective_healthcheck(&ImageDefaults::default(), &ContainerSpec::default()),
        None
    );
}

#[test]
fn signals_are_read_by_name_and_number() {
    let check =
        |text: &str, expected: Option<i32>| assert_eq!(parse_signal(text).ok(), expected, "{text}");
    check("SIGTERM", Some(15));
    check("quit", Some(3));
    check("9", Some(9));
    check("SIGRTMIN+3", Some(37));
    check("RTMAX-1", Some(63));
    check("SIGRTMIN", Some(34));
    check("SIGWINCH", Some(28));
    for text in ["", "0", "65", "-9", "SIGNOPE", "RTMIN+31", "RTMIN-1"] {
        check(text, None);
    }
    let image = ImageDefaults {
        stop_signal: Some("SIGQUIT".to_owned()),
        ..ImageDefaults::default()
    };
    let mut container = ContainerSpec::default();
    assert_eq!(stop_signal(&image, &container).unwrap(), 3);
    assert_eq!(stop_grace(&container), Duration::from_secs(10));
    container.stop_signal = Some("INT".to_owned());
    assert_eq!(stop_signal(&image, &container).unwrap(), 2);
}

/// Another runtime is the judge of whether the configuration is valid. Skipped where there is none.
#[test]
fn runc_runs_the_configuration() {
    let runc = |args: &[&str]| Command::new("runc").args(args).output();
    if runc(&["--version"]).is_err() || !Path::new("/bin/busybox").exists() {
        return;
    }
    let bundle = tempfile::tempdir().unwrap();
    let rootfs = bundle.path().join("rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let host_capabilities = CapabilitySet::from_status(&status).unwrap();
    let mut container = ContainerSpec {
        command: Some(words("/bin/busybox sh -c")),
        ..ContainerSpec::default()
    };
    let script =
        "echo $(/bin/busybox id -G) $HOSTNAME $(/bin/busybox grep -c Seccomp:.2 /proc/self/status)";
    container.command.as_mut().unwrap().push(script.to_owned());
    // Limits above the test's own cannot be set everywhere.
    container.ulimits.insert(
        "nofile".to_owned(),
        Ulimit {
            soft: 100,
            hard: 100,
        },
    );
    let id = format!("wharfie-spec-test-{}", std::process::id());
    let built = build(&SpecInput {
        container: &container,
        image: &ImageDefaults::default(),
        user: ResolvedUser {
            uid: 5,
            gid: 6,
            groups: vec![7, 8],
            home: "/".to_owned(),
        },
        hostname: "box".to_owned(),
        mounts: vec![tmpfs("")],
        etc: EtcFiles::default(),
        namespaces: Namespaces::default(),
        device_env: Vec::new(),
        disks: Vec::new(),
        devices: Vec::new(),
        host_capabilities,
        cgroup_path: PathBuf::from("/").join(&id),
        terminal_size: None,
    })
    .unwrap();
    fs::write(
        bundle.path().join("config.json"),
        serde_json::to_vec(&built.spec).unwrap(),
    )
    .unwrap();
    let root = bundle.path().join("state");
    let (root, path) = (root.to_str().unwrap(), bundle.path().to_str().unwrap());
    let output = runc(&["--root", root, "run", "--bundle", path, &id]).unwrap();
    let _ = runc(&["--root", root, "delete", "--force", &id]);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(
        text,
        "6 7 8 box 1",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
