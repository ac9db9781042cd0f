//! A tar archive of a container, unpacked where `cp` would put it.
//!
//! Nothing is written outside of the destination, whatever the archive says: names that lead out
//! and links in the way are refused by [`tar::Entry::unpack_in`].

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::Archive;
use thiserror::Error;

use super::pack::Owners;
use super::place::means_content;

#[derive(Debug, Error)]
pub(super) enum UnpackError {
    #[error("the archive from the container broke off")]
    Archive(#[source] io::Error),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0} is in the archive and leads out of the destination")]
    Escapes(PathBuf),
    #[error("{0} is not a directory")]
    NoDirectory(PathBuf),
    #[error("{0} is a file, and what is copied is a directory")]
    DirectoryOverFile(PathBuf),
    #[error("there is nothing in the archive")]
    Empty,
}

/// `source` is the path in the container, as it was written.
pub(super) fn unpack(
    archive: impl Read,
    source: &str,
    destination: &str,
    owners: Owners,
) -> Result<(), UnpackError> {
    let to = PathBuf::from(destination);
    if to.is_dir() {
        return extract(archive, &to, owners);
    }
    if means_content(source) && !to.exists() {
        fs::create_dir(&to).map_err(write(&to))?;
        return extract(archive, &to, owners);
    }
    under_another_name(archive, &to, destination.ends_with('/'), owners)
}

/// Unpacks beside the destination and renames: it is there as a whole, or not at all.
fn under_another_name(
    archive: impl Read,
    to: &Path,
    wants_directory: bool,
    owners: Owners,
) -> Result<(), UnpackError> {
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = parent.join(format!(".wharfie-cp-{}", std::process::id()));
    fs::create_dir(&beside).map_err(write(&beside))?;
    let moved = extract(archive, &beside, owners).and_then(|()| {
        let mut found = fs::read_dir(&beside).map_err(write(&beside))?;
        let found = found.next().ok_or(UnpackError::Empty)?;
        let found = found.map_err(write(&beside))?.path();
        let is_directory = found.is_dir() && !found.is_symlink();
        match () {
            () if is_directory && to.exists() => Err(UnpackError::DirectoryOverFile(to.to_owned())),
            () if wants_directory && !is_directory => Err(UnpackError::NoDirectory(to.to_owned())),
            () => fs::rename(&found, to).map_err(write(to)),
        }
    });
    // What could not be moved is not kept; what could is not in there any more.
    let _ = fs::remove_dir_all(&beside);
    moved
}

fn extract(archive: impl Read, to: &Path, owners: Owners) -> Result<(), UnpackError> {
    let mut archive = Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(owners == Owners::Kept);
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        let mut entry = entry.map_err(UnpackError::Archive)?;
        let name = entry.path().map_err(UnpackError::Archive)?.into_owned();
        let path = to.join(&name);
        if !entry.unpack_in(to).map_err(write(&path))? {
            return Err(UnpackError::Escapes(name));
        }
    }
    Ok(())
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> UnpackError + use<> {
    let path = path.to_owned();
    move |source| UnpackError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cp::pack::{Links, pack};

    /// A tree, packed as a container would send `source`, and unpacked at `destination`.
    #[track_caller]
    fn check(source: &str, destination: &str, expected: Result<&str, &str>) {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        fs::create_dir_all(at("from/tree")).unwrap();
        fs::write(at("from/tree/leaf"), "green").unwrap();
        fs::write(at("from/file"), "text").unwrap();
        fs::create_dir(at("there")).unwrap();
        fs::write(at("taken"), "old").unwrap();
        let name = match means_content(source) {
            true => Path::new("."),
            false => Path::new(source.rsplit('/').next().unwrap()),
        };
        let mut bytes = Vec::new();
        pack(
            &at("from").join(source),
            name,
            Owners::Ours,
            Links::Kept,
            &mut bytes,
        )
        .unwrap();
        let to = format!("{}/{destination}", place.path().display());
        let unpacked = unpack(bytes.as_slice(), source, &to, Owners::Ours);
        match (unpacked, expected) {
            (Ok(()), Ok(path)) => assert!(at(path).is_file(), "{path} is not there"),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (Ok(()), Err(text)) => panic!("went well: {text}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
        let left = fs::read_dir(place.path()).unwrap();
        let left = left.filter(|it| {
            let name = it.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with(".wharfie")
        });
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_copy_lands_where_cp_would_put_it() {
        check("file", "there", Ok("there/file"));
        check("file", "new", Ok("new"));
        check("file", "taken", Ok("taken"));
        check("tree", "there", Ok("there/tree/leaf"));
        check("tree", "new", Ok("new/leaf"));
        check("tree/.", "there", Ok("there/leaf"));
        check("tree/.", "new", Ok("new/leaf"));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        check("tree", "taken", Err("is a file"));
        check("file", "new/", Err("not a directory"));
        check("file", "no/such", Err("cannot write"));
    }

    #[test]
    fn an_archive_that_leads_out_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        header.as_gnu_mut().unwrap().name[..6].copy_from_slice(b"../out");
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let inner = place.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let unpacked = unpack(bytes.as_slice(), "x", inner.to_str().unwrap(), Owners::Ours);
        assert!(matches!(unpacked, Err(UnpackError::Escapes(_))));
        assert!(!place.path().join("out").exists());
    }
}
