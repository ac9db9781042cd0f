//! The directory that a layer is unpacked to: the only place where a layer's names meet the kernel.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{self, FileStat, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{self, Gid, LinkatFlags, Uid, UnlinkatFlags};

use super::super::tarball::{Entry, Kind};
use super::LayerError;

/// Deepest nesting; removing a tree takes a file descriptor a level.
const MAX_DEPTH: usize = 256;
const OPAQUE: &str = "trusted.overlay.opaque";

/// An open directory tree that grows entry by entry.
pub(super) struct Tree {
    root: OwnedFd,
    /// How many parts the path of `root` has.
    root_depth: usize,
    /// The parent of the last entry: most entries are neighbours.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Directories change while they are filled, so their times are set in the end.
    times: Vec<(Vec<u8>, (i64, u32))>,
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, LayerError> {
        let failed = |error: Errno| LayerError::unpack(path.as_os_str().as_bytes(), error);
        let root = nix::fcntl::open(
            path,
            OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let root = root.map_err(failed)?;
        // A layer that does not list its root gets Docker's default.
        stat::fchmod(&root, Mode::from_bits_truncate(0o755)).map_err(failed)?;
        let root_depth = depth(&root).map_err(failed)?;
        Ok(Self {
            root,
            root_depth,
            parent: None,
            times: Vec::new(),
        })
    }

    /// Adds what an entry describes; a file's content is read from `content`.
    pub(super) fn add(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), LayerError> {
        let parts = parts(&entry.name)?;
        let Some((name, parents)) = parts.split_last() else {
            return self.root_entry(entry);
        };
        let parents = parents.join(&b'/');
        let parent = self.parent(&parents, &entry.name)?;
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => set_opaque(parent.as_fd(), &entry.name),
            // AUFS kept its own files under such names.
            Some(hidden) if hidden.starts_with(b".wh.") => Ok(()),
            Some(b"" | b"." | b"..") => Err(LayerError::entry(
                &entry.name,
                "hides nothing that can be hidden",
            )),
            Some(hidden) => whiteout(parent.as_fd(), hidden, &entry.name),
            None => self.put(&parent, &parents, name, entry, content),
        }?;
        self.parent = Some((parents, parent));
        Ok(())
    }

    /// Sets the times of directories, now that nothing changes them any more.
    pub(super) fn finish(self) -> Result<(), LayerError> {
        for (path, modified) in self.times.iter().rev() {
            // It may have been replaced by something else since.
            if let Ok(directory) = open_in(
                self.root.as_fd(),
                path,
                OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            ) {
                let time = time(*modified);
                stat::futimens(&directory, &time, &time)
                    .map_err(|error| LayerError::unpack(path, error))?;
            }
        }
        Ok(())
    }

    /// `./` is the root itself, which must stay a directory.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != Kind::Directory {
            return Err(LayerError::entry(
                &entry.name,
                "would replace the root directory",
            ));
        }
        self.times.push((b".".to_vec(), entry.modified));
        own(&self.root, entry)
    }

    /// Opens the directory that an entry lies in, and makes it when the layer did not list it.
    fn parent(&mut self, path: &[u8], entry: &[u8]) -> Result<OwnedFd, LayerError> {
        if let Some((known, parent)) = self.parent.take()
            && known == path
        {
            return Ok(parent);
        }
        let failed = |error: Errno| LayerError::unpack(entry, error);
        let path = if path.is_empty() { b"." } else { path };
        let parent = match open_directory(self.root.as_fd(), path) {
            Err(Errno::ENOENT) => self.make_parents(path).map_err(failed)?,
            other => other.map_err(failed)?,
        };
        // Links may lead deeper than names are long.
        match depth(&parent).map_err(failed)? > self.root_depth + MAX_DEPTH {
            true => Err(LayerError::entry(
                entry,
                "is nested more than 256 directories deep",
            )),
            false => Ok(parent),
        }
    }

    fn make_parents(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut parent = open_directory(self.root.as_fd(), b".")?;
        let mut end = 0;
        for part in path.split(|byte| *byte == b'/') {
            end += part.len();
            parent = match open_directory(self.root.as_fd(), &path[..end]) {
                Err(Errno::ENOENT) => {
                    stat::mkdirat(&parent, part, Mode::from_bits_truncate(0o755))?;
                    // The umask must not decide.
                    let made = open_directory(self.root.as_fd(), &path[..end])?;
                    stat::fchmod(&made, Mode::from_bits_truncate(0o755))?;
                    made
                }
                other => other?,
            };
            end += 1;
        }
        Ok(parent)
    }

    fn put(
        &mut self,
        parent: &OwnedFd,
        parents: &[u8],
        name: &[u8],
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(), LayerError> {
        let failed = |error: Errno| LayerError::unpack(&entry.name, error);
        let there = make_way(parent.as_fd(), name, entry).map_err(failed)?;
        match &entry.kind {
            Kind::Directory => {
                let path = [parents, b"/", name].concat();
                let path = path.strip_prefix(b"/").map(<[u8]>::to_vec).unwrap_or(path);
                self.times.push((path, entry.modified));
                directory(parent.as_fd(), name, entry, there)
            }
            Kind::File { .. } => file(parent.as_fd(), name, entry, content),
            Kind::HardLink { target } => self.hard_link(parent.as_fd(), name, target, entry),
            Kind::Symlink { target } => {
                let target = CString::new(target.as_slice()).map_err(|_| failed(Errno::EINVAL))?;
                unistd::symlinkat(target.as_c_str(), parent, name).map_err(failed)?;
                describe(parent.as_fd(), name, entry)
            }
            Kind::Fifo => node(parent.as_fd(), name, SFlag::S_IFIFO, (0, 0), entry),
            Kind::CharDevice { major: 0, minor: 0 } => Err(LayerError::entry(
                &entry.name,
                "is device 0:0, which only whiteouts are",
            )),
            Kind::CharDevice { major, minor } => node(
                parent.as_fd(),
                name,
                SFlag::S_IFCHR,
                (*major, *minor),
                entry,
            ),
            Kind::BlockDevice { major, minor } => node(
                parent.as_fd(),
                name,
                SFlag::S_IFBLK,
                (*major, *minor),
                entry,
            ),
        }
    }

    /// Links to what this very layer has; the last part of the target is not followed.
    fn hard_link(
        &self,
        parent: BorrowedFd,
        name: &[u8],
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), LayerError> {
        let target = parts(target)?;
        let Some((last, parents)) = target.split_last() else {
            return Err(LayerError::entry(
                &entry.name,
                "is a hard link to the root directory",
            ));
        };
        let parents = if parents.is_empty() {
            b".".to_vec()
        } else {
            parents.join(&b'/')
        };
        let linked = open_directory(self.root.as_fd(), &parents)
            .and_then(|from| unistd::linkat(&from, *last, parent, name, LinkatFlags::empty()));
        match linked {
            Err(Errno::ENOENT) => Err(LayerError::entry(
                &entry.name,
                "is a hard link to a file that the layer does not have",
            )),
            other => other.map_err(|error| LayerError::unpack(&entry.name, error)),
        }
    }
}

/// The parts of a name; absolute ones are read from the layer's root, as Docker does.
fn parts(name: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let parts: Vec<&[u8]> = name
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err(LayerError::entry(name, "has `..` in a name"));
    }
    match parts.len() > MAX_DEPTH {
        true => Err(LayerError::entry(
            name,
            "is nested more than 256 directories deep",
        )),
        false => Ok(parts),
    }
}

fn open_in(root: BorrowedFd, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(
        root,
        path,
        OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(resolve),
    )
}

fn open_directory(root: BorrowedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_in(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// How many parts the absolute path of a directory has.
fn depth(directory: &OwnedFd) -> Result<usize, Errno> {
    let link = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let path = nix::fcntl::readlink(&link)?;
    Ok(path.as_bytes().iter().filter(|byte| **byte == b'/').count())
}

/// What was at the place of a new entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    Whiteout,
}

/// Removes what is in the way of an entry; only directories merge.
fn make_way(parent: BorrowedFd, name: &[u8], entry: &Entry) -> Result<There, Errno> {
    let stat = match stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(There::Nothing),
        other => other?,
    };
    match file_type(&stat) {
        SFlag::S_IFDIR if entry.kind == Kind::Directory => return Ok(There::Directory),
        SFlag::S_IFDIR => remove_directory(parent, name)?,
        _ => unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?,
    }
    match is_whiteout(&stat) {
        true => Ok(There::Whiteout),
        false => Ok(There::Nothing),
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn is_whiteout(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Removes a directory with all in it; the depth is bounded by [`MAX_DEPTH`].
fn remove_directory(parent: BorrowedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory = Dir::openat(parent, name, flags, Mode::empty())?;
    let children: Vec<CString> = directory
        .iter()
        .map(|child| child.map(|child| child.file_name().to_owned()))
        .collect::<Result<_, _>>()?;
    for child in children
        .iter()
        .map(|child| child.as_bytes())
        .filter(|child| *child != b"." && *child != b"..")
    {
        match unistd::unlinkat(&directory, child, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => remove_directory(directory.as_fd(), child)?,
            other => other?,
        }
    }
    unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

fn directory(
    parent: BorrowedFd,
    name: &[u8],
    entry: &Entry,
    there: There,
) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::unpack(&entry.name, error);
    if there != There::Directory {
        stat::mkdirat(parent, name, Mode::from_bits_truncate(0o700)).map_err(failed)?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty()).map_err(failed)?;
    if there == There::Whiteout {
        // The layer hides the old directory and brings a new one.
        set_opaque(directory.as_fd(), &entry.name)?;
    }
    own(&directory, entry)
}

fn file(
    parent: BorrowedFd,
    name: &[u8],
    entry: &Entry,
    content: &mut impl Read,
) -> Result<(), LayerError> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(parent, name, flags, Mode::from_bits_truncate(0o600));
    let mut file = File::from(file.map_err(|error| LayerError::unpack(&entry.name, error))?);
    copy(content, &mut file).map_err(|error| LayerError::unpack(&entry.name, error))?;
    let file = OwnedFd::from(file);
    own(&file, entry)?;
    let time = time(entry.modified);
    stat::futimens(&file, &time, &time).map_err(|error| LayerError::unpack(&entry.name, error))
}

/// As `io::copy`, with fewer and larger writes.
fn copy(from: &mut impl Read, to: &mut File) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => io::Write::write_all(to, &buffer[..read])?,
        }
    }
}

fn node(
    parent: BorrowedFd,
    name: &[u8],
    kind: SFlag,
    (major, minor): (u32, u32),
    entry: &Entry,
) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::unpack(&entry.name, error);
    let device = stat::makedev(major.into(), minor.into());
    stat::mknodat(parent, name, kind, Mode::from_bits_truncate(0o600), device).map_err(failed)?;
    let (uid, gid) = owner(entry)?;
    unistd::fchownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map_err(failed)?;
    // The name was just made in a directory that nobody else can reach, and is not a link.
    let mode = Mode::from_bits_truncate(entry.mode);
    stat::fchmodat(parent, name, mode, stat::FchmodatFlags::FollowSymlink).map_err(failed)?;
    describe(parent, name, entry)
}

/// Owner and times of what cannot be opened.
fn describe(parent: BorrowedFd, name: &[u8], entry: &Entry) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::unpack(&entry.name, error);
    let (uid, gid) = owner(entry)?;
    unistd::fchownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map_err(failed)?;
    let time = time(entry.modified);
    stat::utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).map_err(failed)
}

/// Owner, then mode, then attributes: each clears what would be set too early by another order.
fn own(file: &OwnedFd, entry: &Entry) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::unpack(&entry.name, error);
    let (uid, gid) = owner(entry)?;
    unistd::fchown(file, Some(uid), Some(gid)).map_err(failed)?;
    stat::fchmod(file, Mode::from_bits_truncate(entry.mode)).map_err(failed)?;
    for (name, value) in &entry.xattrs {
        match attribute(name) {
            Attribute::Refused => {
                return Err(LayerError::entry(
                    &entry.name,
                    "sets an attribute of overlayfs",
                ));
            }
            Attribute::Ignored => {}
            Attribute::Kept => {
                set_attribute(file.as_fd(), OsStr::from_bytes(name), value, &entry.name)?
            }
        }
    }
    Ok(())
}

/// Ids of 2^32 - 1 and above would mean "unchanged", which is root.
fn owner(entry: &Entry) -> Result<(Uid, Gid), LayerError> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(LayerError::entry(
            &entry.name,
            "has an owner that Linux cannot have",
        )),
    }
}

enum Attribute {
    Kept,
    Ignored,
    Refused,
}

fn attribute(name: &[u8]) -> Attribute {
    let begins = |prefix: &str| name.starts_with(prefix.as_bytes());
    match () {
        () if begins("trusted.overlay.") => Attribute::Refused,
        () if name == b"security.capability" || begins("user.") || begins("system.posix_acl_") => {
            Attribute::Kept
        }
        // Labels of the host where the image was built.
        () => Attribute::Ignored,
    }
}

fn set_attribute(
    file: BorrowedFd,
    name: &OsStr,
    value: &[u8],
    entry: &[u8],
) -> Result<(), LayerError> {
    use xattr::FileExt as _;
    let file = File::from(
        file.try_clone_to_owned()
            .map_err(|error| LayerError::unpack(entry, error))?,
    );
    match file.set_xattr(name, value) {
        // As Docker: an image is not refused for attributes that this file system does not have.
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(()),
        other => other.map_err(|error| LayerError::unpack(entry, error)),
    }
}

fn set_opaque(directory: BorrowedFd, entry: &[u8]) -> Result<(), LayerError> {
    use xattr::FileExt as _;
    let file = File::from(
        directory
            .try_clone_to_owned()
            .map_err(|error| LayerError::unpack(entry, error))?,
    );
    file.set_xattr(OPAQUE, b"y")
        .map_err(|error| LayerError::unpack(entry, error))
}

/// Hides a name of the layers below. What this layer itself has under the name stays.
fn whiteout(parent: BorrowedFd, name: &[u8], entry: &[u8]) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::unpack(entry, error);
    match stat::mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0) {
        Err(Errno::EEXIST) => {}
        other => return other.map_err(failed),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => set_opaque(directory.as_fd(), entry),
        Err(Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn time((seconds, nanos): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, i64::from(nanos))
}
