//! Finds a file or directory as an overlay of layers would show it, without mounting anything.
//!
//!     layers, uppermost first      what is looked up        where it is found
//!     a/etc/passwd (0:0)           /etc/passwd              deleted: a whiteout hides b's
//!     b/etc/passwd                 /etc/group               b/etc/group
//!     b/etc/group
//!
//! A name is looked up one component at a time, through directories that are known to be
//! directories; a symbolic link of the image starts over inside the layers and never leaves them.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows. Source: path_resolution(7).
const MAX_LINKS: u32 = 40;

/// Account files are kilobytes; a larger one is not read at all.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the regular file that an overlay of `layers` (uppermost first) has at `path`.
///
/// `None` when there is none, when it is larger than 16 MiB, and when it cannot be read.
pub fn read(layers: &[PathBuf], path: &Path) -> Option<Vec<u8>> {
    let (file, metadata) = find(layers, path)?;
    if metadata.len() > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(file)
        .ok()?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// The directories that make up the directory which an overlay of `layers` (uppermost first) has at
/// `path`, or the one file that it has there; nothing when there is neither.
pub fn parts(layers: &[PathBuf], path: &Path) -> Vec<PathBuf> {
    match walk(layers, path) {
        Some(Found::Directory(merged)) => merged,
        Some(Found::File(file, _)) => vec![file],
        Some(Found::Link(_)) | None => Vec::new(),
    }
}

/// What one component of a path is in the overlay.
enum Found {
    /// The directories that are merged, uppermost first.
    Directory(Vec<PathBuf>),
    File(PathBuf, Metadata),
    Link(PathBuf),
}

fn find(layers: &[PathBuf], path: &Path) -> Option<(PathBuf, Metadata)> {
    match walk(layers, path)? {
        Found::File(file, metadata) => Some((file, metadata)),
        Found::Directory(_) | Found::Link(_) => None,
    }
}

fn walk(layers: &[PathBuf], path: &Path) -> Option<Found> {
    // The merged directories from the root down to where we are, so that `..` is a pop.
    let mut stack = vec![layers.to_vec()];
    let mut todo = components(path);
    let mut links = 0;
    while let Some(step) = todo.pop() {
        let Step::Into(name) = step else {
            stack.truncate(if matches!(step, Step::Root) {
                1
            } else {
                (stack.len() - 1).max(1)
            });
            continue;
        };
        match look_up(stack.last()?, &name)? {
            Found::Directory(merged) => stack.push(merged),
            Found::File(file, metadata) => {
                return todo.is_empty().then_some(Found::File(file, metadata));
            }
            Found::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                todo.extend(components(&target));
            }
        }
    }
    stack.pop().map(Found::Directory)
}

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// The steps of a path, the last first.
fn components(path: &Path) -> Vec<Step> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::RootDir => Some(Step::Root),
            Component::ParentDir => Some(Step::Up),
            Component::Normal(name) => Some(Step::Into(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Looks one name up in merged directories, as overlayfs does.
fn look_up(merged: &[PathBuf], name: &OsString) -> Option<Found> {
    let mut directories = Vec::new();
    for directory in merged {
        let path = directory.join(name);
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            let opaque = is_opaque(&path);
            directories.push(path);
            if opaque {
                break;
            }
            continue;
        }
        // Anything else ends a merge, and is seen only when no directory lies above it. A whiteout
        // (a character device 0:0) is seen as nothing.
        let whiteout = kind.is_char_device() && metadata.rdev() == 0;
        if !directories.is_empty() || whiteout {
            break;
        }
        if kind.is_symlink() {
            return fs::read_link(path).ok().map(Found::Link);
        }
        return kind.is_file().then_some(Found::File(path, metadata));
    }
    (!directories.is_empty()).then_some(Found::Directory(directories))
}

fn is_opaque(directory: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| xattr::get(directory, name).is_ok_and(|value| value.as_deref() == Some(b"y")))
}

#[cfg(test)]
mod tests;
