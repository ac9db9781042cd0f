//! A mount of another container, for one that joins it: the `/dev/shm` of its ipc namespace.
//!
//! The kernel clones mounts of the caller's own mount namespace only. So the new process goes to its
//! neighbour's, clones the mount there, detached, and comes back to put it into its own root.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use super::super::failure::{During, Failure};
use super::super::kernel::{self, Depth};

/// A place as another process sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pid: u32,
    path: PathBuf,
}

impl Neighbour {
    /// Reads `/proc/PID/root/PATH`; `None` for a path of another form.
    pub(super) fn parse(source: &Path) -> Option<Self> {
        let mut parts = source.strip_prefix("/proc").ok()?.iter();
        let pid = parts.next()?.to_str()?.parse().ok()?;
        if parts.next()? != "root" {
            return None;
        }
        let path = Path::new("/").join(parts.as_path());
        Some(Self { pid, path })
    }

    /// Clones its mount, detached.
    ///
    /// # Errors
    ///
    /// Also when the process is not in the caller's ipc namespace: then it is not the neighbour
    /// that was meant, but one that has its number now.
    pub(super) fn clone_mount(&self) -> Result<OwnedFd, Failure> {
        let namespace =
            |process: &str, kind: &str| PathBuf::from(format!("/proc/{process}/ns/{kind}"));
        let pid = self.pid.to_string();
        let (own, theirs) = (namespace("self", "mnt"), namespace(&pid, "mnt"));
        let enter = |path: &Path| {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            open(path, flags, Mode::empty()).during("open", path)
        };
        let (own_fd, their_fd) = (enter(&own)?, enter(&theirs)?);
        let link = |path: PathBuf| fs::read_link(&path).during("read", path);
        if link(namespace("self", "ipc"))? != link(namespace(&pid, "ipc"))? {
            let reason = "the container that it belongs to has ended";
            return Err(Failure::refused("share", &self.path, reason));
        }
        setns(&their_fd, CloneFlags::CLONE_NEWNS).during("enter mount namespace", &theirs)?;
        let cloned = self.clone_here();
        setns(&own_fd, CloneFlags::CLONE_NEWNS).during("return to mount namespace", own)?;
        cloned.during("share", &self.path)
    }

    /// In the neighbour's mount namespace, where it may have made symlinks.
    fn clone_here(&self) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = openat2(AT_FDCWD, &self.path, how)?;
        kernel::clone_mount(found, Depth::This)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_of_processes_are_neighbours() {
        let check = |source: &str, expected: Option<(u32, &str)>| {
            let expected = expected.map(|(pid, path)| Neighbour {
                pid,
                path: path.into(),
            });
            assert_eq!(Neighbour::parse(Path::new(source)), expected, "{source}");
        };
        check("/proc/12/root/dev/shm", Some((12, "/dev/shm")));
        check("/proc/12/root", Some((12, "/")));
        check("/proc/12/cwd/dev/shm", None);
        check("/proc/self/root/dev/shm", None);
        check("/dev/shm", None);
        check("proc/12/root/dev/shm", None);
    }
}
