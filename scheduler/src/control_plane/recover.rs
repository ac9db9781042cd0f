//! One manager goes on alone when the majority is gone for good.
//!
//! It keeps everything it knows: what the log contains was at least proposed, and may have been
//! agreed on. The epoch goes up, so that nodes obey the new group and no longer the members that
//! were left behind; those must join again.

use std::sync::Arc;

use thiserror::Error;

use crate::model::id::NodeId;
use crate::model::node::{Node, NodeStatus, Role};
use crate::model::time::Timestamp;
use crate::raft::{self, EntryKind, Members, Position, Restored, Vote};
use crate::state::{Batch, State};

/// Why nothing is recovered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecoverError {
    #[error("this host is no cluster: there is nothing to recover")]
    NoCluster,
    #[error("node `{node}` is not in the cluster's state")]
    Stranger { node: NodeId },
}

/// Makes a group of one out of what a manager has on disk.
///
/// # Errors
///
/// Returns [`RecoverError`] when there is no cluster, or the node is no part of it.
pub fn recover(
    node: &NodeId,
    restored: Restored,
    state: State,
    now: Timestamp,
) -> Result<(Restored, State), RecoverError> {
    let last = restored.entries.last();
    let (index, term) = last.map_or((restored.snapshot.index, restored.snapshot.term), |entry| {
        (entry.index, entry.term)
    });
    let mut state = state.indexed();
    for entry in &restored.entries {
        if entry.kind == EntryKind::Batch
            && let Ok(batch) = serde_json::from_slice::<Batch>(&entry.data)
        {
            // One that was decided on another state was nothing before, too.
            let _ = state.apply(&batch);
        }
    }
    let Some(cluster) = &mut state.cluster else {
        return Err(RecoverError::NoCluster);
    };
    std::sync::Arc::make_mut(cluster).epoch += 1;
    leave_behind(&mut state, node, now)?;
    state.version += 1;
    let vote = Vote {
        term: restored.vote.term.max(term),
        candidate: 0,
        commit: index,
    };
    let snapshot = Position {
        index,
        term,
        members: Members::alone(raft::number_of(node)),
    };
    let restored = Restored {
        vote,
        snapshot,
        entries: Vec::new(),
    };
    Ok((restored, state))
}

/// The other managers take no part any more, and nobody waits for them.
fn leave_behind(state: &mut State, node: &NodeId, now: Timestamp) -> Result<(), RecoverError> {
    if !state.nodes.contains_key(node) {
        let node = node.clone();
        return Err(RecoverError::Stranger { node });
    }
    let left_behind = |row: Arc<Node>| {
        let mut row = Arc::unwrap_or_clone(row);
        if row.id == *node {
            row.role = Role::Manager;
        } else if row.role == Role::Manager {
            row.role = Role::Worker;
            row.status = NodeStatus::Down;
            row.status_reason = "left behind when the cluster was recovered".to_owned();
            row.status_since = now;
        }
        (row.id.clone(), Arc::new(row))
    };
    state.nodes = state.nodes.values().cloned().map(left_behind).collect();
    Ok(())
}

#[cfg(test)]
mod tests;
