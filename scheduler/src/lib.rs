//! The pure control plane of wharfie: what is wanted, what is seen, and what follows from both.
//!
//! | module | what it answers |
//! |---|---|
//! | [`model`] | what are the things: stacks, services, tasks, nodes, networks, volumes |
//! | [`compose`] | what do Compose files say, or what is wrong with them |
//! | [`control_plane`] | what follows from a command, a report, a tick: input in, output out |
//! | [`raft`] | which changes have been agreed on, in which order |
//! | [`state`] | what has been decided so far, and what one more change makes of it |
//! | [`dependency`] | which service comes before which |
//! | [`reconcile`] | what must change so that what is becomes what is wanted |
//! | [`report`] | what a node says about its containers |
//! | [`assignment`] | what must one node run, and what must it know to do so |
//! | [`status`] | what has become of a stack, for people |
//! | [`why`] | why a service does not run, and where it could |
//!
//! This crate never reads a clock, a file, a socket or the environment, and draws no random
//! numbers: time, file contents and seeds come in as arguments, so that every decision can be
//! replayed. `clippy.toml` beside the manifest enforces it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod assignment;
pub mod compose;
pub mod control_plane;
pub mod dependency;
pub mod model;
pub mod raft;
pub mod reconcile;
pub mod report;
pub mod state;
pub mod status;
pub mod why;
