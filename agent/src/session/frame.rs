//! What a node and the leader say to each other.
//!
//! A node speaks the version that it announces in [`Hello`]; a manager understands its own version
//! and the one before, and answers in the node's. So managers are upgraded first, and then the
//! nodes, one at a time. Fields may be added within a version, with a default; a message that a
//! version does not have is never sent to it.

use std::net::SocketAddr;
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeDescription;
use scheduler::report::Report;
use serde::{Deserialize, Serialize};

/// What this program speaks.
pub const VERSION: u32 = 1;
/// The oldest that it understands.
pub const OLDEST: u32 = 1;

/// From a node to the manager that leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNode {
    /// The first one.
    Hello(Box<Hello>),
    /// It lives. Sent as often as [`Welcome`] asks.
    Beat,
    Report(Box<Report>),
}

/// Who wants a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    pub node: NodeId,
    pub description: NodeDescription,
    /// Where others reach it now.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// Of the last assignment that it accepted.
    pub epoch: u64,
    pub generation: u64,
}

/// From a manager to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNode {
    /// The session is open. May come again with other times.
    Welcome(Welcome),
    /// It still leads.
    Beat,
    Assign(Arc<Assignment>),
    /// It does not lead. The session is over.
    Elsewhere {
        leader: Option<(NodeId, SocketAddr)>,
    },
    /// It will never be welcome as it is. The session is over.
    Refused {
        reason: String,
    },
}

/// How both sides know that the other one lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Milliseconds between two beats, both ways; zero where no beat is needed.
    pub heartbeat_millis: u64,
    /// Milliseconds of silence after which the other side may have gone.
    pub suspect_after_millis: u64,
}

/// Which of two lanes a frame takes: what is urgent overtakes what is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Urgent,
    Bulk,
}

impl FromNode {
    pub fn lane(&self) -> Lane {
        match self {
            Self::Hello(_) | Self::Beat => Lane::Urgent,
            Self::Report(_) => Lane::Bulk,
        }
    }
}

impl ToNode {
    pub fn lane(&self) -> Lane {
        match self {
            Self::Welcome(_) | Self::Beat | Self::Elsewhere { .. } | Self::Refused { .. } => {
                Lane::Urgent
            }
            Self::Assign(_) => Lane::Bulk,
        }
    }
}
