//! Paths inside a container's root, which a hostile image or process may have filled with symlinks.
//!
//! Every path is resolved by the kernel as if the root were `/` (`RESOLVE_IN_ROOT`), and what was
//! found is kept as a descriptor: nothing is resolved twice, no path is joined and used.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};

// A rename elsewhere in the system makes RESOLVE_IN_ROOT give up with EAGAIN; openat2(2) says to try again.
const TRIES: usize = 64;
// Chains of dangling symlinks that are followed to make a directory.
const MAX_LINKS: usize = 8;

/// The root directory of a container.
#[derive(Debug)]
pub(super) struct RootDir(OwnedFd);

impl RootDir {
    pub(super) fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens a directory of the host as a root.
    pub(super) fn open_host(path: &Path) -> nix::Result<Self> {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
        openat2(AT_FDCWD, path, how).map(Self)
    }

    /// Opens what is there, following symlinks inside the root.
    pub(super) fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlag::RESOLVE_IN_ROOT)
    }

    /// Finds what is there; refuses (`ELOOP`) if any part of the path is a symlink.
    pub(super) fn find_without_links(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.resolve(
            path,
            OFlag::O_PATH,
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS,
        )
    }

    /// Finds what is there, to mount on it or from it.
    pub(super) fn find(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH)
    }

    /// Finds a directory, and makes it and its parents (root's, `mode`) where they are missing.
    pub(super) fn make_directory(&self, path: &Path, mode: Mode) -> nix::Result<OwnedFd> {
        self.make_directory_following(path, mode, MAX_LINKS)
    }

    /// Finds what is there, or makes an empty file and the directories above it.
    pub(super) fn make_file(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let (parent, name) = split(path)?;
        let directory = self.make_directory(parent, Mode::from_bits_truncate(0o755))?;
        match mknodat(
            &directory,
            name,
            SFlag::S_IFREG,
            Mode::from_bits_truncate(0o644),
            0,
        ) {
            Ok(()) | Err(Errno::EEXIST) => self.find(path),
            Err(errno) => Err(errno),
        }
    }

    /// The directory that holds `path`, made if missing, and the last name.
    pub(super) fn parent<'p>(&self, path: &'p Path) -> nix::Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = split(path)?;
        Ok((
            self.make_directory(parent, Mode::from_bits_truncate(0o755))?,
            name,
        ))
    }

    fn make_directory_following(
        &self,
        path: &Path,
        mode: Mode,
        links: usize,
    ) -> nix::Result<OwnedFd> {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open(path, directory) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let mut so_far = PathBuf::from("/");
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                // Only for what has yet to be made; cannot leave the root.
                Component::ParentDir => {
                    so_far.pop();
                    continue;
                }
                Component::Prefix(_) => return Err(Errno::EINVAL),
            };
            let next = so_far.join(name);
            if matches!(self.open(&next, directory), Err(Errno::ENOENT)) {
                let parent = self.open(&so_far, directory)?;
                match mkdirat(&parent, name, mode) {
                    Ok(()) => {}
                    // It exists and leads nowhere: a dangling symlink, or somebody was faster.
                    Err(Errno::EEXIST) => {
                        self.make_link_target(&parent, &so_far, name, mode, links)?
                    }
                    Err(errno) => return Err(errno),
                }
            }
            so_far = next;
        }
        self.open(path, directory)
    }

    /// Makes the directory that a dangling symlink promises, e.g. `/run` for `/var/run`.
    fn make_link_target(
        &self,
        parent: &OwnedFd,
        parent_path: &Path,
        name: &OsStr,
        mode: Mode,
        links: usize,
    ) -> nix::Result<()> {
        let target = match readlinkat(parent, name) {
            Ok(target) => target,
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let links = links.checked_sub(1).ok_or(Errno::ELOOP)?;
        self.make_directory_following(&parent_path.join(target), mode, links)
            .map(drop)
    }

    fn resolve(&self, path: &Path, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        for _ in 0..TRIES {
            match openat2(&self.0, path, how) {
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::EAGAIN)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn split(path: &Path) -> nix::Result<(&Path, &OsStr)> {
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    Ok((path.parent().unwrap_or(Path::new("/")), name))
}

/// What kind of thing a descriptor is.
pub(super) fn kind(fd: impl AsFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

#[cfg(test)]
mod tests;
