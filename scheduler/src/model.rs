//! The nouns of wharfie, one file each. They use nothing else of this crate.

pub mod cluster;
pub mod container;
pub mod id;
pub mod image;
pub mod network;
pub mod node;
pub mod rollout;
pub mod service;
pub mod stack;
pub mod task;
pub mod time;
pub mod volume;
