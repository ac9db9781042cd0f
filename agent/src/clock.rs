//! What time it is, in three senses: the date, a clock for waiting, a clock for the log of decisions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scheduler::model::time::Timestamp;
use tokio::time::Instant;

/// The date, for what people read. People set it, so nothing may wait by it.
pub fn wall_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::EPOCH.plus(since_epoch.unwrap_or(Duration::ZERO))
}

/// The date at the start, and monotonic time since: a changed system clock neither expires nor
/// prolongs anything that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self::start_at(wall_time())
    }

    /// It is this time now.
    pub fn start_at(origin: Timestamp) -> Self {
        Self {
            origin,
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

/// Follows the date when it is set forward, and goes on when it is set back: what is written down
/// one after the other has times in that order.
#[derive(Debug)]
pub struct AdvancingClock(Clock);

impl AdvancingClock {
    pub fn start() -> Self {
        Self(Clock::start())
    }

    pub fn now(&mut self) -> Timestamp {
        let (own, wall) = (self.0.now(), wall_time());
        if wall > own {
            self.0 = Clock::start();
        }
        own.max(wall)
    }
}
