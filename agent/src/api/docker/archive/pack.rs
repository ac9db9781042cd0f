//! Makes a tar archive of a tree in a container.
//!
//! Every name is opened without following it, in the directory that was opened before it: what the
//! container swaps meanwhile changes what is archived of the container, and nothing else. Devices
//! and FIFOs are described, never opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};
use nix::sys::statfs::fstatfs;
use tar::{EntryType, Header};

use super::path::{Cleaned, Ending, kind};
use crate::container::files::Root;

/// A descriptor a level is open meanwhile.
const MAX_DEPTH: usize = 256;
/// Names and link targets that fit into a plain header.
const SHORT: usize = 100;
const BUFFER: usize = 128 * 1024;

/// How the members are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Below the last part of what was asked for, as Docker's clients expect for `cp`.
    Docker,
    /// Below nothing.
    Relative,
}

/// Whether directories that are mounts are archived with what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Mounts,
    RootOnly,
}

struct Packer<W: Write> {
    out: io::BufWriter<W>,
    contents: Contents,
    root_device: u64,
    /// Files with several names that were archived under one.
    linked: BTreeMap<(u64, u64), Vec<u8>>,
}

/// Writes the archive of what the path leads to.
pub(super) fn pack(
    root: &Root,
    wanted: &Cleaned,
    names: Names,
    contents: Contents,
    out: impl Write,
) -> io::Result<()> {
    let found = wanted.find(root)?;
    let name = match (names, wanted.ending, wanted.path.file_name()) {
        (Names::Relative, _, _) | (Names::Docker, Ending::Dot, _) => b".".to_vec(),
        (Names::Docker, _, Some(name)) => name.as_bytes().to_vec(),
        (Names::Docker, _, None) => b"/".to_vec(),
    };
    let mut packer = Packer {
        out: io::BufWriter::with_capacity(BUFFER, out),
        contents,
        root_device: fstat(root.open("/".as_ref(), OFlag::O_PATH)?)?.st_dev,
        linked: BTreeMap::new(),
    };
    packer.member(&found, &name, 0)?;
    // Two blocks of zeros end an archive.
    packer.out.write_all(&[0; 1024])?;
    packer.out.flush()
}

impl<W: Write> Packer<W> {
    /// One thing and, if it is a directory, what is in it. `found` was opened with `O_PATH`.
    fn member(&mut self, found: &OwnedFd, name: &[u8], depth: usize) -> io::Result<()> {
        let stat = fstat(found)?;
        match kind(&stat) {
            SFlag::S_IFDIR => self.directory(found, &stat, name, depth),
            SFlag::S_IFREG => self.file(found, &stat, name),
            SFlag::S_IFLNK => {
                let target = readlinkat(found.as_fd(), "")?.into_vec();
                self.header(&stat, name, EntryType::Symlink, 0, &target)
            }
            SFlag::S_IFCHR => self.header(&stat, name, EntryType::Char, 0, b""),
            SFlag::S_IFBLK => self.header(&stat, name, EntryType::Block, 0, b""),
            SFlag::S_IFIFO => self.header(&stat, name, EntryType::Fifo, 0, b""),
            // A socket is nothing without its process.
            _ => Ok(()),
        }
    }

    fn directory(
        &mut self,
        found: &OwnedFd,
        stat: &FileStat,
        name: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        let slash: &[u8] = if name.ends_with(b"/") { b"" } else { b"/" };
        let own = [name, slash].concat();
        self.header(stat, &own, EntryType::Directory, 0, b"")?;
        let is_mount = stat.st_dev != self.root_device;
        if is_mount && (self.contents == Contents::RootOnly || is_kernels(found)) {
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            let shown = String::from_utf8_lossy(name).into_owned();
            return Err(io::Error::other(format!("{shown} is nested too deeply")));
        }
        let listed = reopen(found, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut children = Vec::new();
        for child in Dir::from_fd(listed)?.iter() {
            let child = child?.file_name().to_owned();
            if !matches!(child.to_bytes(), b"." | b"..") {
                children.push(child);
            }
        }
        children.sort();
        for child in children {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = match openat(found, child.as_c_str(), flags, Mode::empty()) {
                // It has gone meanwhile.
                Err(Errno::ENOENT) => continue,
                opened => opened?,
            };
            let name = match name {
                b"." if self.contents == Contents::RootOnly => child.to_bytes().to_vec(),
                _ => [&own, child.to_bytes()].concat(),
            };
            self.member(&opened, &name, depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, found: &OwnedFd, stat: &FileStat, name: &[u8]) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&key).cloned() {
                return self.header(stat, name, EntryType::Link, 0, &first);
            }
            self.linked.insert(key, name.to_vec());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let content = File::from(reopen(found, OFlag::O_RDONLY)?);
        self.header(stat, name, EntryType::Regular, size, b"")?;
        let copied = io::copy(&mut (&content).take(size), &mut self.out)?;
        if copied < size {
            let shown = String::from_utf8_lossy(name).into_owned();
            return Err(io::Error::other(format!(
                "{shown} became shorter meanwhile"
            )));
        }
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        self.out.write_all(&[0; 512][..padding])
    }

    fn header(
        &mut self,
        stat: &FileStat,
        name: &[u8],
        kind: EntryType,
        size: u64,
        link: &[u8],
    ) -> io::Result<()> {
        // GNU's way for what does not fit: a member before it, with the text as content.
        for (text, kind) in [
            (name, EntryType::GNULongName),
            (link, EntryType::GNULongLink),
        ] {
            if text.len() > SHORT {
                self.long(text, kind)?;
            }
        }
        let mut header = Header::new_gnu();
        fill(&mut header.as_old_mut().name, name);
        fill(&mut header.as_old_mut().linkname, link);
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(u32::try_from(major(stat.st_rdev)).unwrap_or(0))?;
            header.set_device_minor(u32::try_from(minor(stat.st_rdev)).unwrap_or(0))?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn long(&mut self, text: &[u8], kind: EntryType) -> io::Result<()> {
        let mut header = Header::new_gnu();
        fill(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let size = text.len() + 1;
        header.set_size(size as u64);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(text)?;
        let zeros = size.next_multiple_of(512) - text.len();
        self.out.write_all(&[0; 1024][..zeros])
    }
}

fn fill(field: &mut [u8; SHORT], text: &[u8]) {
    let length = text.len().min(SHORT);
    field[..length].copy_from_slice(&text[..length]);
}

/// Opens for reading what was found with `O_PATH`, and is known to be a file or a directory.
fn reopen(found: &OwnedFd, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// `/proc`, `/sys` and the like: nothing in them is the container's.
fn is_kernels(directory: &OwnedFd) -> bool {
    use nix::sys::statfs::{
        CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC,
    };
    let kernels = [
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        DEVPTS_SUPER_MAGIC,
    ];
    fstatfs(directory).is_ok_and(|it| kernels.contains(&it.filesystem_type()))
}
