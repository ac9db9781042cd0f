//! Whether a node that knocks is welcome: decided from what it says, what its certificate says, and
//! how this manager stands.

use std::net::SocketAddr;

use scheduler::model::id::NodeId;

use super::frame::{Hello, OLDEST, ToNode, VERSION};

/// How a manager stands, as far as a node is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub leads: bool,
    pub leader: Option<(NodeId, SocketAddr)>,
    /// Of the cluster, as this manager knows it.
    pub epoch: u64,
    /// Whether the node has a row.
    pub knows: bool,
}

/// `None`: it is welcome. Otherwise what it is told before the session ends.
pub fn objection(hello: &Hello, caller: &NodeId, standing: &Standing) -> Option<ToNode> {
    let refused = |reason: String| Some(ToNode::Refused { reason });
    if hello.version < OLDEST || hello.version > VERSION {
        return refused(format!(
            "it speaks version {} of the protocol, and this manager {OLDEST} to {VERSION}: upgrade managers first, and then the nodes",
            hello.version
        ));
    }
    if hello.node != *caller {
        return refused(format!(
            "it calls itself {}, and its certificate names {caller}",
            hello.node
        ));
    }
    if hello.epoch > standing.epoch {
        // The cluster was recovered without this manager.
        return Some(ToNode::Elsewhere { leader: None });
    }
    if !standing.leads {
        return Some(ToNode::Elsewhere {
            leader: standing.leader.clone(),
        });
    }
    if !standing.knows {
        return refused("it was removed from the cluster".to_owned());
    }
    None
}

#[cfg(test)]
mod tests;
