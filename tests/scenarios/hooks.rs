//! Commands that accompany a container's life: `post_start`, `pre_stop`.

use crate::support::{Host, eventually};

const DIARY: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    user: '7'
    volumes: ['./data:/data']
    post_start:
      - command: [sh, -c, 'echo $$WHO $$(id -u) $$(pwd) >> /data/diary']
        user: root
        working_dir: /tmp
        environment: [WHO=started]
      - command: [sh, -c, 'mount -t tmpfs none /tmp && echo mounted >> /data/diary']
        user: root
        privileged: true
    pre_stop:
      - command: [sh, -c, 'umount /tmp && echo $$WHO $$(pwd) >> /data/diary']
        user: root
        privileged: true
        working_dir: /data
        environment: {WHO: stopping}
";

fn diary(host: &Host) -> String {
    let file = host.project("app", DIARY).with_file_name("data/diary");
    std::fs::read_to_string(file).unwrap_or_default()
}

fn reads(host: &Host, expected: &str) -> Result<(), String> {
    match diary(host) {
        it if it == expected => Ok(()),
        other => Err(other),
    }
}

#[test]
fn commands_run_after_each_start_and_before_each_stop() {
    let host = Host::new();
    host.compose("app", DIARY, "up -d").succeeds();
    let mut expected = "started 0 /tmp\nmounted\n".to_owned();
    assert_eq!(diary(&host), expected);
    host.compose("app", DIARY, "restart").succeeds();
    expected += "stopping /data\nstarted 0 /tmp\nmounted\n";
    assert_eq!(diary(&host), expected);
    host.compose("app", DIARY, "up -d --scale web=2").succeeds();
    expected += "started 0 /tmp\nmounted\n";
    assert_eq!(diary(&host), expected);
    host.compose("app", DIARY, "up -d --scale web=1").succeeds();
    expected += "stopping /data\n";
    eventually("the second one has said goodbye", || {
        reads(&host, &expected)
    });
    // What is killed is not asked.
    host.compose("app", DIARY, "kill").succeeds();
    assert_eq!(diary(&host), expected);
    host.compose("app", DIARY, "start").succeeds();
    host.compose("app", DIARY, "down").succeeds();
    expected += "started 0 /tmp\nmounted\nstopping /data\n";
    assert_eq!(diary(&host), expected);
    host.leaves_nothing();
}

#[test]
fn commands_after_the_start_are_not_forgotten_when_the_node_dies_meanwhile() {
    let mut host = Host::new();
    let text = DIARY.replace(
        "echo $$WHO",
        "test -e /data/go || sleep 1000000; echo $$WHO",
    );
    host.compose("app", &text, "up -d --wait --wait-timeout 1")
        .fails_with(1);
    host.kill_agent();
    let file = host.project("app", &text).with_file_name("data/go");
    std::fs::write(file, "").expect("a file for the container");
    host.start_agent();
    eventually("they have run", || {
        reads(&host, "started 0 /tmp\nmounted\n")
    });
    // The one of the node that died still sleeps: nobody waits for it.
    host.compose("app", &text, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_command_after_the_start_that_fails_ends_the_container_and_is_told() {
    let host = Host::new();
    let text = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    post_start:
      - command: [sh, -c, 'echo no such table; exit 3']
      - command: [touch, /never]
";
    let said =
        "post_start command `sh -c echo no such table; exit 3` exited with code 3: no such table";
    host.compose("app", text, "up -d").fails_with(1).says(said);
    host.compose("app", text, "ps -a").says("Exited");
    host.compose("app", text, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_command_that_never_ends_keeps_nobody_from_stopping() {
    let host = Host::new();
    let text = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    stop_grace_period: 1s
    post_start: [{command: sleep 1000000}]
    pre_stop: [{command: sleep 1000000}]
";
    host.compose("app", text, "up -d --wait --wait-timeout 2")
        .fails_with(1);
    host.compose("app", text, "ps -a").says("app-web-1");
    host.compose("app", text, "down").succeeds();
    host.leaves_nothing();
}
