//! A copy of our own program in memory that nobody can change.
//!
//! A container's first process is a copy of the shim until it becomes its program, and whoever gets
//! at `/proc/PID/exe` then could overwrite the file (CVE-2019-5736). What is executed is therefore
//! this copy, made once for each agent; all shims share its pages, and an upgrade of the file on
//! disk does not matter to them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Copies a program. Takes about a millisecond for each 2 MB.
pub(super) fn copy(program: &Path) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create("wharfie", flags)?);
    io::copy(&mut File::open(program)?, &mut copy)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}
