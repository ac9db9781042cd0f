//! The verdict on a service's current version, and where to go back to.
//!
//!     Deploying ─► Completed ─► Updating ─┬─ all good ────► Completed
//!                   (a new version)       ├─ it fails ────► Paused          (deploy again: Updating)
//!                                         └─ it fails ────► RollingBack ─┬► RolledBack
//!                                                                        └► RollbackPaused
//!
//! How many containers are on the way is not kept here: it is read off the tasks, so that another
//! leader goes on where the last one stopped. The words on the wire are Swarm's.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::service::{FailureAction, Service, ServiceMode, ServiceSpec, UpdateConfig};
use super::time::Timestamp;

/// How far the containers of a service have come to its current version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    pub phase: RolloutPhase,
    /// Why it is paused, rolled back, or not wholly completed; for people.
    pub reason: String,
    /// When the phase's way began: with the deployment, its resumption, or the rollback.
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The version to go back to: the last one that was completed before the current one. Its spec
    /// is among the service's versions.
    pub previous: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// The first version comes up: there is nothing to hold back and nothing to go back to.
    Deploying,
    Updating,
    /// Containers of the version before are left alone until a person deploys again.
    Paused,
    #[default]
    Completed,
    #[serde(rename = "rollback_started")]
    RollingBack,
    /// The rollback failed as well; it is not tried again.
    #[serde(rename = "rollback_paused")]
    RollbackPaused,
    #[serde(rename = "rollback_completed")]
    RolledBack,
}

impl Rollout {
    /// The first version of a service.
    pub fn first(now: Timestamp) -> Self {
        Self {
            phase: RolloutPhase::Deploying,
            started_at: now,
            ..Self::default()
        }
    }

    /// Whether nothing of the version before is touched any more, although it is not finished.
    pub fn is_paused(&self) -> bool {
        matches!(
            self.phase,
            RolloutPhase::Paused | RolloutPhase::RollbackPaused
        )
    }

    /// Whether all that there is runs as it should.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.phase,
            RolloutPhase::Completed | RolloutPhase::RolledBack
        )
    }

    fn enter(&mut self, phase: RolloutPhase, reason: String, now: Timestamp) {
        self.phase = phase;
        self.reason = reason;
        self.started_at = now;
        self.ended_at = None;
    }

    /// Writes the end of the way down.
    pub fn end(&mut self, phase: RolloutPhase, reason: String, now: Timestamp) {
        self.phase = phase;
        self.reason = reason;
        self.ended_at = Some(now);
    }
}

impl Service {
    /// Goes up to a version that was never used. The spec is changed by the caller.
    ///
    /// A version that was not completed is no place to go back to: the one before it stays that.
    pub fn begin_version(&mut self, now: Timestamp) {
        if self.rollout.is_finished() {
            self.rollout.previous = Some(self.version);
        }
        let last = self.versions.keys().next_back().copied().unwrap_or(0);
        self.version = self.version.max(last) + 1;
        if self.is_job() {
            // A job begins anew with each version: nothing is moved over.
            self.rollout
                .end(RolloutPhase::Completed, String::new(), now);
            return;
        }
        self.rollout
            .enter(RolloutPhase::Updating, String::new(), now);
    }

    /// A person wants what there is: a paused update goes on, a rollback is taken note of.
    pub fn resume(&mut self, now: Timestamp) {
        match self.rollout.phase {
            RolloutPhase::Paused | RolloutPhase::RollbackPaused => {
                self.rollout
                    .enter(RolloutPhase::Updating, String::new(), now);
            }
            RolloutPhase::RolledBack => {
                self.rollout.phase = RolloutPhase::Completed;
                self.rollout.reason.clear();
            }
            RolloutPhase::Deploying
            | RolloutPhase::Updating
            | RolloutPhase::Completed
            | RolloutPhase::RollingBack => {}
        }
    }

    /// The service on its way back to the version before; `None` if there is none.
    ///
    /// The old version keeps its number, so that containers which still run it stay untouched. How
    /// to update and how to roll back is said by the newer spec: that is policy, not content.
    #[must_use]
    pub fn rolled_back(&self, reason: String, now: Timestamp) -> Option<Self> {
        let previous = self.rollout.previous?;
        let mut spec = ServiceSpec::clone(self.versions.get(&previous)?);
        spec.update = self.spec.update.clone();
        spec.rollback = self.spec.rollback.clone();
        let spec = Arc::new(spec);
        let mut service = self.clone();
        // Back from a version that was good there is a way forward again.
        let good = self.rollout.is_finished();
        service.rollout.previous = good.then_some(self.version);
        service
            .rollout
            .enter(RolloutPhase::RollingBack, reason, now);
        service.version = previous;
        service.versions.insert(previous, spec.clone());
        service.spec = spec;
        service.updated_at = now;
        Some(service)
    }

    /// A scale is a wish of its own: going back to the version before keeps it.
    pub fn keep_scale(&mut self) {
        let ServiceMode::Replicated { .. } = self.spec.mode else {
            return;
        };
        let mode = self.spec.mode;
        let previous = self.rollout.previous.filter(|it| *it != self.version);
        if let Some(spec) = previous.and_then(|it| self.versions.get_mut(&it))
            && spec.mode != mode
        {
            Arc::make_mut(spec).mode = mode;
        }
    }

    /// How containers are replaced at present. A rollback without a configuration of its own goes
    /// as the update does, without delay.
    pub fn update_config(&self) -> UpdateConfig {
        let (update, rollback) = (&self.spec.update, &self.spec.rollback);
        let goes_back = matches!(
            self.rollout.phase,
            RolloutPhase::RollingBack | RolloutPhase::RollbackPaused
        );
        if !goes_back {
            return update.clone();
        }
        if !rollback.is_composes() {
            return rollback.clone();
        }
        UpdateConfig {
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            ..update.clone()
        }
    }
}

impl UpdateConfig {
    /// Nobody has asked for anything but what Compose does.
    pub fn is_composes(&self) -> bool {
        *self == Self::default()
    }
}
