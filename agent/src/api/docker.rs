//! The Docker Engine API: one shape for all versions, a superset of what each of them had.
//!
//! | module | endpoints |
//! |---|---|
//! | [`system`], [`events`], [`swarm`] | ping, version, info, df; the event stream; "not a manager" |
//! | [`containers`], [`lifecycle`] | list, inspect, create; start, stop, kill, rename, remove |
//! | [`facts`] | what only the host of a container knows of it |
//! | [`attach`], [`exec`], [`logs`], [`wait`], [`process`] | streams; exit codes; top and stats |
//! | [`images`], [`volumes`], [`networks`], [`prune`] | the rest of what `docker` manages |
//!
//! Translation is pure: [`create`] from Docker's words to ours, [`inspect`] back, with the types of
//! [`config`] for both ways, so that what inspect says can be created again.

pub(super) mod archive;
pub(super) mod attach;
pub(super) mod config;
pub(super) mod containers;
pub(super) mod contents;
pub(super) mod create;
pub(super) mod events;
pub(crate) mod exec;
pub(crate) mod facts;
pub(super) mod images;
pub(super) mod inspect;
pub(super) mod lifecycle;
pub(super) mod logs;
pub(crate) mod lookup;
mod mounts;
pub(super) mod networks;
pub(super) mod phase;
mod ports;
pub(super) mod process;
pub(super) mod prune;
pub(super) mod swarm;
pub(super) mod system;
#[cfg(test)]
pub(crate) mod testing;
pub(super) mod volumes;
pub(super) mod wait;

/// Declared on every answer. The last version whose image inspect has all that old clients read,
/// and high enough for those that ask for the most.
pub const API_VERSION: &str = "1.44";

/// The oldest version that is declared; what is older is served as well.
pub const MIN_API_VERSION: &str = "1.24";

/// Looks like Docker's, because tools compare it. The truth is in `Platform` and `Components`.
pub const ENGINE_VERSION: &str = "25.0.0";
