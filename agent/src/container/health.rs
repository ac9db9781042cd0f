//! What a container's health check has found, and when to look again.
//!
//!     Starting ──success──► Healthy ◄──success── Unhealthy
//!         └───`retries` failures in a row───────────▲
//!
//! Failures do not count while the container is `Starting` and its start period lasts; the first success
//! ends both. The probes themselves are run by others: this knows only their results and the time.
//!
//! Source: moby `daemon/health.go`.

use std::collections::VecDeque;
use std::time::Duration;

use scheduler::model::task::{Health, HealthStatus};
use scheduler::model::time::Timestamp;

/// How many probes are kept for `inspect`, as in Docker.
const KEPT_PROBES: usize = 5;

/// Bytes of a probe's output that are kept, as in Docker.
pub const MAX_OUTPUT: usize = 4096;

/// A health check with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The program that probes, and its arguments.
    pub args: Vec<String>,
    /// From the end of a probe to the start of the next.
    pub interval: Duration,
    /// After which a probe is killed and has failed.
    pub timeout: Duration,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
    /// How long after the start failures do not count.
    pub start_period: Duration,
    /// Takes the place of `interval` during the start period.
    pub start_interval: Duration,
}

/// One probe that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: ProbeOutcome,
    /// What it wrote; the first 4 KiB are kept.
    pub output: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// 0 is success.
    Exited(i32),
    TimedOut,
    /// It could not be started, and why.
    NotRun(String),
}

/// Follows the health of one run of a container.
#[derive(Clone, Debug)]
pub struct HealthMonitor {
    check: HealthCheck,
    started_at: Timestamp,
    status: HealthStatus,
    failing_streak: u32,
    recent: VecDeque<Probe>,
}

impl HealthMonitor {
    /// Begins with a container that was started at `started_at`.
    pub fn new(check: HealthCheck, started_at: Timestamp) -> Self {
        let status = HealthStatus::Starting;
        Self {
            check,
            started_at,
            status,
            failing_streak: 0,
            recent: VecDeque::new(),
        }
    }

    /// Goes on with what an earlier process had found out, so that its end changes nothing.
    #[must_use]
    pub fn resume(mut self, last: &Health) -> Self {
        self.status = last.status;
        self.failing_streak = last.failing_streak;
        self
    }

    pub fn check(&self) -> &HealthCheck {
        &self.check
    }

    /// When the next probe should start: an interval after the start, or after the last probe's end.
    pub fn next_probe_at(&self) -> Timestamp {
        let from = self
            .recent
            .back()
            .map_or(self.started_at, |probe| probe.finished_at);
        let interval = if self.in_start_period(from) {
            self.check.start_interval
        } else {
            self.check.interval
        };
        from.plus(interval)
    }

    /// Takes in a probe that has ended.
    pub fn on_probe(&mut self, mut probe: Probe) {
        probe.output.truncate(MAX_OUTPUT);
        if probe.outcome == ProbeOutcome::Exited(0) {
            self.status = HealthStatus::Healthy;
            self.failing_streak = 0;
        } else if !self.in_start_period(probe.started_at) {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= self.check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.recent.len() == KEPT_PROBES {
            self.recent.pop_front();
        }
        self.recent.push_back(probe);
    }

    /// What is known now.
    pub fn health(&self) -> Health {
        Health {
            status: self.status,
            failing_streak: self.failing_streak,
            retries: self.check.retries,
            last_probe: self.recent.back().map(|probe| probe.summary(&self.check)),
        }
    }

    /// The last five probes, the oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Probe> {
        self.recent.iter()
    }

    fn in_start_period(&self, at: Timestamp) -> bool {
        self.status == HealthStatus::Starting && at.since(self.started_at) < self.check.start_period
    }
}

impl Probe {
    /// The outcome and the first line of output, e.g. `exit code 1: connection refused`.
    fn summary(&self, check: &HealthCheck) -> String {
        let outcome = match &self.outcome {
            ProbeOutcome::Exited(code) => format!("exit code {code}"),
            ProbeOutcome::TimedOut => format!("took longer than {:?}", check.timeout),
            ProbeOutcome::NotRun(why) => return format!("could not run: {why}"),
        };
        let text = String::from_utf8_lossy(&self.output);
        match text.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(line) => format!("{outcome}: {line}"),
            None => outcome,
        }
    }
}

#[cfg(test)]
mod tests;
