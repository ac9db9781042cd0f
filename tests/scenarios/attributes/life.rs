//! How a container begins, goes on and ends.

use super::Look::{Host as OnHost, Inside, Inspect, Log};
use super::{Case, PROJECT, check, file};
use crate::support::{Host, eventually};

pub(super) const CASES: &[Case] = &[
    Case {
        proves: &[
            "healthcheck",
            "healthcheck.test",
            "healthcheck.interval",
            "healthcheck.timeout",
            "healthcheck.retries",
            "healthcheck.start_period",
            "healthcheck.start_interval",
        ],
        yaml: "healthcheck: {test: [CMD, 'true'], interval: 1s, timeout: 9s, retries: 2, start_period: 5s, start_interval: 1s}",
        look: Inspect("/State/Health/Status"),
        expected: "healthy",
    },
    Case {
        proves: &["healthcheck.disable"],
        yaml: "healthcheck: {test: [CMD, 'true'], disable: true}",
        look: Inspect("/State/Health"),
        expected: "nothing",
    },
    Case {
        proves: &[
            "depends_on",
            "depends_on.*.condition",
            "depends_on.*.required",
        ],
        yaml: "depends_on: {s0: {condition: service_healthy}, s3: {condition: service_completed_successfully}, gone: {condition: service_started, required: false}}\n\
               command: sh -c 'cat /both/text; exec sleep 1000000'\nvolumes: ['both:/both']",
        look: Log,
        expected: "first",
    },
    Case {
        proves: &["restart"],
        yaml: "command: sh -c 'echo first >/both/text'\nvolumes: ['both:/both']\nrestart: 'no'",
        look: Inspect("/State/ExitCode"),
        expected: "0",
    },
    Case {
        proves: &["logging", "logging.driver"],
        yaml: "command: sh -c 'echo unheard; exec sleep 1000000'\nlogging: {driver: none}",
        look: Log,
        expected: "",
    },
    Case {
        proves: &["logging.options"],
        yaml: "command: sh -c 'seq 3000; exec sleep 1000000'\nlogging: {options: {max-size: 2k, max-file: '2'}}",
        look: OnHost("ls $FILES | grep -c '^log'"),
        expected: "2",
    },
    Case {
        proves: &["deploy.labels"],
        yaml: "deploy: {labels: {a: b}}",
        look: Inspect("/Config/Labels/a"),
        expected: "nothing",
    },
    Case {
        proves: &["deploy.mode", "deploy.replicas", "scale"],
        yaml: "deploy: {mode: replicated, replicas: 2}\nscale: 2",
        look: Inside("ping -c1 -W9 attr-s7-2 >/dev/null && echo two"),
        expected: "two",
    },
    Case {
        proves: &["pull_policy"],
        yaml: "pull_policy: never",
        look: Inside("echo runs"),
        expected: "runs",
    },
    Case {
        proves: &["attach", "profiles"],
        yaml: "attach: false\nprofiles: ['on']",
        look: Inside("echo runs"),
        expected: "runs",
    },
];

#[test]
fn how_a_container_begins_and_goes_on() {
    let mut host = Host::new();
    // The variable of the last case.
    host.project(PROJECT, "");
    std::fs::write(host.path(PROJECT).join(".env"), "COMPOSE_PROFILES=on\n").unwrap();
    check(&host, "volumes: {both: }\n", CASES);
    host.leaves_nothing();
    host.kill_agent();
}

pub(super) const ENDS: &[&str] = &[
    "stop_signal",
    "stop_grace_period",
    "deploy.restart_policy",
    "deploy.restart_policy.condition",
    "deploy.restart_policy.delay",
    "deploy.restart_policy.max_attempts",
    "deploy.restart_policy.window",
    "depends_on.*.restart",
    "deploy.update_config",
    "deploy.update_config.failure_action",
    "deploy.update_config.monitor",
    "deploy.update_config.order",
    "deploy.rollback_config",
];

#[test]
fn a_container_is_ended_by_its_signal_within_its_time() {
    let host = Host::new();
    let cases = [
        "command: sh -c 'trap \"exit 42\" USR1; while :; do sleep 0.1; done'\nstop_signal: SIGUSR1\nstop_grace_period: 60s",
        "command: sh -c 'trap true TERM; while :; do sleep 0.1; done'\nstop_grace_period: 1s",
    ]
    .map(|yaml| Case {
        proves: &[],
        yaml,
        look: Log,
        expected: "",
    });
    let text = file("", &cases);
    host.compose(PROJECT, &text, "up -d").succeeds();
    host.compose(PROJECT, &text, "stop").succeeds();
    let code = |name: &str| host.inspect(name)["State"]["ExitCode"].as_i64();
    assert_eq!(code("attr-s0-1"), Some(42));
    assert_eq!(code("attr-s1-1"), Some(137));
    host.compose(PROJECT, &text, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_program_that_fails_is_restarted_as_its_policy_says() {
    let host = Host::new();
    let cases = [Case {
        proves: &[],
        yaml: "command: sh -c 'exit 3'\ndeploy: {restart_policy: {condition: on-failure, delay: 100ms, max_attempts: 2}}",
        look: Log,
        expected: "",
    }];
    let text = file("", &cases);
    host.compose(PROJECT, &text, "up -d");
    eventually("it was restarted twice, and given up", || {
        let seen = host.inspect("attr-s0-1");
        match (&seen["RestartCount"], &seen["State"]["Status"]) {
            (count, status) if count == 2 && status == "exited" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    host.compose(PROJECT, &text, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_run_that_was_long_enough_does_not_count_among_the_attempts() {
    let host = Host::new();
    let cases = [Case {
        proves: &[],
        yaml: "command: sh -c 'sleep 1.2; exit 3'\ndeploy: {restart_policy: {condition: on-failure, delay: 100ms, max_attempts: 1, window: 1s}}",
        look: Log,
        expected: "",
    }];
    let text = file("", &cases);
    host.compose(PROJECT, &text, "up -d");
    eventually("it was restarted more than once", || {
        let seen = host.inspect("attr-s0-1");
        match seen["RestartCount"].as_u64() {
            Some(2..) => Ok(()),
            count => Err(format!("{count:?} {}", seen["State"])),
        }
    });
    host.compose(PROJECT, &text, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn dependents_are_restarted_with_what_they_depend_on_where_they_ask_for_it() {
    let host = Host::new();
    let depends = |service: &str, restart: bool| {
        format!("depends_on: {{{service}: {{condition: service_started, restart: {restart}}}}}")
    };
    let yaml = [
        "environment: {VERSION: '1'}".to_owned(),
        depends("s0", true),
        depends("s0", false),
        depends("s1", true),
    ];
    let text = |version: &str| {
        let services = yaml.iter().enumerate().map(|(number, yaml)| {
            let yaml = yaml.replace("'1'", version);
            format!("  s{number}:\n    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n    {yaml}\n")
        });
        format!("services:\n{}", services.collect::<String>())
    };
    let first = text("'1'");
    host.compose(PROJECT, &first, "up -d --wait").succeeds();
    let pids =
        || [0, 1, 2, 3].map(|it| host.inspect(&format!("attr-s{it}-1"))["State"]["Pid"].as_i64());
    let same = |before: [Option<i64>; 4]| {
        let now = pids();
        [0, 1, 2, 3].map(|it| now[it] == before[it])
    };
    let before = pids();
    host.compose(PROJECT, &first, "restart s0").succeeds();
    assert_eq!(same(before), [false, false, true, false]);
    // An update of it is a restart for the others.
    let before = pids();
    host.compose(PROJECT, &text("'2'"), "up -d --wait")
        .succeeds();
    assert_eq!(same(before), [false, false, true, false]);
    host.compose(PROJECT, &first, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_update_that_fails_goes_back_to_what_ran() {
    let host = Host::new();
    let version = |command: &str| {
        format!(
            "services:
  web:
    image: busybox:1.35
    init: true
    command: {command}
    deploy:
      update_config: {{order: start-first, failure_action: rollback, monitor: 2s}}
      rollback_config: {{parallelism: 0, order: start-first}}
"
        )
    };
    let (first, second) = (version("sleep 1000000"), version("sh -c 'exit 7'"));
    host.compose(PROJECT, &first, "up -d").succeeds();
    let pid = || host.inspect(&running(&host))["State"]["Pid"].as_i64();
    let before = pid();
    host.compose(PROJECT, &second, "up -d")
        .fails_with(1)
        .says("rolled back");
    assert_eq!(
        pid(),
        before,
        "the one that ran has been running all the time"
    );
    host.compose(PROJECT, &first, "down").succeeds();
    host.leaves_nothing();
}

fn running(host: &Host) -> String {
    let ids = host.wharfie(&format!("-p {PROJECT} ps -q --no-trunc web"));
    ids.stdout.trim().to_owned()
}
