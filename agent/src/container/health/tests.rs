use super::*;

/// Runs the probes of a drawing such as `fail 3:ok fail` when they are due (`3:` lasts three
/// seconds), and shows when each began and what was known after it.
#[track_caller]
fn check(start_period: u64, drawing: &str, expected: &str) {
    let second = Duration::from_secs(1);
    let mut monitor = HealthMonitor::new(
        HealthCheck {
            args: vec!["true".to_owned()],
            interval: 30 * second,
            timeout: 30 * second,
            retries: 3,
            start_period: Duration::from_secs(start_period),
            start_interval: 5 * second,
        },
        Timestamp::from_nanos(1_000_000_000_000),
    );
    let mut shown = Vec::new();
    for probe in drawing.split_whitespace() {
        let (lasting, outcome) = probe.split_once(':').unwrap_or(("0", probe));
        let started_at = monitor.next_probe_at();
        monitor.on_probe(Probe {
            started_at,
            finished_at: started_at.plus(lasting.parse::<u32>().unwrap() * second),
            outcome: match outcome {
                "ok" => ProbeOutcome::Exited(0),
                "slow" => ProbeOutcome::TimedOut,
                "none" => ProbeOutcome::NotRun("no such file".to_owned()),
                _ => ProbeOutcome::Exited(1),
            },
            output: b"\n refused \nmore\n".to_vec(),
        });
        let at = started_at.since(monitor.started_at).as_secs();
        let health = monitor.health();
        let status = match health.status {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        };
        shown.push(format!("{at}s {status}/{}", health.failing_streak));
    }
    assert_eq!(shown.join(", "), expected);
}

#[test]
fn the_first_success_makes_healthy() {
    check(0, "ok", "30s healthy/0");
    check(0, "fail ok", "30s starting/1, 60s healthy/0");
}

#[test]
fn three_failures_in_a_row_make_unhealthy() {
    check(
        0,
        "fail fail fail",
        "30s starting/1, 60s starting/2, 90s unhealthy/3",
    );
    check(
        0,
        "ok fail fail ok fail",
        "30s healthy/0, 60s healthy/1, 90s healthy/2, 120s healthy/0, 150s healthy/1",
    );
    check(
        0,
        "slow none fail ok",
        "30s starting/1, 60s starting/2, 90s unhealthy/3, 120s healthy/0",
    );
}

#[test]
fn failures_in_the_start_period_do_not_count_and_come_faster() {
    check(
        12,
        "fail fail fail fail fail",
        "5s starting/0, 10s starting/0, 15s starting/1, 45s starting/2, 75s unhealthy/3",
    );
}

#[test]
fn a_success_ends_the_start_period() {
    check(
        60,
        "fail ok fail fail fail",
        "5s starting/0, 10s healthy/0, 40s healthy/1, 70s healthy/2, 100s unhealthy/3",
    );
}

#[test]
fn the_interval_counts_from_the_end_of_a_probe() {
    check(0, "7:ok ok", "30s healthy/0, 67s healthy/0");
}

#[test]
fn the_last_probe_is_told_in_one_line() {
    let check = HealthCheck {
        args: Vec::new(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(5),
    };
    let mut monitor = HealthMonitor::new(check, Timestamp::EPOCH);
    let mut tell = |outcome, output: &[u8]| {
        let (started_at, finished_at) = (Timestamp::EPOCH, Timestamp::EPOCH);
        monitor.on_probe(Probe {
            started_at,
            finished_at,
            outcome,
            output: output.to_vec(),
        });
        monitor.health().last_probe.unwrap()
    };
    assert_eq!(
        tell(ProbeOutcome::Exited(7), b"\nrefused\nmore"),
        "exit code 7: refused"
    );
    assert_eq!(tell(ProbeOutcome::Exited(0), b""), "exit code 0");
    assert_eq!(
        tell(ProbeOutcome::TimedOut, b"..."),
        "took longer than 3s: ..."
    );
    assert_eq!(
        tell(ProbeOutcome::NotRun("no curl".into()), b""),
        "could not run: no curl"
    );
    assert_eq!(
        tell(ProbeOutcome::Exited(1), &[b'x'; 9000]).len(),
        4096 + "exit code 1: ".len()
    );
    tell(ProbeOutcome::Exited(0), b"six");
    assert_eq!(monitor.recent().count(), 5);
}
