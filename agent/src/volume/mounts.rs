//! Mounts below a volume's directory: made when it is used, found again by where they are.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, umount2};
use sha2::{Digest, Sha256};

use super::options::MountOptions;
use super::{VolumeError, io_error};

/// Mounts at the data directory what the options say, unless it is mounted already.
pub(super) fn mount(options: &MountOptions, data: &Path) -> Result<(), VolumeError> {
    if mounted_below(data)?.iter().any(|path| path == data) {
        return Ok(());
    }
    let text = with_address(options).map_err(io_error("find the server of", data))?;
    let mount = |flags| {
        nix::mount::mount(
            Some(options.device.as_str()),
            data,
            Some(options.kind.as_str()),
            flags,
            Some(text.as_str()).filter(|text| !text.is_empty()),
        )
    };
    let failed = |errno: Errno| io_error("mount", data)(errno.into());
    mount(options.flags).map_err(failed)?;
    // A bind takes no other flag; a second call sets them (mount(2), "Creating a bind mount").
    if options.flags.contains(MsFlags::MS_BIND) && options.flags != MsFlags::MS_BIND {
        mount(options.flags | MsFlags::MS_REMOUNT).map_err(failed)?;
    }
    Ok(())
}

/// The kernel's NFS client takes addresses only.
fn with_address(options: &MountOptions) -> io::Result<String> {
    if !options.kind.starts_with("nfs") {
        return Ok(options.data.clone());
    }
    let words = options
        .data
        .split(',')
        .map(|word| match word.strip_prefix("addr=") {
            Some(host) => {
                let address = (host, 0).to_socket_addrs()?.next();
                let missing =
                    || io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
                Ok(format!("addr={}", address.ok_or_else(missing)?.ip()))
            }
            None => Ok(word.to_owned()),
        });
    words
        .collect::<io::Result<Vec<_>>>()
        .map(|words| words.join(","))
}

/// Mounts a part of the data at a place of its own, and gives that place.
///
/// The part is looked up once, beneath the data, and mounted through the descriptor: a container
/// that swaps a directory for a link meanwhile changes nothing.
pub(super) fn part(volume: &Path, data: &Path, subpath: &str) -> Result<PathBuf, VolumeError> {
    let found = open_beneath(data, Path::new(subpath.trim_matches('/'))).map_err(|source| {
        VolumeError::Subpath {
            subpath: subpath.to_owned(),
            source,
        }
    })?;
    let mut name = hex::encode(Sha256::digest(subpath));
    name.truncate(16);
    let place = volume.join("subpaths").join(name);
    if mounted_below(&place)?.contains(&place) {
        return Ok(place);
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let make = || {
        if fs::metadata(&source)?.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            fs::create_dir_all(volume.join("subpaths"))?;
            fs::File::create(&place)?;
        }
        nix::mount::mount(
            Some(&source),
            &place,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        Ok(())
    };
    make().map_err(io_error("mount", &place))?;
    Ok(place)
}

/// Opens a path below a directory for nothing but being named; no link leads out.
pub(super) fn open_beneath(directory: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = nix::fcntl::open(
        directory,
        flags | OFlag::O_DIRECTORY,
        nix::sys::stat::Mode::empty(),
    )?;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    Ok(openat2(
        &root,
        path,
        OpenHow::new().flags(flags).resolve(resolve),
    )?)
}

/// Unmounts everything at or below a directory, the last mounted first.
pub(super) fn unmount_below(directory: &Path) -> Result<(), VolumeError> {
    for path in mounted_below(directory)?.iter().rev() {
        match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EBUSY) => return Err(VolumeError::Busy { path: path.clone() }),
            Err(errno) => return Err(io_error("unmount", path)(errno.into())),
        }
    }
    // Whoever asked goes on to delete, so it must be certain.
    match mounted_below(directory)?.into_iter().next() {
        Some(path) => Err(VolumeError::Busy { path }),
        None => Ok(()),
    }
}

/// Mount points at or below a directory, in the order of mounting.
fn mounted_below(directory: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    // The kernel shows paths without links in them.
    let directory = match openat2(
        AT_FDCWD,
        directory,
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC),
    ) {
        Ok(open) => fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd()))
            .map_err(io_error("read", directory))?,
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(io_error("open", directory)(errno.into())),
    };
    let table = Path::new("/proc/thread-self/mountinfo");
    let table = fs::read(table).map_err(io_error("read", table))?;
    Ok(mount_points(&table)
        .filter(|path| path.starts_with(&directory))
        .collect())
}

/// The fifth word of each line (proc_pid_mountinfo(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let word = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(unescape(word))))
    })
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let value =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_odd_letters() {
        let table = b"36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/x rw\n37 36 0:1 / /mnt/a\\134c rw - tmpfs t rw\nbroken\n";
        let found: Vec<_> = mount_points(table).collect();
        assert_eq!(
            found,
            [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/a\\c")]
        );
    }
}
