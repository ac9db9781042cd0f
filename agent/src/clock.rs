//! The time of this process: it shows the date, and never jumps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scheduler::model::time::Timestamp;

/// Wall time at the start, and monotonic time since: a changed system clock neither expires nor
/// prolongs anything that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            origin: Timestamp::EPOCH.plus(wall),
            started: Instant::now(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.origin.plus(self.started.elapsed())
    }

    /// When a point in time is reached, for timers.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.origin)
    }
}
