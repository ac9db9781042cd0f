//! Fills a new volume with what the image has at its target (Docker's "copy-up").
//!
//! The image's layers are put together by the kernel: an overlay, mounted where only one thread
//! sees it. From it everything is copied through directory descriptors, never through paths that
//! the image made: its links can lead nowhere but into itself.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};
use std::thread;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use xattr::FileExt;

use super::{VolumeError, io_error};

/// Deeper directories are refused: the kernel's longest path has at most that many.
const MAX_DEPTH: u32 = 2048;

/// Fills the data directory, unless there is something in it.
pub(super) fn populate(
    volume: &Path,
    data: &Path,
    layers: &[PathBuf],
    target: &str,
) -> Result<(), VolumeError> {
    let marker = volume.join("filling");
    if marker.exists() {
        empty(data).map_err(io_error("empty", data))?;
    }
    if !is_empty(data).map_err(io_error("read", data))? {
        return Ok(());
    }
    File::create(&marker)
        .and_then(|file| file.sync_all())
        .map_err(io_error("create", &marker))?;
    let work = volume.join("image");
    let filled = thread::scope(|scope| scope.spawn(|| fill(&work, data, layers, target)).join());
    let filled = filled.unwrap_or_else(|_| Err(io::Error::other("the copying thread ended early")));
    // Nothing is mounted there in our own namespace.
    let _ = fs::remove_dir(&work);
    filled.map_err(io_error("fill", data))?;
    fs::remove_file(&marker).map_err(io_error("remove", &marker))
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(directory)?.next().is_none())
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Runs on a thread of its own, whose mounts nobody else sees.
fn fill(work: &Path, data: &Path, layers: &[PathBuf], target: &str) -> io::Result<()> {
    let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let image = match merged(layers) {
        Merged::Nothing => return Ok(()),
        Merged::One(layer) => open(layer, directory, Mode::empty())?,
        Merged::Many(layers) => {
            overlay(work, &layers)?;
            open(work, directory, Mode::empty())?
        }
    };
    let path = Path::new(target.trim_start_matches('/'));
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    // The image's links mean what they mean inside it.
    let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let source = match openat2(
        &image,
        path,
        OpenHow::new().flags(directory).resolve(inside),
    ) {
        Ok(source) => source,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    copy_directory(source, open(data, directory, Mode::empty())?, 0)
}

enum Merged<'a> {
    Nothing,
    One(&'a Path),
    Many(Vec<&'a Path>),
}

/// Layers without repetition: the overlay refuses the same directory twice, and what is below
/// itself is hidden anyway.
fn merged(layers: &[PathBuf]) -> Merged<'_> {
    let mut distinct: Vec<&Path> = Vec::new();
    for layer in layers {
        if !distinct.contains(&layer.as_path()) {
            distinct.push(layer);
        }
    }
    match distinct.as_slice() {
        [] => Merged::Nothing,
        [one] => Merged::One(one),
        _ => Merged::Many(distinct),
    }
}

fn overlay(work: &Path, layers: &[&Path]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    // What is mounted from here on stays here.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )?;
    fs::create_dir_all(work)?;
    let open = |layer: &&Path| {
        open(
            *layer,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
    };
    let layers = layers
        .iter()
        .map(open)
        .collect::<Result<Vec<OwnedFd>, Errno>>()?;
    // By descriptor, so that 200 layers fit into the 4096 bytes that mount(2) takes.
    let paths: Vec<String> = layers
        .iter()
        .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()))
        .collect();
    let options = format!("lowerdir={}", paths.join(":"));
    mount(
        Some("overlay"),
        work,
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )?;
    Ok(())
}

fn copy_directory(source: OwnedFd, target: OwnedFd, depth: u32) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories too deep"));
    }
    let status = fstat(&source)?;
    let mut entries = Dir::from_fd(source)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in &names {
        copy_entry(&entries, &target, name, depth)?;
    }
    let source = File::from(entries.as_fd().try_clone_to_owned()?);
    let target = File::from(target);
    copy_metadata(&source, &target, &status)
}

fn copy_entry(from: &Dir, to: &OwnedFd, name: &CStr, depth: u32) -> io::Result<()> {
    let status = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let nofollow = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::S_IRWXU)?;
            let flags = nofollow | OFlag::O_DIRECTORY;
            let source = openat(from, name, flags, Mode::empty())?;
            copy_directory(source, openat(to, name, flags, Mode::empty())?, depth + 1)
        }
        SFlag::S_IFREG => {
            // Not blocking: what was a file a moment ago must not be able to stop us.
            let mut source = File::from(openat(
                from,
                name,
                nofollow | OFlag::O_NONBLOCK,
                Mode::empty(),
            )?);
            let create = nofollow | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let mut target = File::from(openat(to, name, create, Mode::S_IRUSR | Mode::S_IWUSR)?);
            io::copy(&mut source, &mut target)?;
            copy_metadata(&source, &target, &status)
        }
        SFlag::S_IFLNK => {
            let link = readlinkat(from, name)?;
            symlinkat(link.as_os_str(), to, name)?;
            set_owner_and_times(to, name, &status)
        }
        SFlag::S_IFIFO => {
            mknodat(
                to,
                name,
                SFlag::S_IFIFO,
                Mode::from_bits_truncate(status.st_mode),
                0,
            )?;
            set_owner_and_times(to, name, &status)
        }
        // Devices of an image are never brought to life; sockets mean nothing without their process.
        _ => Ok(()),
    }
}

/// For what cannot be opened without consequences.
fn set_owner_and_times(directory: &OwnedFd, name: &CStr, status: &FileStat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    fchownat(
        directory,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    let (accessed, modified) = times(status);
    Ok(utimensat(
        directory,
        name,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?)
}

fn copy_metadata(source: &File, target: &File, status: &FileStat) -> io::Result<()> {
    fchown(target, Some(status.st_uid), Some(status.st_gid))?;
    // After the owner: changing it clears capabilities and set-user-id bits.
    fchmod(target, Mode::from_bits_truncate(status.st_mode))?;
    for name in source.list_xattr()? {
        if is_copied(&name)
            && let Some(value) = source.get_xattr(&name)?
        {
            match target.set_xattr(&name, &value) {
                // The volume's file system may not keep attributes (NFS).
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                result => result?,
            }
        }
    }
    let (accessed, modified) = times(status);
    Ok(futimens(target, &accessed, &modified)?)
}

/// Attributes that belong to the file, not to how it is stored or labelled here.
fn is_copied(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b"trusted.") && name != b"security.selinux"
}

fn times(status: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(status.st_atime, status.st_atime_nsec),
        TimeSpec::new(status.st_mtime, status.st_mtime_nsec),
    )
}
