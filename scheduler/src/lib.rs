//! The pure control plane of wharfie: what is wanted, what is seen, and what follows from both.
//!
//! | module | what it answers |
//! |---|---|
//! | [`model`] | what are the things: stacks, services, tasks, nodes, networks, volumes |
//! | [`assignment`] | what must one node run, and what must it know to do so |
//! | [`status`] | what has become of a stack, for people |
//!
//! This crate never reads a clock, a file, a socket or the environment, and draws no random
//! numbers: time, file contents and seeds come in as arguments, so that every decision can be
//! replayed. `clippy.toml` beside the manifest enforces it.

pub mod assignment;
pub mod model;
pub mod status;
