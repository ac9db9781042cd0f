//! Conditions of `depends_on` on the way up, and the same order backwards on the way down.

use std::fs;

use crate::support::{Host, eventually};

/// A service that writes down when it comes and when it goes.
fn witness(name: &str, more: &str) -> String {
    format!(
        "  {name}:
    image: busybox:1.35
    volumes: [\"../events:/events\"]
    command:
      - sh
      - -c
      - 'trap \"echo down-{name} >> /events/log; exit 0\" TERM; echo up-{name} >> /events/log; sleep 1000000 & wait'
{more}"
    )
}

fn events(host: &Host) -> Vec<String> {
    let text = fs::read_to_string(host.path("events/log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_stack_comes_up_in_dependency_order_and_goes_down_in_reverse() {
    let host = Host::new();
    fs::create_dir_all(host.path("events")).unwrap();
    let file = [
        "services:\n".to_owned(),
        witness("web", "    depends_on: [api]\n"),
        witness(
            "api",
            "    depends_on: {db: {condition: service_started}}\n",
        ),
        witness("db", ""),
    ]
    .concat();
    host.compose("app", &file, "up -d").succeeds();
    eventually("all are up", || match events(&host).len() {
        3 => Ok(()),
        _ => Err(format!("{:?}", events(&host))),
    });
    host.compose("app", &file, "down").succeeds();
    let order = events(&host);
    assert_eq!(order[3..], ["down-web", "down-api", "down-db"], "{order:?}");
    host.leaves_nothing();
}

#[test]
fn a_service_waits_for_health_and_for_completion() {
    let host = Host::new();
    let file = "
services:
  db:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    healthcheck: {test: test -e /tmp/ready, interval: 100ms, retries: 1000}
  migrate:
    image: busybox:1.35
    command: sh -c 'echo migrated'
    depends_on: {db: {condition: service_healthy}}
  app:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    depends_on: {migrate: {condition: service_completed_successfully}}
";
    let path = host.project("app", file);
    let mut up = host.command(crate::support::binary());
    let up = up
        .arg("-f")
        .arg(&path)
        .args(["up", "-d"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let up = up.spawn().unwrap();
    eventually("db runs", || match host.exec("app", "db", "true") {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    // It cannot become healthy before the file is there, so nothing else has begun.
    let running = host
        .wharfie("-p app ps --services --status running")
        .succeeds()
        .stdout;
    assert_eq!(running.trim(), "db");
    host.exec("app", "db", "touch /tmp/ready").succeeds();
    let output = up.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(host.inspect("app-migrate-1")["State"]["ExitCode"], 0);
    assert_eq!(host.inspect("app-app-1")["State"]["Status"], "running");
    host.compose("app", file, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_unhealthy_dependency_ends_the_up_and_says_who_waited_for_what() {
    let host = Host::new();
    let file = "
services:
  db:
    image: busybox:1.35
    init: true
    command: sh -c 'echo cannot read my disk; sleep 1000000'
    healthcheck: {test: 'echo connection refused; exit 1', interval: 100ms, retries: 2}
  app:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    depends_on: {db: {condition: service_healthy}}
";
    let ran = host.compose("app", file, "up -d");
    assert!(ran.code != 0, "{ran}");
    let ran = ran.says("connection refused").says("cannot read my disk");
    assert!(
        ran.stderr.contains("app") && ran.stderr.contains("unhealthy"),
        "{ran}"
    );
    host.compose("app", file, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_failed_job_ends_the_up_with_its_code_and_its_last_words() {
    let host = Host::new();
    let file = "
services:
  migrate:
    image: busybox:1.35
    command: sh -c 'echo schema is broken; exit 3'
  app:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    depends_on: {migrate: {condition: service_completed_successfully}}
";
    let ran = host.compose("app", file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("schema is broken")
        .says("migrate")
        .says("3")
        .says("app");
    assert_eq!(
        host.wharfie("-p app ps --services --status running")
            .stdout
            .trim(),
        ""
    );
    host.compose("app", file, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn nobody_waits_for_ever_for_what_ends_again_and_again() {
    let host = Host::new();
    let file = "
services:
  db:
    image: busybox:1.35
    command: sh -c 'echo cannot open my files; exit 3'
    restart: always
    healthcheck: {test: 'true', interval: 1s}
  web:
    image: busybox:1.35
    command: sleep 1000000
    depends_on: {db: {condition: service_healthy}}
";
    let ran = host.compose("app", file, "up -d").fails_with(1);
    ran.says("cannot open my files")
        .says("container app-db-1 keeps ending (exit code 3")
        .says("web was waiting for it");
    host.compose("app", file, "down -t 0").succeeds();
    host.leaves_nothing();
}
