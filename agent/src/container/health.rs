//! What a container's health check has found, and when to look again.
use std::time::Duration;

use scheduler::model::container::HealthTest;
use scheduler::model::task::Health;
use scheduler::model::time::Timestamp;

/// A health check with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub test: HealthTest,
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: u32,
    pub start_period: Duration,
    pub start_interval: Duration,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: ProbeOutcome,
    pub output: Vec<u8>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    Exited(i32),
    TimedOut,
    NotRun(String),
}

#[derive(Clone, Debug)]
pub struct HealthMonitor {
    check: HealthCheck,
}

impl HealthMonitor {
    pub fn new(check: HealthCheck, _started_at: Timestamp) -> Self {
        Self { check }
    }
    pub fn check(&self) -> &HealthCheck {
        &self.check
    }
    /// When the next probe must start.
    pub fn next_probe_at(&self) -> Timestamp {
        todo!()
    }
    /// Takes a finished probe in.
    pub fn on_probe(&mut self, _probe: Probe) {
        todo!()
    }
    pub fn health(&self) -> Health {
        todo!()
    }
    /// The last five probes, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Probe> {
        std::iter::empty()
    }
}
