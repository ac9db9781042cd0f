//! Which node a request must go to: that of the container, unless the state can answer.

use std::sync::Arc;

use scheduler::model::id::{ContainerId, NodeId};
use scheduler::model::node::{Node, NodeStatus, Role};
use scheduler::state::State;

use super::RelayError;
use crate::api::call::{Call, Origin};
use crate::api::docker::exec::id;
use crate::api::docker::lookup::{self, Found};
use crate::api::error::EngineError;
use crate::api::{Context, time};
use crate::container::spec::parse_signal;
use crate::peer::{PeerAddress, PeerError};

/// Where the host of a container is.
#[derive(Clone, Debug)]
pub(in crate::api) struct Place {
    pub(super) node: Arc<Node>,
    pub(super) peer: PeerAddress,
    /// As people know it.
    pub(super) container: String,
}

impl Place {
    pub(super) fn silent(&self, source: PeerError) -> RelayError {
        RelayError::Silent {
            node: self.node.description.hostname.clone(),
            container: self.container.clone(),
            source: Box::new(source),
        }
    }
}

/// Where a request below `/containers/` must go, if it cannot be answered here.
///
/// # Errors
///
/// Returns [`RelayError`] when that node is down.
pub(in crate::api) fn of_container(
    context: &Context,
    call: &Call,
    id: &str,
    deed: &str,
) -> Result<Option<(Place, ContainerId)>, EngineError> {
    if !needs_host(call, deed) {
        return Ok(None);
    }
    let state = context.state();
    // Who does not find it says so in the words that belong to the deed.
    let Ok(found) = lookup::container(&state, id) else {
        return Ok(None);
    };
    let Some(place) = elsewhere(context, &state, &found)? else {
        return Ok(None);
    };
    match call.origin() {
        Origin::Socket => Ok(Some((place, found.id))),
        // It was here when the manager looked.
        Origin::Manager => Err(EngineError::NoSuchContainer(id.to_owned())),
    }
}

/// Where a request below `/exec/` must go: the program's id names its node.
///
/// # Errors
///
/// Returns [`RelayError`] when that node is down.
pub(in crate::api) fn of_exec(
    context: &Context,
    call: &Call,
    id: &str,
) -> Result<Option<Place>, EngineError> {
    let Some(node) = id::node_of(id).filter(|node| *node != context.node) else {
        return Ok(None);
    };
    let state = context.state();
    match state.nodes.get(&node) {
        Some(node) if asks_others(context) && call.origin() == Origin::Socket => {
            Ok(Some(place(node, "of this program")?))
        }
        _ => Ok(None),
    }
}

/// Where a container is, if not here.
///
/// # Errors
///
/// Returns [`RelayError`] when that node is down.
pub(in crate::api) fn elsewhere(
    context: &Context,
    state: &State,
    found: &Found,
) -> Result<Option<Place>, RelayError> {
    let node = found.task.node.as_ref();
    let Some(node) = node.filter(|node| **node != context.node) else {
        return Ok(None);
    };
    match state.nodes.get(node) {
        Some(node) if asks_others(context) => place(node, &found.task.name).map(Some),
        _ => Ok(None),
    }
}

/// Another node, if it may be asked something.
pub(in crate::api) fn node(context: &Context, state: &State, id: &NodeId) -> Option<Place> {
    let row = state.nodes.get(id).filter(|row| row.id != context.node)?;
    if !asks_others(context) {
        return None;
    }
    place(row, "").ok()
}

fn asks_others(context: &Context) -> bool {
    context.membership.role() == Some(Role::Manager)
}

fn place(node: &Arc<Node>, container: &str) -> Result<Place, RelayError> {
    let hostname = || node.description.hostname.clone();
    if node.status == NodeStatus::Down {
        return Err(down(node, container));
    }
    let address = node.address.ok_or_else(|| RelayError::NoAddress {
        node: hostname(),
        container: container.to_owned(),
    })?;
    Ok(Place {
        node: node.clone(),
        peer: PeerAddress {
            node: node.id.clone(),
            address,
        },
        container: container.to_owned(),
    })
}

pub(super) fn down(node: &Node, container: &str) -> RelayError {
    RelayError::Down {
        node: node.description.hostname.clone(),
        since: time::rfc3339_seconds(node.status_since),
        container: container.to_owned(),
    }
}

/// What no state can answer. Everything else about a container is known, or decided, by managers.
fn needs_host(call: &Call, deed: &str) -> bool {
    match (call.method().as_str(), deed) {
        ("GET", "logs" | "top" | "stats" | "archive" | "export")
        | ("HEAD" | "PUT", "archive")
        | ("POST", "attach" | "resize" | "exec" | "pause" | "unpause") => true,
        // The signal that ends it for certain is a wish for the state, any other one is for the process.
        ("POST", "kill") => {
            let signal = call.params.get("signal").unwrap_or("KILL");
            parse_signal(signal).is_ok_and(|signal| signal != nix::libc::SIGKILL)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
