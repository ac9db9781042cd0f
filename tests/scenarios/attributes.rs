//! Each attribute of a Compose file that is done has an effect: here it is seen in a container.
//!
//! A [`Case`] is a service with the attribute, a look at it, and what must be seen. The cases of a
//! theme come up together, as one stack. What `cli/compose.md` says is done and nothing proves is
//! listed in [`proof`]; that list can only become shorter.

mod files;
mod identity;
mod life;
mod limits;
mod network;
mod proof;
mod updates;

use crate::support::Host;

/// A service with an attribute, and how its effect is seen.
pub(crate) struct Case {
    /// The rows of `cli/compose.md` that it proves; services' without `services.*.`.
    pub(crate) proves: &'static [&'static str],
    /// What stands below the service. Without an image or a command it is one that sleeps.
    pub(crate) yaml: &'static str,
    pub(crate) look: Look,
    pub(crate) expected: &'static str,
}

/// Where to look.
pub(crate) enum Look {
    /// A shell line in the container. `v1 FILE` and `v2 FILE` read its cgroup's files.
    Inside(&'static str),
    /// A shell line on the host; `$PID` is the container's first process, `$FILES` its directory, and
    /// `$SOCKET` the node's.
    Host(&'static str),
    /// A JSON pointer into what `docker inspect` says.
    Inspect(&'static str),
    /// The container's log.
    Log,
}

const CGROUP: &str =
    "v1() { cat /sys/fs/cgroup/$1 2>/dev/null; }; v2() { cat /sys/fs/cgroup/$1; };";

const PROJECT: &str = "attr";

/// The text of a project with a service for each case, `s0`, `s1`, …; `top` stands beside `services:`.
fn file(top: &str, cases: &[Case]) -> String {
    let mut text = "services:\n".to_owned();
    for (number, case) in cases.iter().enumerate() {
        text.push_str(&format!("  s{number}:\n"));
        let has = |key: &str| case.yaml.lines().any(|line| line.starts_with(key));
        if !has("image:") {
            text.push_str("    image: busybox:1.35\n");
        }
        if !has("command:") && !has("entrypoint:") {
            text.push_str("    command: sleep 1000000\n    init: true\n");
        }
        // What does not hear SIGTERM need not be waited for.
        if !has("stop_grace_period:") {
            text.push_str("    stop_grace_period: 1s\n");
        }
        for line in case.yaml.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text + top
}

/// Brings all of them up, looks at each, and takes them down.
#[track_caller]
fn check(host: &Host, top: &str, cases: &[Case]) {
    let text = file(top, cases);
    host.compose(PROJECT, &text, "up -d --wait").succeeds();
    let mut wrong = String::new();
    for (number, case) in cases.iter().enumerate() {
        let seen = see(host, &format!("s{number}"), &case.look);
        if seen.trim_end() != case.expected {
            let (yaml, expected) = (case.yaml, case.expected);
            wrong.push_str(&format!(
                "{yaml}\n--- expected\n{expected}\n--- seen\n{seen}\n\n"
            ));
        }
    }
    host.compose(PROJECT, &text, "down -v").succeeds();
    assert!(wrong.is_empty(), "{wrong}");
}

fn see(host: &Host, service: &str, look: &Look) -> String {
    let found = || {
        let ids = host.wharfie(&format!("-p {PROJECT} ps -a -q --no-trunc {service}"));
        host.inspect(ids.stdout.lines().next().unwrap_or_default())
    };
    match look {
        Look::Inside(line) => {
            let ran = host.exec(PROJECT, service, &format!("{CGROUP} {line}"));
            ran.stdout + &ran.stderr
        }
        Look::Host(line) => {
            let inspected = found();
            let (pid, id) = (&inspected["State"]["Pid"], &inspected["Id"]);
            let id = id.as_str().unwrap_or_default();
            let files = host.path("data/containers").join(id);
            let (files, socket) = (files.display(), host.socket());
            let variables = format!("PID={pid}; FILES={files}; SOCKET={socket};");
            let ran = host.shell(&format!("{variables} {line}"));
            ran.stdout + &ran.stderr
        }
        Look::Inspect(pointer) => match found().pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "nothing".to_owned(),
        },
        Look::Log => host.logs(PROJECT, service),
    }
}
