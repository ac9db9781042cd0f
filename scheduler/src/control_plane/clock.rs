//! Whether times can be compared: by one clock, which nobody has set meanwhile.
//!
//! Deadlines begin at times that are written down, perhaps by another leader, whose clock may have
//! been minutes off. A leader that begins, or whose clock has jumped, therefore writes down that
//! from now on, and no earlier, times can be counted ([`State::steady_since`](crate::state::State)).

use std::time::Duration;

use crate::model::time::Timestamp;

/// With [`raft::TICK`](crate::raft::TICK) between two readings, more than this is a jump, or a
/// process that stood still.
const JUMP: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<Timestamp>,
    doubted: bool,
}

impl Clock {
    /// Without ticks a long silence is nothing unusual.
    pub(super) fn read(&mut self, now: Timestamp, with_ticks: bool) {
        let before = self.last.replace(now);
        if with_ticks && before.is_some_and(|before| now.since(before) > JUMP) {
            self.doubted = true;
        }
    }

    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Whether what was written down before must not be compared with this clock; asked once.
    pub(super) fn is_doubted(&mut self) -> bool {
        std::mem::take(&mut self.doubted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_doubted_once_and_a_silence_without_ticks_is_not() {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let mut clock = Clock::default();
        clock.read(at(100), true);
        clock.read(at(101), true);
        assert!(!clock.is_doubted());
        clock.read(at(1431), true);
        assert!(clock.is_doubted());
        assert!(!clock.is_doubted());
        clock.read(at(9000), false);
        assert!(!clock.is_doubted());
    }
}
