//! One promise a test, kept by the real program on a host of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../support.rs"]
mod support;

mod address;
mod attached;
mod attributes;
mod authority;
mod bad_days;
mod clients;
mod commands;
mod crash;
mod cycles;
mod examples;
mod failover;
mod full_disks;
mod hooks;
mod hosts;
mod images;
mod lifecycle;
mod names;
mod node;
mod order;
mod partitions;
mod pauses;
mod process;
mod quorum;
mod reading;
mod registry;
mod resolver;
mod restarts;
mod semantics;
mod spread;
mod storage;
mod tools;
mod traffic;
mod view;
mod watch;
