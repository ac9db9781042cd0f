//! When the authorities before the cluster's own are no longer believed.
//!
//! A node says whose certificate it has. Once every node that is not down has one of the new
//! authority, nobody needs the old ones: what they signed opens nothing any more. A node that was
//! down all the while is known by its key when it comes back.

use std::sync::Arc;

use crate::model::cluster::Authority;
use crate::model::node::{Node, NodeStatus};
use crate::state::{Change, Draft, State};

pub(super) fn pass(draft: &mut Draft<'_>) {
    let Some(cluster) = &draft.state().cluster else {
        return;
    };
    let authority = &cluster.certificate_authority;
    if authority.retiring.is_empty() || !all_follow(draft.state(), authority) {
        return;
    }
    let mut cluster = (**cluster).clone();
    cluster.certificate_authority.retiring.clear();
    draft.push(Change::SetCluster(Arc::new(cluster)));
}

fn all_follow(state: &State, authority: &Authority) -> bool {
    let follows = |node: &Arc<Node>| {
        node.status == NodeStatus::Down || node.description.authority == authority.id
    };
    state.nodes.values().all(follows)
}
