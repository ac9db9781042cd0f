//! What `up` promises about the time after it: the ill are restarted, order holds after a boot, and
//! what has done its work is left alone.

use std::fs;

use crate::support::cluster::{Cluster, secs};
use crate::support::{Host, eventually};

#[test]
fn an_unhealthy_container_is_restarted_where_its_policy_says_so() {
    let host = Host::new();
    let text = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sh -c 'rm -f /ill; exec sleep 1000000'
    restart: always
    stop_grace_period: 1s
    healthcheck: {test: 'test ! -e /ill || { echo I am ill; exit 1; }', interval: 100ms, retries: 2}
  left:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    stop_grace_period: 1s
    healthcheck: {test: 'test ! -e /ill', interval: 100ms, retries: 2}
";
    host.compose("app", text, "up -d --wait").succeeds();
    for service in ["web", "left"] {
        host.exec("app", service, "touch /ill").succeeds();
    }
    eventually("the one is up again, the other one ill", || {
        let seen = ["app-web-1", "app-left-1"].map(|it| host.inspect(it));
        let word = |it: &serde_json::Value| {
            let health = it["State"]["Health"]["Status"].clone();
            format!("{health} {}", it["RestartCount"])
        };
        match seen.each_ref().map(word) {
            [one, other] if one == "\"healthy\" 1" && other == "\"unhealthy\" 0" => Ok(()),
            others => Err(format!("{others:?}")),
        }
    });
    host.compose("app", text, "why web").says("I am ill");
    host.compose("app", text, "down").succeeds();
    host.leaves_nothing();
}

/// Writes down when it comes, and is healthy when the host says so.
fn witness(name: &str, more: &str) -> String {
    format!(
        "  {name}:
    image: busybox:1.35
    init: true
    restart: unless-stopped
    volumes: ['./diary:/diary']
    command: sh -c 'echo {name} >>/diary/log; exec sleep 1000000'
{more}"
    )
}

#[test]
fn a_host_that_boots_brings_its_stacks_up_in_their_order() {
    let mut cluster = Cluster::of(1, 0);
    let text = [
        "services:\n",
        &witness("db", "    healthcheck: {test: test -e /diary/ready, interval: 100ms, retries: 100000}\n"),
        &witness("web", "    depends_on: {db: {condition: service_healthy}, done: {condition: service_completed_successfully}}\n"),
        &witness("done", "").replace("unless-stopped", "'no'").replace("; exec sleep 1000000", ""),
    ]
    .concat();
    let diary = cluster.host(0).path("app").join("diary");
    fs::create_dir_all(&diary).unwrap();
    fs::write(diary.join("ready"), "").unwrap();
    cluster
        .host(0)
        .compose("app", &text, "up -d --wait")
        .succeeds();
    fs::remove_file(diary.join("ready")).unwrap();
    fs::write(diary.join("log"), "").unwrap();
    cluster.power_off(0);
    cluster.power_on(0);
    let log = || fs::read_to_string(diary.join("log")).unwrap_or_default();
    cluster.within(secs(60), "the first one comes, and alone", || match log() {
        log if log == "db\n" => Ok(()),
        other => Err(other),
    });
    let (why, _) = cluster.within(secs(60), "the second one says what it waits for", || {
        let ran = cluster.host(0).wharfie("-p app why web");
        match ran.stdout.contains("waiting for db to be healthy") {
            true => Ok(ran),
            false => Err(ran.to_string()),
        }
    });
    assert_eq!(log(), "db\n", "{why}");
    fs::write(diary.join("ready"), "").unwrap();
    cluster.within(secs(60), "then the second one", || match log() {
        log if log == "db\nweb\n" => Ok(()),
        other => Err(other),
    });
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(0).leaves_nothing();
}

#[test]
fn what_has_done_its_work_does_it_again_only_when_something_of_it_has_changed() {
    let host = Host::new();
    let text = "
services:
  migrate:
    image: job:1
    command: sh -c 'echo $$STEP $$(cat /plan /kind) >>/diary/log'
    environment: {STEP: one}
    volumes: ['./diary:/diary']
    configs: [plan]
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    depends_on: {migrate: {condition: service_completed_successfully}}
configs:
  plan: {file: ./plan.txt}
";
    host.import_with("job:1", &[("kind", "0:0 644", "first\n")]);
    let beside = host.project("app", text);
    let plan = beside.with_file_name("plan.txt");
    let log = || fs::read_to_string(beside.with_file_name("diary/log")).unwrap_or_default();
    fs::write(&plan, "small\n").unwrap();
    let up = |text: &str| host.compose("app", text, "up -d --wait").succeeds();
    up(text);
    let mut expected = "one small first\n".to_owned();
    assert_eq!(log(), expected);
    up(text);
    assert_eq!(log(), expected, "nothing has changed");
    fs::write(&plan, "large\n").unwrap();
    up(text);
    expected += "one large first\n";
    assert_eq!(log(), expected, "what it reads has changed");
    let text = text.replace("STEP: one", "STEP: two");
    up(&text);
    expected += "two large first\n";
    assert_eq!(log(), expected, "its definition has changed");
    host.import_with("job:1", &[("kind", "0:0 644", "second\n")]);
    up(&text);
    expected += "two large second\n";
    assert_eq!(log(), expected, "its image has changed");
    host.compose("app", &text, "down").succeeds();
    host.leaves_nothing();
}
