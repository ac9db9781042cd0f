//! A stack goes up, changes, and goes down.

use crate::support::{Host, eventually};

const SLEEPER: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
";

#[test]
fn a_second_up_changes_nothing_and_a_changed_service_alone_is_recreated() {
    let host = Host::new();
    let two = |seconds: u32| {
        format!(
            "{SLEEPER}  other:\n    image: busybox:1.35\n    init: true\n    command: sleep {seconds}\n"
        )
    };
    let ids = || {
        host.wharfie("-p app ps -q --no-trunc")
            .succeeds()
            .stdout
            .lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    host.compose("app", &two(1000), "up -d").succeeds();
    let before = ids();
    assert_eq!(before.len(), 2);
    host.compose("app", &two(1000), "up -d").succeeds();
    assert_eq!(ids(), before);
    host.compose("app", &two(2000), "up -d").succeeds();
    assert_eq!(ids().intersection(&before).count(), 1);
    host.compose("app", &two(2000), "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn containers_survive_a_crash_of_the_node_and_are_taken_over() {
    let mut host = Host::new();
    host.compose("app", SLEEPER, "up -d").succeeds();
    let pid = || host_pid(&host);
    let before = pid();
    host.kill_agent();
    host.start_agent();
    assert_eq!(host_pid(&host), before);
    host.compose("app", SLEEPER, "exec -T web true").succeeds();
    host.compose("app", SLEEPER, "down").succeeds();
    host.leaves_nothing();
}

fn host_pid(host: &Host) -> i64 {
    host.inspect("app-web-1")["State"]["Pid"].as_i64().unwrap()
}

#[test]
fn a_missing_image_is_explained_and_down_cleans_up() {
    let host = Host::new();
    let file = SLEEPER.replace("busybox:1.35", "127.0.0.1:5999/nothing:1");
    let ran = host.compose("app", &file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("127.0.0.1:5999");
    host.compose("app", &file, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_port_in_use_is_named_before_anything_starts() {
    let host = Host::new();
    let file = format!("{SLEEPER}    ports: [\"8080:80\"]\n");
    let mut holder = host
        .command("busybox")
        .args(["nc", "-l", "-p", "8080"])
        .spawn()
        .unwrap();
    eventually("the port is taken", || {
        let listening = host.shell("ss -Hltn 'sport = :8080'").stdout;
        if listening.is_empty() {
            Err("not yet".into())
        } else {
            Ok(())
        }
    });
    host.compose("app", &file, "up -d")
        .fails_with(1)
        .says("8080");
    assert_eq!(host.wharfie("-p app ps -aq").stdout, "");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn up_fails_for_what_could_not_be_started_and_not_for_what_ended_with_an_error() {
    let host = Host::new();
    let job = |command: &str| {
        format!("services:\n  job:\n    image: busybox:1.35\n    command: {command}\n")
    };
    let fails = job("sh -c 'echo no such table; exit 3'");
    // However soon it ends.
    for _ in 0..3 {
        host.compose("app", &fails, "up -d").succeeds();
        eventually("it has ended", || {
            let shown = host.wharfie("-p app ps -a").stdout;
            match shown.contains("Exited (3)") {
                true => Ok(()),
                false => Err(shown),
            }
        });
    }
    let checked = format!("{fails}    healthcheck: {{test: 'true', interval: 60s}}\n");
    host.compose("checked", &checked, "up -d --wait")
        .fails_with(1)
        .says("no such table")
        .says("container checked-job-1 exited with code 3");
    host.compose("absent", &job("no-such-program"), "up -d")
        .fails_with(1)
        .says("could not be started")
        .says("executable file not found");
    let waits = "    depends_on: {job: {condition: service_completed_successfully}}\n";
    let waiting = format!(
        "{fails}  web:\n    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n{waits}"
    );
    host.compose("waiting", &waiting, "up -d")
        .fails_with(1)
        .says("no such table")
        .says("container waiting-job-1 exited with code 3; web was waiting for it");
    for stack in ["app", "checked", "absent", "waiting"] {
        host.wharfie(&format!("-p {stack} down")).succeeds();
    }
    host.leaves_nothing();
}

#[test]
fn the_exit_code_of_a_program_is_kept() {
    let host = Host::new();
    host.compose("app", SLEEPER, "up -d").succeeds();
    host.wharfie_with(&["-p", "app", "exec", "-T", "web", "sh", "-c", "exit 42"])
        .fails_with(42);
    host.compose("app", SLEEPER, "run --rm -T web sh -c true")
        .succeeds();
    host.compose("app", SLEEPER, "run --rm -T web no-such-program")
        .fails_with(127);
    host.compose("app", SLEEPER, "down").succeeds();
    host.leaves_nothing();
}
