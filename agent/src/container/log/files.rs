//! The names of a log's files, and how they move: `log` → `log.1` → `log.2` → …

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Readers hold all files open at once; more than this many are never kept.
pub(super) const MAX_FILES: u32 = 256;

/// The name of the file that was current `age` rotations ago.
pub(super) fn name(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Gives every file the next name, and drops those that would be more than `keep` with a new one.
pub(super) fn shift(path: &Path, keep: u32) -> io::Result<()> {
    if keep <= 1 {
        return ignore_missing(fs::remove_file(path));
    }
    for age in (0..keep - 1).rev() {
        ignore_missing(fs::rename(name(path, age), name(path, age + 1)))?;
    }
    Ok(())
}

/// A log file that is open; its inode cannot be given to another file as long as it is.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) inode: u64,
}

/// Opens all files of a log, the oldest first.
///
/// The names are tried from the youngest to the oldest while a writer may move files the other way:
/// so one can be met twice (and is kept once), but none is missed. A move leaves one name unused
/// for a moment, hence a gap is not the end.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<OpenFile>> {
    let mut found: Vec<OpenFile> = Vec::new();
    let mut missing = 0;
    for age in 0..=MAX_FILES {
        let file = match File::open(name(path, age)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing < 2 => {
                missing += 1;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        if !found.iter().any(|known| known.inode == inode) {
            found.push(OpenFile { file, inode });
        }
    }
    found.reverse();
    Ok(found)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
