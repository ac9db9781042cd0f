//! A node's session with the manager that leads: signs of life up, assignments down.
//!
//!     node                                                  leader
//!     [`attend`] ── Hello, Beat each second, Report ──────►  [`lead`] ─► control plane
//!          ◄──────── Welcome, Beat, Assign (the whole set) ─────┘
//!          ◄──────── Elsewhere, when another manager leads: the node goes there
//!
//! | module | what | pure |
//! |---|---|---|
//! | [`frame`] | what they say to each other; versions | yes |
//! | [`chunk`] | frames cut so that a sign of life never waits behind an assignment | yes |
//! | [`pipe`] | frames over a connection, or within one process | |
//! | [`search`] | which manager is asked next, and when | yes |
//! | [`attend`] | the node's end | |
//! | [`admit`] | whether a node is welcome here | yes |
//! | [`lead`] | the leader's end | |
//!
//! A manager's own node attends to itself by the same frames, without a connection. Of several
//! sessions of one node the newest counts, and the older ones are closed.

pub mod admit;
pub mod attend;
pub mod chunk;
pub mod frame;
pub mod lead;
pub mod pipe;
pub mod search;

pub use attend::{Attendance, attend};
pub use lead::Leader;

/// Where sessions are opened; any node of the cluster may.
pub const PATH: &str = "/peer/session";
