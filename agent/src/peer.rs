//! How the nodes of a cluster talk: one TCP port, TLS 1.3 with certificates on both sides, HTTP/1.1.
//!
//!     Peers ── request ──► kept connections ─┐            ┌─► certificate ─► still a member? ─┐
//!       └───── upgrade ──► one of its own ───┴─► listener ┘        role enough? ◄─────────────┘
//!                                                                       └─► Router ─► handler
//!
//! A node is who its certificate says; where it is, is data. A caller is what its certificate *and*
//! the cluster's state say: a removed node is refused, and a demoted manager is a worker, whatever
//! its certificate still claims, except that the group hears it until its vote no longer counts. Each
//! exchange has a connection to itself while it lasts, so that a heartbeat never waits behind an image.
//! A node that is removed loses the connections it has.

mod admission;
mod client;
mod error;
mod exchange;
mod revocable;
mod router;
mod server;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;
use tokio::sync::watch;

use crate::identity::Identity;

pub use admission::{Admission, Denied};
pub use client::{Guest, Peers};
pub use error::PeerError;
pub(crate) use exchange::with_json;
pub use exchange::{Refused, answer, post, read_json, refuse};
pub use router::{Handler, OpenHandler, RoleNeeded, Router};
pub use server::{Gate, ListenError, bind, serve};

/// The port that nodes listen on; Swarm's.
pub const DEFAULT_PORT: u16 = 2377;

/// Who this node is, now and whenever its certificate was renewed; `None` on a host that stands
/// alone.
pub type Identities = watch::Receiver<Option<Arc<Identity>>>;

/// Who is on the other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub node: NodeId,
    pub rank: Rank,
}

/// What a caller is, by the lower of what its certificate and the cluster's state say. Each may ask
/// for what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Worker,
    /// A manager that was demoted. Its vote counts until the others have agreed that it does not.
    Voter,
    Manager,
}

impl From<Role> for Rank {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Manager => Self::Manager,
        }
    }
}

/// A node, and where it listens. Its certificate must name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    pub node: NodeId,
    pub address: SocketAddr,
}

/// A connection that is no longer HTTP.
pub type Raw = TokioIo<hyper::upgrade::Upgraded>;

pub use server::{Upgrading, accept_upgrade};

#[cfg(test)]
mod tests;
