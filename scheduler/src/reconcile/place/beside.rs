//! Containers that share a namespace or volumes with another one: they belong on its node.
//!
//!     web (network_mode: service:db)  ──►  wherever the container of db is, by slot
//!
//! Which container it is, is said by [`companions`]: the same that its node will join it to.

use super::objection::Unplaceable;
use crate::assignment::build::companions;
use crate::model::id::NodeId;
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::Task;
use crate::state::State;

/// Where it has to be, and beside whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) node: NodeId,
    /// Name of the other container.
    pub(super) container: String,
}

/// The node of those whose namespaces or volumes it shares. `None`: it shares nothing, or they have
/// no node yet.
///
/// # Errors
///
/// Returns [`Unplaceable::Apart`] when they are on different nodes.
pub(super) fn home(
    state: &State,
    service: &Service,
    spec: &ServiceSpec,
    task: &Task,
) -> Result<Option<Home>, Unplaceable> {
    if !spec.container.shares_with_others() {
        return Ok(None);
    }
    let mut found: Option<Home> = None;
    for id in companions(state, service, &spec.container, task).values() {
        let Some(other) = state.container(id) else {
            continue;
        };
        let Some(node) = other.node.clone() else {
            continue;
        };
        match &found {
            Some(first) if first.node != node => {
                return Err(Unplaceable::Apart {
                    one: first.container.clone(),
                    other: other.name.clone(),
                });
            }
            Some(_) => {}
            None => {
                found = Some(Home {
                    node,
                    container: other.name.clone(),
                });
            }
        }
    }
    Ok(found)
}
