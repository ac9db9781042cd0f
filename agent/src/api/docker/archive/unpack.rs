//! Unpacks a tar archive into a directory of a container.
//!
//! Parents are found below the container's root by the kernel, the last part of a name is never
//! followed, a directory and something else never replace each other, and what else is in the way
//! is unlinked first: nothing is written through a link.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens, makedev,
    mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{
    Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat,
};
use thiserror::Error;

use super::path::{Cleaned, kind, last};
use crate::container::files::Root;
use crate::image::tarball::{Entry, Kind, TarError, Tarball};

/// Why an archive was not, or not wholly, unpacked.
#[derive(Debug, Error)]
pub(super) enum UnpackError {
    #[error("the destination cannot be used")]
    Destination(#[source] Errno),
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("the archive's entry `{name}` {what}")]
    Entry { name: String, what: &'static str },
    #[error("cannot write `{name}`")]
    Write { name: String, source: io::Error },
}

/// Unpacks into a directory that must be there.
pub(super) fn unpack(root: &Root, into: &Cleaned, content: impl Read) -> Result<(), UnpackError> {
    let directory = root
        .open(&into.path, OFlag::O_PATH | OFlag::O_DIRECTORY)
        .map_err(UnpackError::Destination)?;
    root.check_writable(&directory)
        .map_err(UnpackError::Destination)?;
    let mut archive = Tarball::new(content);
    while let Some(entry) = archive.next()? {
        put(root, &into.path, &entry, &mut archive)?;
    }
    Ok(())
}

fn put(
    root: &Root,
    into: &Path,
    entry: &Entry,
    content: &mut impl Read,
) -> Result<(), UnpackError> {
    let written = |error: Errno| write_error(entry, error);
    let path = below(into, &entry.name, entry)?;
    if path == into {
        // `.` is the destination itself, which stays as it is.
        return Ok(());
    }
    let parent = root
        .make_directory(path.parent().unwrap_or(into))
        .map_err(written)?;
    let parent = parent.as_fd();
    let name = last(&path).map_err(written)?;
    if make_way(parent, name, entry)? == Way::Merge {
        return Ok(());
    }
    let (uid, gid) = owner(entry)?;
    let mode = Mode::from_bits_truncate(entry.mode);
    let time = TimeSpec::new(entry.modified.0, entry.modified.1.into());
    let own = |file: &OwnedFd| {
        // The mode after the owner, which would clear parts of it.
        fchown(file, Some(uid), Some(gid))?;
        fchmod(file, mode)?;
        futimens(file, &time, &time)
    };
    let node = |kind: SFlag, device: u64| {
        mknodat(parent, name, kind, Mode::from_bits_truncate(0o600), device)?;
        fchownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
        // Not followed, because somebody in the container may have put a link there by now.
        fchmodat(parent, name, mode, FchmodatFlags::NoFollowSymlink)
    };
    match &entry.kind {
        Kind::Directory => {
            let made = mkdirat(parent, name, Mode::from_bits_truncate(0o700));
            let made = made.and_then(|()| open_directory(parent, name));
            made.and_then(|made| own(&made)).map_err(written)
        }
        Kind::File { .. } => {
            let file = new_file(parent, name).map_err(written)?;
            let mut file = File::from(file);
            io::copy(content, &mut file).map_err(|source| UnpackError::Write {
                name: shown(&entry.name),
                source,
            })?;
            let file = OwnedFd::from(file);
            own(&file).map_err(written)?;
            attributes(&file, entry)
        }
        Kind::Symlink { target } => {
            let target = CString::new(target.as_slice()).map_err(|_| written(Errno::EINVAL))?;
            let link = || {
                symlinkat(target.as_c_str(), parent, name)?;
                fchownat(
                    parent,
                    name,
                    Some(uid),
                    Some(gid),
                    AtFlags::AT_SYMLINK_NOFOLLOW,
                )?;
                utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
            };
            link().map_err(written)
        }
        Kind::HardLink { target } => {
            let target = below(into, target, entry)?;
            let link = || {
                let from = target.parent().unwrap_or(into);
                let from = root.open(from, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
                linkat(&from, last(&target)?, parent, name, LinkatFlags::empty())
            };
            link().map_err(written)
        }
        Kind::Fifo => node(SFlag::S_IFIFO, 0).map_err(written),
        Kind::CharDevice { major, minor } => {
            node(SFlag::S_IFCHR, makedev((*major).into(), (*minor).into())).map_err(written)
        }
        Kind::BlockDevice { major, minor } => {
            node(SFlag::S_IFBLK, makedev((*major).into(), (*minor).into())).map_err(written)
        }
    }
}

/// The place of a name of the archive; absolute ones count from the destination.
fn below(into: &Path, name: &[u8], entry: &Entry) -> Result<PathBuf, UnpackError> {
    let mut path = into.to_owned();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(UnpackError::Entry {
                    name: shown(&entry.name),
                    what: "has `..` in a name",
                });
            }
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// What there is to do for an entry once its place is free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Make,
    /// A directory that is there already; it keeps its owner and mode, as the user knows it.
    Merge,
}

fn make_way(parent: BorrowedFd, name: &OsStr, entry: &Entry) -> Result<Way, UnpackError> {
    let refuse = |what| {
        Err(UnpackError::Entry {
            name: shown(&entry.name),
            what,
        })
    };
    let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(Way::Make),
        found => found.map_err(|error| write_error(entry, error))?,
    };
    match (kind(&stat), &entry.kind) {
        (SFlag::S_IFDIR, Kind::Directory) => Ok(Way::Merge),
        (SFlag::S_IFDIR, _) => refuse("cannot overwrite a directory with a non-directory"),
        (_, Kind::Directory) => refuse("cannot overwrite a non-directory with a directory"),
        _ => {
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)
                .map_err(|error| write_error(entry, error))?;
            Ok(Way::Make)
        }
    }
}

fn new_file(parent: BorrowedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::from_bits_truncate(0o600))
}

fn open_directory(parent: BorrowedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Ids of 2^32 - 1 and above would mean "unchanged", which is root.
fn owner(entry: &Entry) -> Result<(Uid, Gid), UnpackError> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(UnpackError::Entry {
            name: shown(&entry.name),
            what: "has an owner that Linux cannot have",
        }),
    }
}

/// File capabilities; other attributes belong to the host where the archive was made.
fn attributes(file: &OwnedFd, entry: &Entry) -> Result<(), UnpackError> {
    use xattr::FileExt as _;

    const CAPABILITY: &str = "security.capability";
    let Some(value) = entry.xattrs.get(CAPABILITY.as_bytes()) else {
        return Ok(());
    };
    let set = file
        .try_clone()
        .and_then(|file| File::from(file).set_xattr(CAPABILITY, value));
    set.map_err(|source| UnpackError::Write {
        name: shown(&entry.name),
        source,
    })
}

fn write_error(entry: &Entry, error: Errno) -> UnpackError {
    UnpackError::Write {
        name: shown(&entry.name),
        source: error.into(),
    }
}

/// Without control characters, which a terminal would obey.
fn shown(name: &[u8]) -> String {
    let name = name.get(..256).unwrap_or(name);
    String::from_utf8_lossy(name).replace(char::is_control, "?")
}
