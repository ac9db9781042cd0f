//! What a program finds around it: user, directory, environment, limits, rights.

use std::fs;

use crate::support::{Host, eventually};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

/// Brings up one service with these attributes, and compares what a shell line prints in it.
#[track_caller]
fn check(attributes: &str, line: &str, expected: &str) {
    let host = Host::new();
    host.compose(
        "app",
        &format!("services:\n  web:\n{SLEEP}{attributes}\n"),
        "up -d",
    )
    .succeeds();
    let ran = host.exec("app", "web", line);
    assert_eq!(ran.stdout.trim_end(), expected, "{ran}");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_program_runs_as_the_user_in_the_directory_that_was_asked_for() {
    check(
        "    user: \"33:34\"\n    group_add: [\"50\"]\n    working_dir: /var/tmp\n    hostname: box\n    domainname: example.org\n    extra_hosts: [\"friend:192.0.2.9\"]",
        "id -u; id -G; pwd; hostname; grep -c '192.0.2.9.*friend' /etc/hosts",
        "33\n34 50\n/var/tmp\nbox\n1",
    );
}

#[test]
fn variables_come_from_files_and_the_compose_file_wins() {
    let host = Host::new();
    let file =
        format!("services:\n  web:\n{SLEEP}    env_file: [a.env]\n    environment: {{TWO: own}}\n");
    fs::write(
        host.project("app", &file).with_file_name("a.env"),
        "ONE=1\nTWO=2\n",
    )
    .unwrap();
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(host.exec("app", "web", "echo $ONE $TWO").stdout, "1 own\n");
}

#[test]
fn a_read_only_root_refuses_writes_except_on_its_mounts() {
    check(
        "    read_only: true\n    tmpfs: [/tmp]",
        "touch /x 2>/dev/null || echo refused; touch /tmp/x && echo written",
        "refused\nwritten",
    );
}

#[test]
fn limits_hold_inside() {
    check(
        "    ulimits: {nofile: {soft: 100, hard: 200}, core: 0}\n    sysctls: {net.ipv4.ip_unprivileged_port_start: 81}",
        "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
        "100\n200\n0\n81",
    );
}

#[test]
fn memory_beyond_the_limit_ends_the_program() {
    let host = Host::new();
    let file = "
services:
  web:
    image: busybox:1.35
    command: sh -c 'tail /dev/zero'
    deploy: {resources: {limits: {memory: 20m, pids: 20, cpus: '0.5'}}}
    memswap_limit: 20m
";
    host.compose("app", file, "up -d");
    let state = eventually(
        "it has ended",
        || match host.inspect("app-web-1")["State"].clone() {
            state if state["Status"] == "exited" => Ok(state),
            state => Err(state.to_string()),
        },
    );
    assert_eq!(
        (&state["ExitCode"], &state["OOMKilled"]),
        (&137.into(), &true.into()),
        "{state}"
    );
}

#[test]
fn a_fork_bomb_is_held_by_the_limit_of_processes() {
    check(
        "    deploy: {resources: {limits: {pids: 10}}}",
        "for i in $(seq 30); do sleep 1000000 & done 2>&1 | grep -c -m 1 \"can't fork\"; true",
        "1",
    );
}

#[test]
fn capabilities_are_dockers_plus_and_minus_what_was_asked_for() {
    check(
        "",
        "grep CapEff /proc/self/status | cut -f2; grep NoNewPrivs /proc/self/status | cut -f2",
        "00000000a80425fb\n0",
    );
    check(
        "    cap_drop: [ALL]\n    cap_add: [NET_ADMIN]\n    security_opt: [no-new-privileges:true]",
        "grep CapEff /proc/self/status | cut -f2; grep NoNewPrivs /proc/self/status | cut -f2",
        "0000000000001000\n1",
    );
}

#[test]
fn the_kernels_files_are_hidden_unless_privileged() {
    let look = "sh -c 'echo box > /proc/sys/kernel/hostname' 2>/dev/null && echo writable || echo protected; grep Seccomp: /proc/self/status | cut -f2; mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo refused";
    check(
        "",
        &format!("mkdir -p /mnt; {look}"),
        "protected\n2\nrefused",
    );
    check(
        "    privileged: true",
        &format!("mkdir -p /mnt; {look}"),
        "writable\n0\nmounted",
    );
}

#[test]
fn a_log_is_bounded_and_the_latest_is_kept() {
    let host = Host::new();
    let file = "
services:
  web:
    image: busybox:1.35
    command: sh -c 'seq 1 20000; echo the end'
    logging: {options: {max-size: 10k, max-file: '2'}}
";
    host.compose("app", file, "up -d").succeeds();
    eventually("all is written", || match host.logs("app", "web") {
        logs if logs.ends_with("the end\n") => Ok(()),
        logs => Err(format!("{} bytes", logs.len())),
    });
    let kept = host.logs("app", "web");
    assert!(
        kept.lines().count() < 5000 && kept.contains("20000\n"),
        "{} lines",
        kept.lines().count()
    );
}

#[test]
fn a_terminal_and_standard_input_reach_the_program() {
    let host = Host::new();
    let file = "services:\n  web:\n    image: busybox:1.35\n    stdin_open: true\n    tty: true\n    command: sh -c 'tty; stty size; exec sleep 1000000'\n    stop_signal: SIGKILL\n";
    host.compose("app", file, "up -d").succeeds();
    eventually("it has a terminal", || match host.logs("app", "web") {
        logs if logs.contains("/dev/pts/0") => Ok(()),
        logs => Err(logs),
    });
    let piped = host.shell(&format!(
        "echo hello | {} -p app exec -T web cat",
        crate::support::binary()
    ));
    assert_eq!(piped.stdout, "hello\n");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
