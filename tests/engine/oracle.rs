//! runc as the oracle: the same OCI configuration, run by it and by us, looks the same from inside.
//!
//! A program tells all that it sees of its container, a line a fact; what differs must stand, with its
//! reason, in [`justified`]. Without runc on the machine there is nobody to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::container::capability::CapabilitySet;
use agent::container::spec::{EtcFiles, ImageDefaults, Namespaces, SpecInput, build};
use agent::container::user::ResolvedUser;
use scheduler::model::container::ContainerSpec;
use serde_json::{Value, json};

use crate::support::{Host, new_id};

/// What is told, a section each: the name, and a shell line.
const FACTS: &[(&str, &str)] = &[
    (
        "mount",
        r#"awk '{ for (i = 7; $i != "-"; i++); print $5, $6, $(i + 1), $(i + 2), $(i + 3) }' /proc/self/mountinfo"#,
    ),
    (
        "process",
        "grep -E '^(Umask|Uid|Gid|Groups|Sig[BIC]|Cap|NoNewPrivs|Seccomp|Speculation)' /proc/$$/status",
    ),
    (
        "process",
        r#"awk '{ print "parent, group, session, terminal, nice:", $4, $5, $6, $7, $19 }' /proc/$$/stat"#,
    ),
    (
        "process",
        "cat /proc/$$/oom_score_adj /proc/$$/coredump_filter /proc/$$/personality 2>&1",
    ),
    (
        "process",
        "pwd; hostname; ls /proc/$$/fd; ls /proc/$$/task | wc -l",
    ),
    (
        "keyring",
        "test -r /proc/keys && awk '$8 == \"keyring\" { print $6, $9 }' /proc/keys",
    ),
    ("limit", "cat /proc/$$/limits"),
    ("environment", "env"),
    (
        "device",
        "find /dev | while read f; do echo $(stat -c '%n %F %a %u:%g %t:%T' $f) $(readlink $f); done",
    ),
    (
        "namespace",
        "for f in /proc/$$/ns/*; do echo ${f##*/} $(readlink $f); done",
    ),
    (
        "cgroup",
        "cat /proc/$$/cgroup; ls -l /sys/fs/cgroup | awk '{ print $9, $10, $11 }'",
    ),
    (
        "root",
        "ls -la / | awk '{ print $1, $3, $4, $9, $10, $11 }'",
    ),
    (
        "sysctl",
        "for f in $(find /proc/sys/net /proc/sys/fs/mqueue /proc/sys/kernel/msg* /proc/sys/kernel/sem /proc/sys/kernel/shm* /proc/sys/kernel/*name -type f | sort); do echo $f $(cat $f 2>&1); done",
    ),
    (
        "hidden",
        "for f in PATHS; do test -d $f && echo $f: $(ls -A $f) || echo $f: $(cat $f 2>&1 | wc -c) $(stat -c '%F %t:%T' $f 2>&1); done",
    ),
    (
        "hidden",
        "for f in PATHS; do test -e $f && { echo 1 >> $f || mkdir $f/x; } 2>&1; done",
    ),
    (
        "allowed",
        "for n in 'c 1 1' 'c 1 3' 'c 1 11' 'c 5 1' 'c 10 200' 'c 10 229' 'b 254 0' 'b 7 0'; do mknod /tmp/n $n 2>&1 && { dd if=/tmp/n of=/dev/null count=0 2>&1 | grep -v records; rm -f /tmp/n; echo $n; }; done",
    ),
    (
        "allowed",
        "mount -t tmpfs none /tmp 2>&1; unshare -U true 2>&1; unshare -n true 2>&1; hostname other 2>&1; chown 7:7 /tmp 2>&1; kill -0 1 2>&1; echo done",
    ),
];

/// Differences that are meant, by section and the beginning of the fact.
fn justified(section: &str, fact: &str) -> Option<&'static str> {
    Some(match section {
        "mount" if fact.starts_with("/ ") => "our root is an overlay, the oracle's a folder",
        "mount" if fact.starts_with("/sys/fs/cgroup ") => {
            "ours is read-only as the configuration says, and bounded"
        }
        "mount" if fact.starts_with("/sys/fs/cgroup/") => {
            "runc makes a mount of its own, which says `systemd` for a source; ours is the host's"
        }
        "mount" if fact.contains(" tmpfs tmpfs ro") => "our empty folder is bounded",
        // 3 is the shell's own.
        "process" if ["SigIgn:\t0000000000000004", "SigIgn:\t0000000080000004"].contains(&fact) => {
            "runc leaves signal 32 as posix_spawn of the test did: ignored"
        }
        "root" if fact.ends_with(" .dockerenv") => "programs look for it, as Docker makes it",
        _ => return None,
    })
}

/// What the program saw: each fact with its section.
type Table = BTreeSet<(String, String)>;

async fn check(change: impl FnOnce(&mut ContainerSpec, &mut ResolvedUser)) {
    if Command::new("runc").arg("--version").output().is_err() {
        return;
    }
    let mut host = Host::new().await;
    let mut container = ContainerSpec::default();
    let mut user = ResolvedUser {
        home: "/root".to_owned(),
        ..ResolvedUser::default()
    };
    change(&mut container, &mut user);
    let spec = configuration(&container, user);
    let mut config = host.config("");
    config.spec = spec.clone();
    let (exit, ours) = host.run(config).await;
    assert_eq!(exit.code, 0, "{:?} {ours}", exit.error);
    let theirs = run_by_runc(&host, spec);
    let (ours, theirs) = (table(&ours), table(&theirs));
    let unexplained = |one: &Table, other: &Table| {
        let differing = one.difference(other);
        let unexplained = differing.filter(|(section, fact)| justified(section, fact).is_none());
        unexplained
            .map(|(section, fact)| format!("{section}: {fact}\n"))
            .collect::<String>()
    };
    let (here, there) = (unexplained(&ours, &theirs), unexplained(&theirs, &ours));
    assert!(
        here.is_empty() && there.is_empty(),
        "--- only ours\n{here}--- only runc's\n{there}"
    );
    assert!(ours.len() > 100, "the program saw little: {ours:?}");
    host.leave_nothing().await;
}

/// As the node writes it for a container of the stack.
fn configuration(container: &ContainerSpec, user: ResolvedUser) -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let image = ImageDefaults {
        cmd: vec!["/bin/sh".into(), "-c".into(), "script".into()],
        env: vec!["PATH=/bin".into()],
        ..ImageDefaults::default()
    };
    let built = build(&SpecInput {
        container,
        image: &image,
        user,
        hostname: "box".to_owned(),
        mounts: Vec::new(),
        etc: EtcFiles::default(),
        namespaces: Namespaces::default(),
        device_env: Vec::new(),
        disks: Vec::new(),
        devices: Vec::new(),
        host_capabilities: CapabilitySet::from_status(&status).unwrap(),
        cgroup_path: PathBuf::from("/wharfie").join(new_id().as_str()),
        terminal_size: None,
    });
    let mut spec = serde_json::to_value(built.unwrap().spec).unwrap();
    let linux = &spec["linux"];
    let paths = [&linux["maskedPaths"], &linux["readonlyPaths"]];
    let paths: Vec<&str> = (paths.iter().filter_map(|list| list.as_array()).flatten())
        .filter_map(Value::as_str)
        .collect();
    spec["process"]["args"][2] = json!(script(&paths));
    // Where limits may not be raised, we take what there is and say so, and runc refuses.
    for limit in spec["process"]["rlimits"].as_array_mut().unwrap() {
        let hard = hard_limit(limit["type"].as_str().unwrap());
        for bound in ["soft", "hard"] {
            limit[bound] = json!(limit[bound].as_u64().unwrap().min(hard));
        }
    }
    spec
}

fn hard_limit(name: &str) -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    let resource = match name {
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        other => panic!("a limit that the test does not know: {other}"),
    };
    getrlimit(resource).unwrap().1
}

fn script(paths: &[&str]) -> String {
    let sections = FACTS.iter().map(|(section, line)| {
        let line = line.replace("PATHS", &paths.join(" "));
        format!("{{ {line} ; }} | while read -r line; do echo \"{section}: $line\"; done\n")
    });
    format!("exec 2>&1\n{}true", sections.collect::<String>())
}

fn table(text: &str) -> Table {
    let namespaces = own_namespaces();
    let facts = text.lines().filter_map(|line| line.split_once(": "));
    facts
        .map(|(section, fact)| {
            let fact = match (section, fact.split_once(' ')) {
                // What is hidden from users has no name of ours.
                ("keyring", Some((user, name))) if name.starts_with("_ses") => {
                    format!("{user} the session's")
                }
                ("namespace", Some((name, id))) => {
                    let shared = namespaces.get(name).map(String::as_str) == Some(id);
                    format!("{name} {}", if shared { "the host's" } else { "its own" })
                }
                _ => fact.to_owned(),
            };
            (section.to_owned(), fact)
        })
        .collect()
}

fn own_namespaces() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/ns").unwrap().flatten();
    entries
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, target.to_string_lossy().into_owned())
        })
        .collect()
}

/// Runs the configuration in a bundle whose root is the layer of [`Host`].
fn run_by_runc(host: &Host, mut spec: Value) -> String {
    let bundle = host.directory.path().join("oracle");
    fs::create_dir(&bundle).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(host.layer())
        .arg(bundle.join("rootfs"))
        .status();
    assert!(copied.unwrap().success());
    let id = new_id();
    spec["linux"]["cgroupsPath"] = json!(Path::new("/wharfie").join(id.as_str()));
    fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
    let state = host.directory.path().join("runc");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", "runc", "--root"]);
    let ran = (command.arg(&state))
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(id.as_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{complaints}\n{said}");
    said
}

#[tokio::test]
async fn a_container_with_the_defaults_looks_as_runc_makes_it() {
    check(|_, _| {}).await;
}

#[tokio::test]
async fn a_container_with_less_looks_as_runc_makes_it() {
    check(|container, user| {
        container.cap_drop = vec!["ALL".into()];
        container.cap_add = vec!["NET_BIND_SERVICE".into()];
        container.read_only = true;
        container.security.no_new_privileges = Some(true);
        container.working_dir = Some("/tmp".into());
        container.shm_size = Some(1 << 20);
        container.oom_score_adj = Some(500);
        container.sysctls = [("kernel.shmmni".into(), "77".into())].into();
        (user.uid, user.gid, user.groups) = (1000, 1000, vec![50, 999]);
    })
    .await;
}

#[tokio::test]
async fn a_privileged_container_looks_as_runc_makes_it() {
    check(|container, _| container.privileged = true).await;
}
