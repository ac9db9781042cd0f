//! What is said of an update: how far it is, or how it ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::rollout::RolloutPhase;
use crate::model::service::Service;
use crate::model::time::Timestamp;
use crate::reconcile::rollout::progress;
use crate::state::State;

/// An update of a service, under way or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    pub phase: RolloutPhase,
    /// Why it is paused, going back, or not wholly completed; empty when nothing is wrong.
    pub reason: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Containers of the current version that serve.
    pub updated: u32,
    pub total: u32,
    /// For people: `2 of 5 updated, next in 10s`, `paused: …`, `rolled back: …`.
    pub text: String,
}

/// `None` for what has never been updated, and for an update of the kind that Compose makes as long
/// as it is under way: that is told container by container.
pub(super) fn of(state: &State, service: &Service) -> Option<RolloutStatus> {
    let rollout = &service.rollout;
    let under_way = matches!(
        rollout.phase,
        RolloutPhase::Updating | RolloutPhase::RollingBack
    );
    let silent = match rollout.phase {
        RolloutPhase::Deploying => true,
        RolloutPhase::Updating => service.update_config().is_composes(),
        RolloutPhase::Completed => rollout.reason.is_empty(),
        RolloutPhase::Paused
        | RolloutPhase::RollingBack
        | RolloutPhase::RollbackPaused
        | RolloutPhase::RolledBack => false,
    };
    if silent {
        return None;
    }
    let progress = progress(state, service);
    let (updated, total) = (progress.updated, progress.total);
    let reason = rollout.reason.as_str();
    let mut text = match rollout.phase {
        RolloutPhase::Deploying | RolloutPhase::Updating => format!("{updated} of {total} updated"),
        RolloutPhase::Completed => format!("updated, but {reason}"),
        RolloutPhase::Paused => format!("paused: {reason}"),
        RolloutPhase::RollingBack => format!("going back, {updated} of {total} done: {reason}"),
        RolloutPhase::RollbackPaused => format!("rollback paused: {reason}"),
        RolloutPhase::RolledBack => format!("rolled back: {reason}"),
    };
    if under_way {
        if let Some(at) = progress.next_at {
            text += &format!(", next in {}", seconds(at.since(state.at)));
        }
        if let Some(waits_for) = progress.waits_for {
            text += &format!(" ({waits_for})");
        }
    }
    Some(RolloutStatus {
        phase: rollout.phase,
        reason: rollout.reason.clone(),
        started_at: rollout.started_at,
        ended_at: rollout.ended_at,
        updated,
        total,
        text,
    })
}

/// Rounded up: what is due in a moment is not due now.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_millis().div_ceil(1000);
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
