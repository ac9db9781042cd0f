//! What has become of an update: the only part of a rollout that is written down.
//!
//!     all slots good ─────────────────────────► Completed │ RolledBack
//!     more failed than may, `pause` ──────────► Paused │ RollbackPaused
//!     more failed than may, `rollback` ───────► RollingBack, once; then paused
//!     fewer failed than may, or `continue` ───► Completed, saying what failed
//!
//! A service without `update_config` does what Compose does: everything at once. What fails there
//! may come up by itself (`restart: always`), and is judged at once only while an old container
//! still serves; else when it has failed again and again, or its time is up.

use super::slots::{Blame, Failure, Hope, Slot, Standing, standing};
use crate::model::rollout::RolloutPhase;
use crate::model::service::{FailureAction, Service};
use crate::model::time::Timestamp;
use crate::reconcile::slot;
use crate::state::State;

pub(super) enum Verdict {
    /// Not yet; time alone may change that.
    Open {
        again_at: Option<Timestamp>,
    },
    /// What has failed although it may is told in the reason.
    Good {
        reason: String,
    },
    Failed {
        reason: String,
        blame: Blame,
    },
}

pub(super) fn of(state: &State, service: &Service, slots: &[Slot], now: Timestamp) -> Verdict {
    let mut tally = Tally::default();
    for slot in slots {
        tally.add(standing(state, service, slot, now));
    }
    let active = slot::active(state, service);
    let stopped = active.is_empty() && !service.halted.is_empty();
    let missing = active.len() > slots.len();
    if let Some(failure) = tally.too_many(service, slots) {
        return failure;
    }
    if stopped || missing || tally.open > 0 {
        return Verdict::Open {
            again_at: tally.again_at.filter(|at| *at > now),
        };
    }
    let Some(first) = tally.failures.first() else {
        let reason = String::new();
        return Verdict::Good { reason };
    };
    let hopeful = tally.failures.iter().any(|it| it.hope != Hope::None);
    if service.rollout.phase != RolloutPhase::Updating
        && service.rollout.phase != RolloutPhase::RollingBack
        || hopeful && service.update_config().is_composes()
    {
        return Verdict::Open {
            again_at: tally.again_at.filter(|at| *at > now),
        };
    }
    let (failed, all) = (tally.failures.len(), slots.len());
    let reason = format!("{failed} of {all} containers failed: {}", first.reason);
    Verdict::Good { reason }
}

#[derive(Default)]
struct Tally {
    failures: Vec<Failure>,
    /// Slots that are not begun, under way, or still to prove themselves.
    open: usize,
    again_at: Option<Timestamp>,
}

impl Tally {
    fn add(&mut self, standing: Standing) {
        match standing {
            Standing::Good { .. } => {}
            Standing::NotBegun => self.open += 1,
            Standing::UnderWay { until } => {
                self.open += 1;
                self.wake(until);
            }
            Standing::Proving { until } => {
                self.open += 1;
                self.wake(Some(until));
            }
            Standing::Failed(failure) => {
                if let Hope::Until(until) = failure.hope {
                    self.wake(Some(until));
                }
                self.failures.push(failure);
            }
        }
    }

    fn wake(&mut self, at: Option<Timestamp>) {
        self.again_at = [self.again_at, at].into_iter().flatten().min();
    }

    /// The verdict when more slots have failed than may.
    fn too_many(&self, service: &Service, slots: &[Slot]) -> Option<Verdict> {
        let on_its_way = matches!(
            service.rollout.phase,
            RolloutPhase::Updating | RolloutPhase::RollingBack
        );
        let config = service.update_config();
        if !on_its_way || config.failure_action == FailureAction::Continue {
            return None;
        }
        let something_left = slots.iter().any(|slot| {
            let mut old = slot.old.iter();
            slot.new.is_none() || old.any(|task| task.version != service.version)
        });
        let lenient = config.is_composes() && !something_left;
        let counts = |it: &&Failure| !lenient || it.hope == Hope::None;
        let counted: Vec<&Failure> = self.failures.iter().filter(counts).collect();
        let first = counted.first()?;
        let ratio = counted.len() as f64 / slots.len().max(1) as f64;
        if ratio <= config.max_failure_ratio {
            return None;
        }
        Some(Verdict::Failed {
            reason: first.reason.clone(),
            blame: first.blame,
        })
    }
}

/// The service's row with the verdict; `None` if it is the one that it has.
pub(super) fn write(service: &Service, verdict: Verdict, now: Timestamp) -> Option<Service> {
    let mut changed = service.clone();
    match (verdict, service.rollout.phase) {
        (Verdict::Open { .. }, _) => return None,
        (Verdict::Good { reason }, RolloutPhase::RollingBack | RolloutPhase::RollbackPaused) => {
            // Why it was rolled back is what people want to know, unless that went wrong too.
            let why = match reason.as_str() {
                "" => service.rollout.reason.clone(),
                failed => format!("{} ({failed})", service.rollout.reason),
            };
            changed.rollout.end(RolloutPhase::RolledBack, why, now);
        }
        (Verdict::Good { reason }, _) => {
            changed.rollout.end(RolloutPhase::Completed, reason, now);
        }
        (Verdict::Failed { reason, .. }, RolloutPhase::RollingBack) => {
            let reason = format!(
                "{reason} (while going back, because {})",
                service.rollout.reason
            );
            changed
                .rollout
                .end(RolloutPhase::RollbackPaused, reason, now);
        }
        (Verdict::Failed { reason, blame }, _) => {
            let wanted = service.spec.update.failure_action == FailureAction::Rollback;
            if wanted && blame == Blame::Version {
                let back = service.rolled_back(reason.clone(), now);
                if back.is_some() {
                    return back;
                }
            }
            let reason = match (wanted, blame) {
                (false, _) => reason,
                (true, Blame::Nodes) => format!("{reason}; the version before would do no better"),
                (true, Blame::Version) => {
                    format!("{reason}; there is no completed version to go back to")
                }
            };
            changed.rollout.end(RolloutPhase::Paused, reason, now);
        }
    }
    Some(changed)
}
