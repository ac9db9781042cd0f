//! Which manager a node asks next: the leader is one of them, and says so itself.
//!
//!     a hint (from a manager that knows) ─► the others in turn, each 150 ms ─► a pause ─► again
//!
//! Several may be asked at once, so that one whose packets are lost costs no time: after an
//! election everybody is back within a second and a half. Pauses differ from node to node, so that
//! a thousand nodes do not ask in the same moment.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::peer::PeerAddress;

/// Between two that are asked one after the other.
const STAGGER: Duration = Duration::from_millis(150);
/// Before everybody is asked once more; it doubles up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(150);
const LONGEST_PAUSE: Duration = Duration::from_millis(600);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this one, and look again after the time.
    Ask(PeerAddress, Duration),
    /// Look again after the time.
    Pause(Duration),
}

/// The managers that are known, and those that are still to be asked in this round.
#[derive(Debug, Default)]
pub struct Search {
    managers: Vec<PeerAddress>,
    round: VecDeque<PeerAddress>,
    /// Since the last pause.
    asked: BTreeSet<PeerAddress>,
    pause: Option<Duration>,
}

impl Search {
    pub fn new(managers: Vec<PeerAddress>) -> Self {
        let mut search = Self::default();
        search.know(managers);
        search.begin();
        search
    }

    /// The managers are these now. An empty list is no news: somebody must be asked.
    pub fn know(&mut self, managers: Vec<PeerAddress>) {
        if !managers.is_empty() {
            self.managers = managers;
        }
    }

    pub fn managers(&self) -> &[PeerAddress] {
        &self.managers
    }

    /// A session has ended: everybody may be asked at once.
    pub fn begin(&mut self) {
        self.round = self.managers.iter().cloned().collect();
        self.asked.clear();
        self.pause = None;
    }

    /// Somebody says that this one leads. Returns whether it is asked next: two that name each
    /// other are asked no more often than all others.
    pub fn hint(&mut self, leader: PeerAddress) -> bool {
        if self.asked.contains(&leader) {
            return false;
        }
        self.round.retain(|other| *other != leader);
        self.round.push_front(leader);
        true
    }

    /// `chance` is between 0 and 1.
    pub fn next(&mut self, chance: f64) -> Next {
        if let Some(next) = self.round.pop_front() {
            self.asked.insert(next.clone());
            return Next::Ask(next, STAGGER);
        }
        self.asked.clear();
        self.round = self.managers.iter().cloned().collect();
        if let Some(middle) = self.round.len().checked_sub(1) {
            // Not always the same one first.
            let turn = (chance * (middle + 1) as f64) as usize;
            self.round.rotate_left(turn.min(middle));
        }
        let pause = self.pause.unwrap_or(SHORTEST_PAUSE);
        self.pause = Some(pause.saturating_mul(2).min(LONGEST_PAUSE));
        Next::Pause(pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests;
