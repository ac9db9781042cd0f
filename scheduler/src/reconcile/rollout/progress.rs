//! How far an update is, in numbers, for people.

use super::slots::{self, Pace, Standing};
use crate::model::rollout::RolloutPhase;
use crate::model::service::Service;
use crate::model::task::TaskState;
use crate::model::time::Timestamp;
use crate::reconcile::slot;
use crate::state::State;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Slots in which the current version serves, and no other.
    pub updated: u32,
    pub total: u32,
    /// When the next slot may be begun, if only time is waited for.
    pub next_at: Option<Timestamp>,
    /// What the first slot that is under way waits for, while it has no place on a node.
    pub waits_for: Option<String>,
}

/// How far the containers of a service have come to its current version.
pub fn progress(state: &State, service: &Service) -> Progress {
    let slots = slots::of(state, service, Pace::Going);
    let delay = service.update_config().delay;
    let mut progress = Progress {
        total: u32::try_from(slot::active(state, service).len()).unwrap_or(u32::MAX),
        ..Progress::default()
    };
    let (mut waiting, mut busy, mut next) = (false, false, None);
    for slot in &slots {
        match slots::standing(state, service, slot, state.at) {
            Standing::NotBegun => waiting = true,
            Standing::Failed(_) => {}
            Standing::UnderWay { .. } => {
                busy = true;
                let unplaced = slot.new.as_ref();
                let unplaced = unplaced.filter(|it| it.status.state == TaskState::Pending);
                if let Some(new) = unplaced.filter(|_| progress.waits_for.is_none()) {
                    progress.waits_for = Some(format!("{}: {}", new.name, new.status.reason));
                }
            }
            Standing::Proving { until: at } | Standing::Good { since: at } => {
                progress.updated += 1;
                next = next.max(Some(at.plus(delay)));
            }
        }
    }
    let waits = waiting && !busy && service.rollout.phase != RolloutPhase::Paused;
    progress.next_at = next.filter(|at| waits && *at > state.at);
    progress
}
