//! One promise a test, kept by the real program on a host of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../support.rs"]
mod support;

mod examples;
mod lifecycle;
