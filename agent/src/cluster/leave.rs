//! Going: a node out of its cluster, and a manager on without the others.
//!
//!     manager ──asks──► demoted ──asks again, until its vote no longer counts──► gone
//!     worker ──asks──────────────────────────────────────────────────────────────► gone

use std::sync::Arc;
use std::time::Duration;

use scheduler::control_plane::command::{Command, Force};
use scheduler::control_plane::{Refusal, Reply};
use scheduler::model::node::Role;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::enrol::{LeaveQuestion, ask_managers};
use super::transition::Transition;
use super::{ClusterError, Membership};
use crate::manager::ManagerHandle;
use crate::peer::{Denied, PeerError};

/// The others agree within seconds that a vote no longer counts, also when another one must lead
/// before.
const LET_GO: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How far a node that wants to go has come; what `/peer/leave` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leaving {
    Gone,
    /// Its vote counts until the others have agreed that it does not.
    Demoted,
    /// The last one: what it runs is its own again.
    Alone,
}

impl From<Reply> for Leaving {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::NodeRemoved { .. } => Self::Gone,
            Reply::NodeDemoted => Self::Demoted,
            Reply::Deployed { .. }
            | Reply::ContainerCreated { .. }
            | Reply::NetworkCreated { .. }
            | Reply::Done => Self::Alone,
        }
    }
}

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
            _ => self.tell_managers(force).await,
        };
        let told = match told {
            Ok(Leaving::Demoted) => self.is_let_go(force).await,
            told => told,
        };
        let become_ = match told {
            Ok(Leaving::Alone) => Transition::Alone,
            Ok(Leaving::Gone | Leaving::Demoted) => Transition::Left,
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
    ) -> Result<Leaving, ClusterError> {
        let node = self.node.clone();
        match manager.command(Command::LeaveCluster { node, force }).await {
            Ok(answer) => Ok(answer.reply.into()),
            Err(Refusal::NotLeader { .. }) => self.tell_managers(force).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Asks until the others have agreed that this node's vote no longer counts. Meanwhile another
    /// one may have to lead, and nobody can say.
    async fn is_let_go(&self, force: Force) -> Result<Leaving, ClusterError> {
        let deadline = Instant::now() + LET_GO;
        loop {
            sleep(ASK_AGAIN).await;
            let told = self.tell_managers(force).await;
            let is_late = Instant::now() >= deadline;
            match told {
                Ok(Leaving::Demoted) if is_late => return Err(ClusterError::StillVotes),
                Ok(Leaving::Demoted) => {}
                Err(error) if !is_late && is_unheard(&error) => {}
                told => return told,
            }
        }
    }

    /// The cluster closes its connections with a node as soon as it has removed it, and the answer
    /// may be lost with them: then the next one says so.
    async fn tell_managers(&self, force: Force) -> Result<Leaving, ClusterError> {
        let question = LeaveQuestion { force };
        let mut told = ask_managers(self, "/peer/leave", &question).await;
        if matches!(told, Err(ClusterError::NobodyAnswers { .. })) {
            told = ask_managers(self, "/peer/leave", &question).await;
        }
        match told {
            Err(error) if is_removed(&error) => Ok(Leaving::Gone),
            told => told,
        }
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
