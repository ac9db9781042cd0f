//! The process that stays with one container: it owns its streams, its exit code and its pid.

use std::process::ExitCode;

/// Whether this process was started to be a shim.
pub fn is_shim() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name == "wharfie-shim")
}

/// Is the shim until the container has ended.
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
