//! A copy of our own program in memory that nobody can change.
//!
//! A container's first process is a copy of the shim until it becomes its program, and whoever gets
//! at `/proc/PID/exe` then could overwrite the file (CVE-2019-5736). What is executed is therefore
//! this copy, made once for each agent; all shims share its pages, and an upgrade of the file on
//! disk does not matter to them.
//!
//! The copy stays in memory for as long as a shim runs, so only what is mapped when it is executed is
//! in it: symbols, which are behind that, are for people with a debugger.
//!
//!     header, segments ── copied ──┤ symbols, their names, section headers ── left out

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Copies a program. Takes about a millisecond for each 2 MB.
pub(super) fn copy(program: &Path) -> io::Result<OwnedFd> {
    let program = File::open(program)?;
    let len = mapped_len(&program)?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create("wharfie", flags)?);
    io::copy(&mut program.take(len), &mut copy)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}

/// Up to where a program's file is mapped by execve(2): the end of its last segment. All of it, when
/// it is no ELF file of 64 bits in this machine's order.
///
/// Source: elf(5), `Elf64_Ehdr` and `Elf64_Phdr`.
fn mapped_len(program: &File) -> io::Result<u64> {
    const IDENTITY: &[u8] = &[0x7f, b'E', b'L', b'F', 2, NATIVE_ORDER];
    const NATIVE_ORDER: u8 = if cfg!(target_endian = "little") { 1 } else { 2 };
    let whole = program.metadata()?.len();
    let mut header = [0; 64];
    if whole < 64 {
        return Ok(whole);
    }
    program.read_exact_at(&mut header, 0)?;
    if !header.starts_with(IDENTITY) {
        return Ok(whole);
    }
    let table = u64::from_ne_bytes(field(&header, 32));
    let size = usize::from(u16::from_ne_bytes(field(&header, 54)));
    let count = u64::from(u16::from_ne_bytes(field(&header, 56)));
    let mut end = 64;
    for number in 0..count {
        let mut segment = vec![0; size.max(56)];
        let at = table.saturating_add(number * size as u64);
        program.read_exact_at(&mut segment, at)?;
        let start = u64::from_ne_bytes(field(&segment, 8));
        let len = u64::from_ne_bytes(field(&segment, 32));
        end = end.max(start.saturating_add(len));
    }
    Ok(end.min(whole))
}

/// The callers have read at least 56 bytes, and no field that they ask for ends behind that.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes.get(at..at + N);
    field.and_then(|it| it.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_executed_is_there_and_symbols_are_not() {
        let program = Path::new("/proc/self/exe");
        let copy = copy(program).unwrap();
        let len = File::from(copy.try_clone().unwrap())
            .metadata()
            .unwrap()
            .len();
        assert!(len < program.metadata().unwrap().len(), "{len} bytes");
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let ran = Command::new(path)
            .args(["--list", "--exact", "none"])
            .output();
        assert!(ran.unwrap().status.success());
    }

    #[test]
    fn what_is_no_program_is_copied_whole() {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "#!/bin/sh\n").unwrap();
        let copy = File::from(copy(script.path()).unwrap());
        assert_eq!(copy.metadata().unwrap().len(), 10);
    }
}
