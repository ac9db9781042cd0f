//! Going: a node out of its cluster, and a manager on without the others.

use std::sync::Arc;

use scheduler::control_plane::command::{Command, Force};
use scheduler::control_plane::{Refusal, Reply};
use scheduler::model::node::Role;
use tracing::warn;

use super::enrol::{LeaveQuestion, ask_managers};
use super::transition::Transition;
use super::{ClusterError, Membership};
use crate::manager::ManagerHandle;
use crate::peer::{Denied, PeerError};

impl Membership {
    /// The cluster forgets this node, and this node the cluster with everything it ran in it;
    /// volumes keep their data. The process starts again afterwards.
    ///
    /// With [`Force::Yes`] it goes also when nobody can be told, and when it is a manager.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError`]; the node is in the cluster as before then.
    pub async fn leave(
        &self,
        manager: Option<&ManagerHandle>,
        force: Force,
    ) -> Result<(), ClusterError> {
        let _port = self.port.lock().await;
        let role = self.role().ok_or(ClusterError::NoMember)?;
        let told = match (role, manager) {
            (Role::Manager, Some(manager)) => self.tell_group(manager, force).await,
            _ => self.tell_managers(force).await.map(|()| Transition::Left),
        };
        let become_ = match told {
            Ok(become_) => become_,
            Err(error) if force == Force::Yes && is_unheard(&error) => {
                warn!(%error, "the cluster could not be told; it still lists this node");
                Transition::Left
            }
            Err(error) => return Err(error),
        };
        become_.begin(&self.root)?;
        self.again.cancel();
        Ok(())
    }

    async fn tell_group(
        &self,
        manager: &ManagerHandle,
        force: Force,
    ) -> Result<Transition, ClusterError> {
        let node = self.node.clone();
        let answer = manager.command(Command::LeaveCluster { node, force }).await;
        match answer {
            Ok(answer) if matches!(answer.reply, Reply::NodeRemoved { .. }) => Ok(Transition::Left),
            // The last one: what it runs is its own again.
            Ok(_) => Ok(Transition::Alone),
            Err(Refusal::NotLeader { .. }) => {
                self.tell_managers(force).await.map(|()| Transition::Left)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The cluster closes its connections with a node as soon as it has removed it, and the answer
    /// may be lost with them: then the next one says so.
    async fn tell_managers(&self, force: Force) -> Result<(), ClusterError> {
        let mut told = Ok(());
        for _ in 0..2 {
            told = ask_managers(self, "/peer/leave", &LeaveQuestion { force }).await;
            match &told {
                Err(error) if is_removed(error) => return Ok(()),
                Err(ClusterError::NobodyAnswers { .. }) => {}
                Ok(()) | Err(_) => break,
            }
        }
        told
    }

    /// Goes on alone with what this manager knows, when the majority is gone for good.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError`] when this is no manager of a cluster, or it cannot be written down.
    pub fn recover(&self) -> Result<(), ClusterError> {
        match self.role() {
            Some(Role::Manager) => {
                Transition::Recovered.begin(&self.root)?;
                self.again.cancel();
                Ok(())
            }
            Some(Role::Worker) => Err(self.ask_a_manager()),
            None => Err(ClusterError::NoMember),
        }
    }

    /// Who can answer what a worker cannot.
    pub fn ask_a_manager(&self) -> ClusterError {
        ClusterError::Worker {
            managers: self.managers().into_iter().map(|it| it.address).collect(),
        }
    }
}

/// The cluster has forgotten this node already.
fn is_removed(error: &ClusterError) -> bool {
    match error {
        ClusterError::Peer(PeerError::Refused { message, .. }) => {
            *message == Denied::Removed.to_string()
        }
        _ => false,
    }
}

/// Nobody has said no.
fn is_unheard(error: &ClusterError) -> bool {
    match error {
        ClusterError::NobodyAnswers { .. } => true,
        ClusterError::Refused(refusal) => matches!(
            refusal,
            Refusal::NoMajority
                | Refusal::NotLeader { .. }
                | Refusal::Stopped { .. }
                | Refusal::UnknownNode { .. }
        ),
        // A node that was removed already is told so.
        ClusterError::Peer(PeerError::Refused { status, .. }) => *status == 403,
        ClusterError::Peer(_) => true,
        _ => false,
    }
}

/// For tasks that outlive what started them.
pub(super) type Shared = Arc<Membership>;
