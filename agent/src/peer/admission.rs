//! Whether a node with a good certificate is let in, and as what. Pure, but for where the facts
//! come from.

use std::net::SocketAddr;
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::control_plane::Standing;
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;
use scheduler::raft::{Members, number_of};
use scheduler::state::State;
use thiserror::Error;
use tokio::sync::watch;

use super::Rank;
use crate::identity::Facts;

/// Why a node with a good certificate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("this node was removed from the cluster")]
    Removed,
    #[error("another node with this id is in the cluster: it has another key")]
    OtherKey,
}

/// What this node knows of the others.
#[derive(Clone, Debug)]
pub enum Admission {
    /// A manager has the cluster's state, and knows who takes part in the group.
    Manager {
        states: watch::Receiver<Arc<State>>,
        standing: watch::Receiver<Arc<Standing>>,
    },
    /// A worker knows who the managers are.
    Worker(watch::Receiver<Arc<Assignment>>),
}

impl Admission {
    /// As what the node with this certificate is let in.
    pub(super) fn admit(&self, claimed: &Facts) -> Result<Rank, Denied> {
        match self {
            Self::Manager { states, standing } => {
                let members = &standing.borrow().members;
                at_manager(&states.borrow(), members, claimed)
            }
            Self::Worker(assignment) => Ok(at_worker(&assignment.borrow().managers, claimed)),
        }
    }

    /// Returns when there may be another answer. Never, when nothing can change any more.
    pub(super) async fn changed(&mut self) {
        let changed = match self {
            Self::Manager { states, standing } => tokio::select! {
                changed = states.changed() => changed.is_ok(),
                changed = standing.changed() => changed.is_ok(),
            },
            Self::Worker(assignment) => assignment.changed().await.is_ok(),
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

/// A node that the state does not know *yet* is believed: this manager may be the one that is
/// behind, and without hearing the others it would never catch up. One that was demoted is heard in
/// the group until that has let it go: its vote may be needed for exactly this.
fn at_manager(state: &State, members: &Members, claimed: &Facts) -> Result<Rank, Denied> {
    if state.removed_nodes.contains(&claimed.node) {
        return Err(Denied::Removed);
    }
    let Some(row) = state.nodes.get(&claimed.node) else {
        return Ok(claimed.role.into());
    };
    if !row.public_key.is_empty() && row.public_key != claimed.public_key {
        return Err(Denied::OtherKey);
    }
    match (claimed.role, row.role) {
        (Role::Manager, Role::Worker) if members.contains(number_of(&claimed.node)) => {
            Ok(Rank::Voter)
        }
        (claimed, wanted) => Ok(claimed.min(wanted).into()),
    }
}

/// Until it was told who they are, a worker believes whoever has a manager's certificate.
fn at_worker(managers: &[(NodeId, SocketAddr)], claimed: &Facts) -> Rank {
    let known = managers.is_empty() || managers.iter().any(|(id, _)| *id == claimed.node);
    if known {
        claimed.role.into()
    } else {
        Rank::Worker
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use scheduler::state::{Batch, Change};

    use super::*;

    fn claims(node: &str, role: Role) -> Facts {
        Facts {
            node: NodeId::new(node),
            role,
            cluster: "c".into(),
            public_key: format!("key of {node}"),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
        }
    }

    fn state(rows: &[(&str, &str)], removed: &[&str]) -> State {
        let row = |(id, role): &(&str, &str)| {
            let row = serde_json::json!({
                "id": id, "role": role, "description": {}, "labels": {}, "availability": "active",
                "status": "ready", "public_key": format!("key of {id}"),
            });
            Change::SetNode(Arc::new(serde_json::from_value(row).unwrap()))
        };
        let removed = removed
            .iter()
            .map(|id| Change::RemoveNode(NodeId::new(*id)));
        let mut state = State::default();
        let batch = Batch {
            changes: rows.iter().map(row).chain(removed).collect(),
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
        state
    }

    fn members(voters: &[&str]) -> Members {
        Members {
            voters: voters
                .iter()
                .map(|id| number_of(&NodeId::new(*id)))
                .collect(),
            ..Members::default()
        }
    }

    #[test]
    fn the_lower_of_certificate_and_state_counts() {
        use Role::{Manager, Worker};
        let check = |wanted: &str, claimed: Role, voters: &[&str], expected: Rank| {
            let state = state(&[("n1", wanted)], &[]);
            let admitted = at_manager(&state, &members(voters), &claims("n1", claimed));
            assert_eq!(admitted, Ok(expected), "{wanted} with {claimed}");
        };
        check("manager", Manager, &["n1"], Rank::Manager);
        check("manager", Worker, &["n1"], Rank::Worker);
        check("worker", Manager, &["n2"], Rank::Worker);
        check("worker", Worker, &["n2"], Rank::Worker);
        // Demoted, and the group has not let it go yet.
        check("worker", Manager, &["n1", "n2"], Rank::Voter);
        check("worker", Worker, &["n1", "n2"], Rank::Worker);
    }

    #[test]
    fn who_was_removed_or_stole_a_name_is_refused_and_who_is_not_known_yet_is_not() {
        let state = state(&[("n1", "manager")], &["n2"]);
        let admit = |facts: &Facts| at_manager(&state, &members(&["n2"]), facts);
        assert_eq!(admit(&claims("n2", Role::Worker)), Err(Denied::Removed));
        let thief = Facts {
            public_key: "another".into(),
            ..claims("n1", Role::Manager)
        };
        assert_eq!(admit(&thief), Err(Denied::OtherKey));
        assert_eq!(admit(&claims("n3", Role::Manager)), Ok(Rank::Manager));
    }

    #[test]
    fn a_worker_believes_the_managers_that_it_was_told_of() {
        let managers = [(NodeId::new("n1"), SocketAddr::from(([10, 0, 0, 1], 2377)))];
        let check = |managers: &[(NodeId, SocketAddr)], node, expected| {
            assert_eq!(at_worker(managers, &claims(node, Role::Manager)), expected);
        };
        check(&managers, "n1", Rank::Manager);
        check(&managers, "n2", Rank::Worker);
        check(&[], "n2", Rank::Manager);
    }
}
