//! The container engine on a real kernel: needs root, `/bin/busybox` (static), and cgroups.
//!
//! Each test has its own root directory, and looks afterwards whether anything is left of it.

#![allow(clippy::unwrap_used)]

mod confinement;
mod life;
mod oracle;
mod races;
mod streams;
mod support;
