//! The wharfie node: it makes true on this host what the scheduler has decided.
//!
//! | module | what it does | pure |
//! |---|---|---|
//! | [`process`] | opens everything in order, serves, stops | |
//! | [`preflight`] | what this host lacks, said before anything starts | partly |
//! | [`node`] | the loop: observe, plan, execute, report | |
//! | [`plan`], [`report`] | what comes next; what is said about it | yes |
//! | [`session`] | a node and the manager that leads: signs of life, reports, assignments | partly |
//! | [`ledger`] | the last accepted assignment, for when no manager answers | |
//! | [`host`] | what can be done to a machine; `host/linux.rs` does it | |
//! | [`manager`] | gives the control plane its time and its disk | |
//! | [`cluster`], [`identity`] | this node's place among others: entering, leaving, certificates | partly |
//! | [`peer`] | how nodes talk with each other | |
//! | [`seal`] | what is on disk can be read on this host only | |
//! | [`api`], [`events`] | the HTTP server on the node's socket | partly |
//! | [`container`] | one container's life: bundle, shim, exec, logs, health, cgroup, seccomp | partly |
//! | [`image`], [`fetch`] | references, registries, layers, the content store; who fetches when | partly |
//! | [`supply`] | images from the other nodes, and for them | partly |
//! | [`network`] | bridges, interfaces, published ports, balancing | partly |
//! | [`dns`] | names inside containers | partly |
//! | [`volume`] | named volumes and their data | |
//! | [`secret`] | secrets and configs as files in memory | |
//! | [`heap`] | how little freed memory the process keeps | |
//!
//! The drivers (`container`, `image`, `network`, `dns`, `volume`) do not know each other; only
//! `host/linux.rs` puts them together.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod cdi;
pub mod clock;
pub mod cluster;
pub mod container;
mod description;
pub mod dns;
pub mod events;
pub mod fetch;
pub mod heap;
pub mod host;
pub mod identity;
pub mod image;
pub mod ledger;
pub mod manager;
mod namespace;
pub mod network;
pub mod node;
pub mod peer;
pub mod plan;
pub mod preflight;
pub mod process;
mod reach;
pub mod report;
pub mod seal;
pub mod secret;
pub mod session;
pub mod supply;
pub mod volume;
