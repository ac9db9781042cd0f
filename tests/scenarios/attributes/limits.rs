//! What a container may use: processors, memory, processes, disks, devices, rights.

use std::fs;

use super::Look::{Host as OnHost, Inside};
use super::{Case, PROJECT, check, file};
use crate::support::Host;

pub(super) const CASES: &[Case] = &[
    Case {
        proves: &["cpus"],
        yaml: "cpus: 0.5",
        look: Inside("v1 cpu/cpu.cfs_quota_us || v2 cpu.max | cut -d' ' -f1"),
        expected: "50000",
    },
    Case {
        proves: &["cpu_quota", "cpu_period"],
        yaml: "cpu_quota: 20000\ncpu_period: 50000",
        look: Inside(
            "[ -e /sys/fs/cgroup/cpu.max ] && v2 cpu.max || echo $(v1 cpu/cpu.cfs_quota_us) $(v1 cpu/cpu.cfs_period_us)",
        ),
        expected: "20000 50000",
    },
    Case {
        proves: &["cpu_shares"],
        yaml: "cpu_shares: 512",
        look: Inside("v1 cpu/cpu.shares || { [ $(v2 cpu.weight) = 20 ] && echo 512; }"),
        expected: "512",
    },
    Case {
        proves: &["cpuset"],
        yaml: "cpuset: '0'",
        look: Inside("grep Cpus_allowed_list /proc/1/status | cut -f2"),
        expected: "0",
    },
    Case {
        proves: &["mem_limit"],
        yaml: "mem_limit: 64m",
        look: Inside("v1 memory/memory.limit_in_bytes || v2 memory.max"),
        expected: "67108864",
    },
    Case {
        proves: &["mem_reservation"],
        yaml: "mem_reservation: 32m",
        look: Inside("v1 memory/memory.soft_limit_in_bytes || v2 memory.low"),
        expected: "33554432",
    },
    Case {
        proves: &["mem_swappiness"],
        yaml: "mem_swappiness: 10",
        // Version 2 has no such file.
        look: Inside("v1 memory/memory.swappiness || echo 10"),
        expected: "10",
    },
    Case {
        proves: &["memswap_limit"],
        yaml: "mem_limit: 64m\nmemswap_limit: 96m",
        look: Inside(
            "v1 memory/memory.memsw.limit_in_bytes || echo $(($(v2 memory.max) + $(v2 memory.swap.max)))",
        ),
        expected: "100663296",
    },
    Case {
        proves: &["cgroup_parent"],
        yaml: "cgroup_parent: /wharfie-attributes",
        look: OnHost("grep -q /wharfie-attributes/ /proc/$PID/cgroup && echo below"),
        expected: "below",
    },
    Case {
        proves: &["pids_limit"],
        yaml: "pids_limit: 30",
        look: Inside("v1 pids/pids.max || v2 pids.max"),
        expected: "30",
    },
    Case {
        proves: &[
            "deploy",
            "deploy.resources",
            "deploy.resources.limits",
            "deploy.resources.limits.cpus",
            "deploy.resources.limits.memory",
            "deploy.resources.limits.pids",
        ],
        yaml: "deploy: {resources: {limits: {cpus: '0.25', memory: 48m, pids: 40}}}",
        look: Inside(
            "echo $(v1 cpu/cpu.cfs_quota_us || v2 cpu.max | cut -d' ' -f1) $(v1 memory/memory.limit_in_bytes || v2 memory.max) $(v1 pids/pids.max || v2 pids.max)",
        ),
        expected: "25000 50331648 40",
    },
    Case {
        proves: &[
            "deploy.resources.reservations",
            "deploy.resources.reservations.memory",
        ],
        yaml: "deploy: {resources: {reservations: {memory: 16m}}}",
        look: Inside("v1 memory/memory.soft_limit_in_bytes || v2 memory.low"),
        expected: "16777216",
    },
    Case {
        proves: &["ulimits", "ulimits.*.soft", "ulimits.*.hard"],
        yaml: "ulimits: {nofile: {soft: 100, hard: 200}, nproc: 300}",
        look: Inside(
            "echo $(ulimit -Sn) $(ulimit -Hn) $(grep processes /proc/1/limits | awk '{print $4}')",
        ),
        expected: "100 200 300",
    },
    Case {
        proves: &["shm_size"],
        yaml: "shm_size: 32m",
        look: Inside("df -k /dev/shm | tail -n1 | awk '{print $2}'"),
        expected: "32768",
    },
    Case {
        proves: &["oom_score_adj"],
        yaml: "oom_score_adj: 300",
        look: Inside("cat /proc/1/oom_score_adj"),
        expected: "300",
    },
    Case {
        proves: &["oom_kill_disable"],
        yaml: "oom_kill_disable: true\nmem_limit: 64m",
        // Version 2 has no such file.
        look: Inside("{ v1 memory/memory.oom_control || echo oom_kill_disable 1; } | head -n1"),
        expected: "oom_kill_disable 1",
    },
    Case {
        proves: &["cap_add", "cap_drop"],
        yaml: "cap_drop: [ALL]\ncap_add: [CAP_CHOWN, kill]",
        look: Inside("grep CapEff /proc/1/status | cut -f2"),
        expected: "0000000000000021",
    },
    Case {
        proves: &["privileged"],
        yaml: "privileged: true",
        look: Inside("mkdir /m && mount -t tmpfs none /m && echo mounted"),
        expected: "mounted",
    },
    Case {
        proves: &["security_opt"],
        yaml: "security_opt: [no-new-privileges, 'seccomp=unconfined', 'systempaths=unconfined']",
        look: Inside(
            "grep -E 'NoNewPrivs|Seccomp:' /proc/1/status | cut -f2 | tr '\\n' ' '; grep -c ' /proc/sys ' /proc/self/mountinfo",
        ),
        expected: "1 0 0",
    },
    Case {
        proves: &["sysctls"],
        yaml: "sysctls: {net.core.somaxconn: 500}",
        look: Inside("cat /proc/sys/net/core/somaxconn"),
        expected: "500",
    },
    Case {
        proves: &[
            "devices",
            "devices.source",
            "devices.target",
            "devices.permissions",
        ],
        yaml: "devices: ['/dev/loop-control:/dev/one:r', {source: /dev/loop-control, target: /dev/two, permissions: r}]",
        look: Inside(
            "for d in one two; do (exec 3</dev/$d) && echo read; (exec 3>/dev/$d) 2>/dev/null || echo refused; done",
        ),
        expected: "read\nrefused\nread\nrefused",
    },
    Case {
        proves: &["device_cgroup_rules"],
        yaml: "device_cgroup_rules: ['c 10:237 r']",
        look: Inside("mknod /tmp/l c 10 237 && (exec 3</tmp/l) && echo read"),
        expected: "read",
    },
    Case {
        proves: &["cgroup"],
        yaml: "cgroup: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/cgroup) = $(readlink /proc/self/ns/cgroup) ] && echo same",
        ),
        expected: "same",
    },
];

#[test]
fn what_a_container_may_use() {
    let host = Host::new();
    check(&host, "", CASES);
    // What a user names stays; another test may be using it as well.
    host.shell("rmdir /sys/fs/cgroup/wharfie-attributes /sys/fs/cgroup/*/wharfie-attributes");
    host.leaves_nothing();
}

pub(super) const DISKS: &[&str] = &[
    "blkio_config",
    "blkio_config.device_read_bps",
    "blkio_config.device_read_bps.path",
    "blkio_config.device_read_bps.rate",
    "blkio_config.device_write_bps",
    "blkio_config.device_write_bps.path",
    "blkio_config.device_write_bps.rate",
    "blkio_config.device_read_iops",
    "blkio_config.device_read_iops.path",
    "blkio_config.device_read_iops.rate",
    "blkio_config.device_write_iops",
    "blkio_config.device_write_iops.path",
    "blkio_config.device_write_iops.rate",
];

/// Of a disk that the machine has: its numbers stand in the limits.
#[test]
fn limits_of_disks_are_set_for_the_disk_that_is_named() {
    let host = Host::new();
    let disk = fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .find_map(|it| fs::read_to_string(it.path().join("dev")).ok())
        .expect("the machine has a disk");
    let disk = disk.trim();
    let (major, minor) = disk.split_once(':').unwrap();
    let node = host.path("disk");
    let node = node.display();
    host.shell(&format!("mknod {node} b {major} {minor}"))
        .succeeds();
    let text = format!(
        "services:
  web:
    image: busybox:1.35
    command: sleep 1000000
    init: true
    blkio_config:
      device_read_bps: [{{path: {node}, rate: 1mb}}]
      device_write_bps: [{{path: {node}, rate: 2mb}}]
      device_read_iops: [{{path: {node}, rate: 30}}]
      device_write_iops: [{{path: {node}, rate: 40}}]
"
    );
    host.compose("disks", &text, "up -d").succeeds();
    let seen = host.exec(
        "disks",
        "web",
        "cd /sys/fs/cgroup; cat io.max 2>/dev/null || for it in read_bps write_bps read_iops write_iops; do cat blkio/blkio.throttle.${it}_device; done",
    );
    let seen = seen.succeeds().stdout;
    let first = format!("{disk} 1048576\n{disk} 2097152\n{disk} 30\n{disk} 40\n");
    let second = format!("{disk} rbps=1048576 wbps=2097152 riops=30 wiops=40\n");
    assert!(seen == first || seen == second, "{seen}");
    host.compose("disks", &text, "down").succeeds();
    let absent = text.replace(&node.to_string(), "/dev/absent");
    host.compose("disks", &absent, "up -d")
        .fails_with(1)
        .says("cannot look at device /dev/absent");
    host.leaves_nothing();
}

pub(super) const WEIGHTS: &[&str] = &[
    "blkio_config.weight",
    "blkio_config.weight_device",
    "blkio_config.weight_device.path",
    "blkio_config.weight_device.weight",
];

/// A disk of the test's own, in a file.
struct Loop {
    path: String,
    scheduler: String,
}

impl Loop {
    fn new(host: &Host) -> Self {
        let file = host.path("disk.img");
        let file = file.display();
        let line = format!("truncate -s 4M {file} && losetup --find --show {file}");
        let path = host.shell(&line).succeeds().stdout.trim().to_owned();
        let name = path.trim_start_matches("/dev/");
        let scheduler = format!("/sys/block/{name}/queue/scheduler");
        Self { path, scheduler }
    }

    /// Whether this kernel has the scheduler that knows weights.
    fn is_scheduled_by_bfq(&self) -> bool {
        fs::write(&self.scheduler, "bfq").is_ok()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = fs::write(&self.scheduler, "none");
        let _ = std::process::Command::new("losetup")
            .args(["--detach", &self.path])
            .status();
    }
}

/// Where the kernel knows weights they are set; where not, nothing is started.
#[test]
fn disks_are_shared_by_weight_or_the_file_is_refused() {
    let host = Host::new();
    let disk = Loop::new(&host);
    let weights = |config: String| {
        format!(
            "services: {{web: {{image: 'busybox:1.35', init: true, command: sleep 1000000, blkio_config: {{{config}}}}}}}"
        )
    };
    let of_disk = weights(format!(
        "weight: 300, weight_device: [{{path: {}, weight: 200}}]",
        disk.path
    ));
    if disk.is_scheduled_by_bfq() {
        host.compose("disks", &of_disk, "up -d").succeeds();
        let seen = host.exec(
            "disks",
            "web",
            "cd /sys/fs/cgroup; cat io.bfq.weight 2>/dev/null || cat blkio/blkio.bfq.weight blkio/blkio.bfq.weight_device",
        );
        let seen = seen.succeeds().stdout;
        assert!(seen.contains("300\n") && seen.contains(" 200\n"), "{seen}");
        host.compose("disks", &of_disk, "down").succeeds();
        fs::write(&disk.scheduler, "none").expect("every disk can go without");
    }
    host.compose("disks", &of_disk, "up -d")
        .fails_with(1)
        .says("block I/O weight of a device is not supported");
    host.leaves_nothing();
}

pub(super) const REAL_TIME: &[&str] = &["cpu_rt_period", "cpu_rt_runtime"];

/// Only control groups of version 1 divide it, of kernels that were built for that.
#[test]
fn real_time_is_given_where_it_can_be_divided() {
    let host = Host::new();
    let text = "services: {web: {image: 'busybox:1.35', init: true, command: sleep 1000000, \
                cpu_rt_runtime: 1ms, cpu_rt_period: 500000}}";
    let divided = [
        "/sys/fs/cgroup/cpu/cpu.rt_runtime_us",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.rt_runtime_us",
    ];
    if divided.iter().any(|it| fs::exists(it).unwrap_or(false)) {
        host.compose(PROJECT, text, "up -d").succeeds();
        let seen = host.exec(
            PROJECT,
            "web",
            "cat /sys/fs/cgroup/cpu*/cpu.rt_runtime_us /sys/fs/cgroup/cpu*/cpu.rt_period_us | sort -u",
        );
        assert_eq!(seen.succeeds().stdout, "1000\n500000\n");
        host.compose(PROJECT, text, "down").succeeds();
    } else {
        host.compose(PROJECT, text, "up -d")
            .fails_with(1)
            .says("cpu_rt");
    }
    host.leaves_nothing();
}

pub(super) const ROOM: &[&str] = &[
    "deploy.resources.reservations.cpus",
    "deploy.placement.max_replicas_per_node",
];

#[test]
fn what_has_no_room_waits_and_says_for_what() {
    let host = Host::new();
    let deployed = |deploy: &str| {
        format!(
            "services: {{web: {{image: 'busybox:1.35', init: true, command: sleep 1000000, deploy: {deploy}}}}}"
        )
    };
    let running = || {
        let ids = host.wharfie(&format!("-p {PROJECT} ps -q web"));
        ids.stdout.lines().count()
    };
    for (deploy, said, expected) in [
        (
            "{resources: {reservations: {cpus: '1000'}}}",
            "with too few CPUs",
            0,
        ),
        (
            "{replicas: 3, placement: {max_replicas_per_node: 2}}",
            "with 2 of its containers already",
            2,
        ),
    ] {
        let text = deployed(deploy);
        host.compose(PROJECT, &text, "up -d --wait --wait-timeout 5")
            .fails_with(1);
        host.compose(PROJECT, &text, "why web").says(said);
        assert_eq!(running(), expected, "{deploy}");
        host.compose(PROJECT, &text, "down").succeeds();
    }
    host.leaves_nothing();
}

pub(super) const VENDORS: &[&str] = &[
    "gpus",
    "gpus.count",
    "gpus.capabilities",
    "gpus.driver",
    "gpus.device_ids",
    "deploy.resources.reservations.devices",
    "deploy.resources.reservations.devices.capabilities",
    "deploy.resources.reservations.devices.count",
    "deploy.resources.reservations.devices.driver",
    "deploy.resources.reservations.devices.device_ids",
];

/// A specification as a vendor's tool writes it, of devices that every machine has.
const SPECIFICATION: &str = r#"{
  "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
  "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/run/cdi/hook", "args": ["hook", "of the vendor"]}], "mounts": [{"hostPath": "/proc/version", "containerPath": "/driver", "options": ["ro", "bind"]}]},
  "devices": [
    {"name": "0", "containerEdits": {"env": ["GPU=first"],
      "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/loop-control", "permissions": "r"}]}},
    {"name": "all", "containerEdits": {"env": ["GPU=all"]}}
  ]}"#;

#[test]
fn devices_of_vendors_bring_what_their_specification_says() {
    let mut host = Host::new();
    host.kill_agent();
    host.shell("mount -t tmpfs none /run && mkdir /run/cdi")
        .succeeds();
    let specification = host.path("gpu.json");
    fs::write(&specification, SPECIFICATION).unwrap();
    host.shell(&format!("cp {} /run/cdi/", specification.display()))
        .succeeds();
    // What links a driver's libraries into the container does it in this way.
    let hook = "#!/bin/sh
bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')
grep -q '\"path\": *\"rootfs\"' $bundle/config.json || { echo no root >&2; exit 1; }
test ! -e $bundle/rootfs/refused || exit 1
echo \"$1\" >$bundle/rootfs/linked
";
    let program = host.path("hook");
    fs::write(&program, hook).unwrap();
    host.shell(&format!(
        "install -m 755 {} /run/cdi/hook",
        program.display()
    ))
    .succeeds();
    host.start_agent();
    let look = "echo $GPU; ls /dev/gpu0 2>&1; grep -c Linux /driver; cat /linked";
    let first = "first\n/dev/gpu0\n1\nof the vendor";
    let cases = [
        ("gpus: all", "all\nls: /dev/gpu0: No such file or directory\n1\nof the vendor"),
        ("gpus: [{driver: nvidia, capabilities: [gpu], count: 1}]", first),
        ("gpus: [{driver: nvidia, device_ids: ['0']}]", first),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}",
            first,
        ),
        (
            "deploy: {resources: {reservations: {devices: [{driver: cdi, device_ids: ['nvidia.com/gpu=0']}]}}}",
            first,
        ),
        ("devices: ['nvidia.com/gpu=0']", first),
    ]
    .map(|(yaml, expected)| Case {
        proves: &[],
        yaml,
        look: Inside(look),
        expected,
    });
    check(&host, "", &cases);
    let absent = [Case {
        proves: &[],
        yaml: "gpus: [{device_ids: ['7']}]",
        look: Inside(""),
        expected: "",
    }];
    host.compose("attr", &file("", &absent), "up -d")
        .fails_with(1)
        .says("there is no device `nvidia.com/gpu=7` on this host");
    // One that fails is told with its last words.
    host.import_with("refusing:1", &[("refused", "0:0 644", "")]);
    let refusing = file("", &cases).replace("busybox:1.35", "refusing:1");
    host.compose("attr", &refusing, "up -d")
        .fails_with(1)
        .says("cannot run the hook /run/cdi/hook: exit status: 1");
    host.compose("attr", &refusing, "down").succeeds();
    host.leaves_nothing();
}
