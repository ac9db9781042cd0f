//! A name in a container: cleaned as Docker cleans it, found without leaving the root, described.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use serde::Serialize;

use crate::api::time;
use crate::container::files::Root;
use scheduler::model::time::Timestamp;

/// A path that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Cleaned {
    /// As it was written, for messages.
    pub(super) text: String,
    /// Absolute, without `.` and `..`.
    pub(super) path: PathBuf,
    pub(super) ending: Ending,
}

/// `/etc`, `/etc/` or `/etc/.`: the last two are the directory that a symlink leads to, and the
/// last one names its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Name,
    Slash,
    Dot,
}

/// Docker's description of a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Description {
    name: String,
    size: i64,
    mode: u32,
    mtime: String,
    link_target: String,
}

impl Cleaned {
    pub(super) fn of(text: &str) -> Self {
        let mut path = PathBuf::from("/");
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    path.pop();
                }
                name => path.push(name),
            }
        }
        let ending = match text {
            _ if text == "." || text.ends_with("/.") => Ending::Dot,
            _ if text.ends_with('/') => Ending::Slash,
            _ => Ending::Name,
        };
        Self {
            text: text.to_owned(),
            path,
            ending,
        }
    }

    /// What there is; the last part is followed only where it is the directory that is meant.
    pub(super) fn find(&self, root: &Root) -> nix::Result<OwnedFd> {
        match (self.ending, self.path.parent(), self.path.file_name()) {
            (Ending::Name, Some(parent), Some(name)) => {
                let parent = root.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                openat(parent, name, flags, Mode::empty())
            }
            _ => root.open(&self.path, OFlag::O_PATH | OFlag::O_DIRECTORY),
        }
    }

    pub(super) fn describe(&self, root: &Root) -> nix::Result<Description> {
        let found = self.find(root)?;
        let stat = fstat(&found)?;
        let name = match self.path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".to_owned(),
        };
        let link_target = match kind(&stat) {
            SFlag::S_IFLNK => self.link_target(root, &found)?,
            _ => String::new(),
        };
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        let at = Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000));
        Ok(Description {
            name,
            size: stat.st_size,
            mode: go_mode(&stat),
            mtime: time::rfc3339(at),
            link_target,
        })
    }

    /// Where a symlink leads, as an absolute path in the container; as written when it leads nowhere.
    fn link_target(&self, root: &Root, link: &OwnedFd) -> nix::Result<String> {
        let resolved = root.open(&self.path, OFlag::O_PATH);
        let path = match resolved.ok().and_then(|found| root.path_of(&found)) {
            Some(path) => path,
            None => {
                let target = readlinkat(link.as_fd(), "")?;
                let parent = self.path.parent().unwrap_or(Path::new("/"));
                Self::of(&parent.join(target).to_string_lossy()).path
            }
        };
        Ok(path.to_string_lossy().into_owned())
    }
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Go's `os.FileMode`, which clients of Docker decode.
fn go_mode(stat: &FileStat) -> u32 {
    let kind = match kind(stat) {
        SFlag::S_IFDIR => 1 << 31,
        SFlag::S_IFLNK => 1 << 27,
        SFlag::S_IFBLK => 1 << 26,
        SFlag::S_IFCHR => 1 << 26 | 1 << 21,
        SFlag::S_IFIFO => 1 << 25,
        SFlag::S_IFSOCK => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0);
    special.fold(kind | (stat.st_mode & 0o777), |mode, (_, go)| {
        mode | 1 << go
    })
}

/// What the kernel answers for a name that cannot be one.
pub(super) fn last(path: &Path) -> nix::Result<&std::ffi::OsStr> {
    path.file_name().ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &str, ending: Ending) {
        let cleaned = Cleaned::of(text);
        assert_eq!(
            (cleaned.path.to_str(), cleaned.ending),
            (Some(path), ending)
        );
    }

    #[test]
    fn a_path_never_climbs_above_the_root() {
        check("/etc/passwd", "/etc/passwd", Ending::Name);
        check("../../etc/../../x", "/x", Ending::Name);
        check("etc/", "/etc", Ending::Slash);
        check("/etc/.", "/etc", Ending::Dot);
        check("/..", "/", Ending::Name);
        check(".", "/", Ending::Dot);
    }
}
