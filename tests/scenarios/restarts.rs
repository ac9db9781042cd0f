//! Restart policies, and the exit codes that are kept.

use crate::support::{Host, eventually};

/// A container of this service ends by itself.
fn service(command: &str, restart: &str) -> String {
    format!(
        "services:\n  web:\n    image: busybox:1.35\n    restart: \"{restart}\"\n    command: {command}\n"
    )
}

fn state(host: &Host) -> serde_json::Value {
    host.inspect("app-web-1")
}

#[track_caller]
fn becomes(host: &Host, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    eventually(what, || match state(host) {
        state if holds(&state) => Ok(()),
        state => Err(state["State"].to_string() + &state["RestartCount"].to_string()),
    });
}

#[test]
fn a_failing_program_is_restarted_as_often_as_allowed() {
    let host = Host::new();
    host.compose(
        "app",
        &service("sh -c 'echo try; exit 5'", "on-failure:3"),
        "up -d",
    );
    becomes(&host, "it has given up", |it| {
        it["State"]["Status"] == "exited" && it["RestartCount"] == 3
    });
    assert_eq!(state(&host)["State"]["ExitCode"], 5);
    assert_eq!(
        host.logs("app", "web")
            .lines()
            .filter(|line| *line == "try")
            .count(),
        4
    );
}

#[test]
fn a_program_that_always_restarts_does_so_after_success_but_not_after_a_stop() {
    let host = Host::new();
    host.compose(
        "app",
        &service("sh -c 'echo again; sleep 0.1'", "always"),
        "up -d",
    )
    .succeeds();
    becomes(&host, "it has been restarted", |it| {
        it["RestartCount"].as_i64() >= Some(2)
    });
    host.wharfie("-p app stop").succeeds();
    becomes(&host, "it is stopped", |it| {
        it["State"]["Status"] == "exited"
    });
    let said = host.logs("app", "web");
    host.wharfie("-p app start").succeeds();
    becomes(&host, "it goes on", |_| {
        host.logs("app", "web").len() > said.len()
    });
}

#[test]
fn exit_codes_tell_why_a_container_could_not_start() {
    let host = Host::new();
    for (command, code) in [
        ("/no/such/program", 127),
        ("/etc/passwd", 126),
        ("sh -c 'exit 77'", 77),
    ] {
        host.compose("app", &service(command, "no"), "up -d --force-recreate");
        becomes(&host, "it has ended so", |it| {
            it["State"]["ExitCode"] == code
        });
    }
}

#[test]
fn each_restart_waits_twice_as_long_as_the_one_before() {
    let host = Host::new();
    host.compose(
        "app",
        &service("sh -c 'echo try; exit 1'", "on-failure:4"),
        "up -d",
    );
    becomes(&host, "it has given up", |it| {
        it["RestartCount"] == 4 && it["State"]["Status"] == "exited"
    });
    let logs = host.wharfie("-p app logs --no-log-prefix -t web").stdout;
    let times: Vec<f64> = logs
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter_map(|time| {
            let seconds = time.split('T').nth(1)?.trim_end_matches('Z');
            let mut parts = seconds
                .split(':')
                .filter_map(|part| part.parse::<f64>().ok());
            Some(parts.next()? * 3600.0 + parts.next()? * 60.0 + parts.next()?)
        })
        .collect();
    assert_eq!(times.len(), 5, "{logs}");
    // At least, as a start takes its own time besides; around midnight the clock begins anew.
    for (pair, wait) in times.windows(2).zip([0.1, 0.2, 0.4, 0.8]) {
        let waited = (pair[1] - pair[0]).rem_euclid(86_400.0);
        assert!(waited >= wait, "{wait} s in {times:?}");
    }
}
