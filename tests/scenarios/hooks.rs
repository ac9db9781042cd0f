//! Commands that accompany a container's life: `pre_start`, `post_start`, `pre_stop`.

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

/// The steps write into the volume that they share with their service.
const PREPARED: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    command: [sh, -c, 'cat /data/log; exec sleep VERSION']
    user: '7'
    environment: {WHO: web}
    volumes: ['data:/data']
    deploy: {replicas: 2}
    pre_start:
      - command: [sh, -c, 'chmod 777 /data; echo $$WHO $$(id -u) $$(pwd) >>/data/log']
        user: root
        working_dir: /tmp
        environment: [WHO=first]
        privileged: true
      - command: [sh, -c, 'cat /own >>/data/log']
        image: other:1
        per_replica: true
  client:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    depends_on: [web]
volumes: {data: }
";

#[test]
fn steps_before_the_start_run_to_their_end_and_again_only_when_their_service_has_changed() {
    let host = Host::new();
    host.import_with("other:1", &[("own", "0:0 644", "of the other image\n")]);
    let version = |seconds: &str| PREPARED.replace("VERSION", seconds);
    let log = || host.exec("app", "web", "cat /data/log").succeeds().stdout;
    let first = version("1000000");
    host.compose("app", &first, "up -d --wait").succeeds();
    let once = "first 0 /tmp\nof the other image\nof the other image\n";
    assert_eq!(log(), once);
    let seen = host.logs("app", "web");
    assert_eq!(seen, once.repeat(2), "they began when it was all there");

    // Nothing has changed, and a restart changes nothing.
    host.compose("app", &first, "up -d --wait").succeeds();
    host.compose("app", &first, "restart").succeeds();
    host.compose("app", &first, "stop").succeeds();
    host.compose("app", &first, "start").succeeds();
    assert_eq!(log(), once);
    host.compose("app", &version("2000000"), "up -d --wait")
        .succeeds();
    assert_eq!(log(), once.repeat(2));

    // Without them in the file they go.
    let without = version("2000000");
    let (head, rest) = without.split_once("    pre_start:").unwrap();
    let (_, tail) = rest.split_once("  client:").unwrap();
    host.compose("app", &format!("{head}  client:{tail}"), "up -d --wait")
        .succeeds()
        .never_says("orphan");
    eventually("the steps are gone", || {
        let all = host.wharfie("-p app ps -a");
        match all.stdout.contains("pre-start") {
            true => Err(all.stdout),
            false => Ok(()),
        }
    });
    host.compose("app", &first, "down -v").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_step_that_fails_keeps_its_service_from_starting_and_is_kept() {
    let host = Host::new();
    let text = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    volumes: ['./data:/data']
    pre_start:
      - command: [sh, -c, 'test -e /data/table || { echo no such table; exit 3; }']
      - command: [touch, /data/never]
";
    let ran = host.compose("app", text, "up -d").fails_with(1);
    ran.says("app-web-pre-start-1-1 exited with code 3")
        .says("no such table");
    let running = host.wharfie("-p app ps -q").stdout;
    assert_eq!(running, "");
    let data = host.project("app", text).with_file_name("data");
    assert!(!data.join("never").exists());
    // The next one tries again.
    std::fs::write(data.join("table"), "").expect("a file for the container");
    host.compose("app", text, "up -d --wait").succeeds();
    assert!(data.join("never").exists());
    host.compose("app", text, "down").succeeds();
    host.leaves_nothing();
}
