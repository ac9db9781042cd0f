//! How a new version takes the place of the old one, and how a service goes back to the one before.

use std::fs;
use std::process::Stdio;

use super::PROJECT;
use crate::support::{Host, binary, eventually};

pub(super) const PROVES: &[&str] = &[
    "deploy.update_config.delay",
    "deploy.update_config.max_failure_ratio",
    "deploy.rollback_config.delay",
    "deploy.rollback_config.failure_action",
    "deploy.rollback_config.max_failure_ratio",
    "deploy.rollback_config.monitor",
    "deploy.rollback_config.order",
    "deploy.rollback_config.parallelism",
];

/// Two containers that run a shell line and share the project's directory `diary`.
fn web(line: &str, deploy: &str) -> String {
    format!(
        "services:
  web:
    image: busybox:1.35
    init: true
    command: [sh, -c, '{line}']
    volumes: ['./diary:/diary']
    stop_grace_period: 1s
    deploy: {{replicas: 2, {deploy}}}
"
    )
}

/// What has become of the service's update, as its phase and the sentence that people read.
fn rollout(host: &Host) -> (String, String) {
    let socket = host.path("run/wharfie.sock");
    let asked = format!(
        "curl -sf --max-time 30 --unix-socket {} http://node/x/stacks/{PROJECT}",
        socket.display()
    );
    let said = host.shell(&asked).succeeds().stdout;
    let stack: serde_json::Value = serde_json::from_str(&said).expect("the status is JSON");
    let rollout = &stack["services"][0]["rollout"];
    let text = |key: &str| rollout[key].as_str().unwrap_or_default().to_owned();
    (text("phase"), text("text"))
}

#[track_caller]
fn becomes(host: &Host, phase: &str) -> String {
    eventually(&format!("the rollout is {phase}"), || match rollout(host) {
        (found, text) if found == phase => Ok(text),
        (found, text) => Err(format!("{found}: {text}")),
    })
}

/// Seconds between the starts of the two containers.
fn gap(host: &Host) -> f64 {
    let ids = host.wharfie(&format!("-p {PROJECT} ps -q --no-trunc web"));
    let started: Vec<f64> = ids
        .stdout
        .lines()
        .map(|id| {
            let at = host.inspect(id)["State"]["StartedAt"].clone();
            let seconds = host.shell(&format!("date -d {at} +%s.%N")).succeeds();
            seconds.stdout.trim().parse().expect("a number")
        })
        .collect();
    match started.as_slice() {
        [one, other] => (one - other).abs(),
        others => panic!("two containers: {others:?}"),
    }
}

#[test]
fn slots_follow_each_other_in_the_order_and_at_the_pace_that_is_configured_also_on_the_way_back() {
    let host = Host::new();
    let version = |number: u32| {
        let line = format!(
            "trap \"echo down {number} >>/diary/log; exit\" TERM; echo up {number} >>/diary/log; touch /up; \
             sleep 1000000 & wait"
        );
        let deploy = "update_config: {parallelism: 1, delay: 2s, monitor: 0s}, \
                      rollback_config: {parallelism: 1, delay: 3s, monitor: 0s, order: start-first}";
        // Who is served has written its line: only then the other one is stopped.
        web(&line, deploy).replace(
            "init: true",
            "healthcheck: {test: test -e /up, interval: 100ms}",
        )
    };
    host.compose(PROJECT, &version(1), "up -d --wait")
        .succeeds();
    host.compose(PROJECT, &version(2), "up -d --wait")
        .succeeds();
    assert!(gap(&host) >= 2.0, "{}", gap(&host));
    host.compose(PROJECT, &version(2), "rollback web");
    becomes(&host, "rollback_completed");
    assert!(gap(&host) >= 3.0, "{}", gap(&host));
    let expected = "up 1,up 1,down 1,up 2,down 1,up 2,up 1,down 2,up 1,down 2";
    eventually("each has said goodbye", || {
        let log = fs::read_to_string(host.path(PROJECT).join("diary/log")).unwrap_or_default();
        match log.lines().collect::<Vec<_>>().join(",") {
            seen if seen == expected => Ok(()),
            seen => Err(seen),
        }
    });
    host.compose(PROJECT, &version(1), "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_update_bears_as_many_failures_as_it_is_told_to() {
    let host = Host::new();
    let deploy = "update_config: {parallelism: 1, max_failure_ratio: 0.5, monitor: 100ms}";
    host.compose(PROJECT, &web("sleep 1000000", deploy), "up -d --wait")
        .succeeds();
    let one_fails = web(
        "mkdir /diary/once 2>/dev/null && exit 7; exec sleep 1000000",
        deploy,
    );
    host.compose(PROJECT, &one_fails, "up -d");
    let text = becomes(&host, "completed");
    assert!(text.contains("1 of 2 containers failed"), "{text}");
    host.compose(PROJECT, &one_fails, "down").succeeds();
    host.leaves_nothing();
}

/// Goes back to a version that does not come up any more, and tells how that ends.
#[track_caller]
fn goes_back(failing: &str, rollback: &str, phase: &str, said: &str) {
    let host = Host::new();
    let deploy = format!("update_config: {{monitor: 0s}}, rollback_config: {{{rollback}}}");
    let first = web(&format!("{failing} && exit 7; exec sleep 1000000"), &deploy);
    host.compose(PROJECT, &first, "up -d --wait").succeeds();
    let second = web("exec sleep 2000000", &deploy);
    host.compose(PROJECT, &second, "up -d --wait").succeeds();
    becomes_quiet(&host);
    fs::write(host.path(PROJECT).join("diary/broken"), "").expect("a file for the containers");
    host.compose(PROJECT, &second, "rollback web");
    let text = becomes(&host, phase);
    assert!(text.contains(said), "{text}");
    host.compose(PROJECT, &second, "down").succeeds();
    host.leaves_nothing();
}

/// The update is over: there is a version to go back to.
fn becomes_quiet(host: &Host) {
    eventually("the update is over", || match rollout(host) {
        (phase, _) if phase.is_empty() => Ok(()),
        (phase, text) => Err(format!("{phase}: {text}")),
    });
}

#[test]
fn a_rollback_that_fails_is_paused_or_goes_on_as_it_is_told() {
    let all = "test -e /diary/broken";
    let one = "test -e /diary/broken && mkdir /diary/once 2>/dev/null";
    goes_back(
        all,
        "parallelism: 1, failure_action: pause",
        "rollback_paused",
        "exit code 7",
    );
    goes_back(
        all,
        "parallelism: 1, failure_action: continue",
        "rollback_completed",
        "2 of 2 containers failed",
    );
    goes_back(
        one,
        "parallelism: 1, max_failure_ratio: 0.5",
        "rollback_completed",
        "1 of 2 containers failed",
    );
}

#[test]
fn a_rollback_is_watched_for_as_long_as_its_monitor_says() {
    let host = Host::new();
    let deploy = "update_config: {monitor: 0s}, rollback_config: {parallelism: 0, monitor: 10m}";
    let first = web(
        "until test -e /diary/fall; do sleep 0.1; done; exit 7",
        deploy,
    );
    host.compose(PROJECT, &first, "up -d --wait").succeeds();
    let second = web("exec sleep 2000000", deploy);
    host.compose(PROJECT, &second, "up -d --wait").succeeds();
    becomes_quiet(&host);
    let file = host.project(PROJECT, &second);
    let mut back = host.command(binary());
    let mut back = back
        .arg("-f")
        .arg(file)
        .args(["rollback", "web"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command");
    eventually("both run the version before", || {
        let ids = host.wharfie(&format!("-p {PROJECT} ps -q --no-trunc web"));
        let versions: Vec<bool> = ids
            .stdout
            .lines()
            .map(|id| host.inspect(id)["Args"].to_string().contains("fall"))
            .collect();
        match versions.as_slice() {
            [true, true] => Ok(()),
            others => Err(format!("{others:?}")),
        }
    });
    let (phase, _) = rollout(&host);
    assert_eq!(phase, "rollback_started", "it is still watched");
    fs::write(host.path(PROJECT).join("diary/fall"), "").expect("a file for the containers");
    let text = becomes(&host, "rollback_paused");
    assert!(text.contains("exit code 7"), "{text}");
    back.wait().expect("the command ends");
    host.compose(PROJECT, &second, "down").succeeds();
    host.leaves_nothing();
}
