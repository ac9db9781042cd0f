//! A tree of this host as a tar archive.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};
use thiserror::Error;

/// Whose the copies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Owners {
    Kept,
    /// Of whoever writes them: root in a container.
    Ours,
}

/// What becomes of a link that is itself to be copied. Links below it stay links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Links {
    Kept,
    Followed,
}

#[derive(Debug, Error)]
pub(in crate::commands) enum PackError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot send {path}")]
    Send { path: PathBuf, source: io::Error },
}

/// Writes `source` under `name`. Sockets are left out: nobody listens on a copy of one.
pub(super) fn pack(
    source: &Path,
    name: &Path,
    owners: Owners,
    links: Links,
    out: impl Write,
) -> Result<(), PackError> {
    let all = [(source.to_owned(), name.to_owned())];
    pack_all(&all, owners, links, out)
}

/// Writes each of them under its name.
pub(in crate::commands) fn pack_all(
    all: &[(PathBuf, PathBuf)],
    owners: Owners,
    links: Links,
    out: impl Write,
) -> Result<(), PackError> {
    let mut builder = Builder::new(out);
    let begin = |(source, name): &(PathBuf, PathBuf)| {
        let metadata = match links {
            Links::Followed => fs::metadata(source),
            Links::Kept => fs::symlink_metadata(source),
        };
        (source.clone(), name.clone(), metadata)
    };
    let mut open: Vec<_> = all.iter().map(begin).collect();
    while let Some((path, name, metadata)) = open.pop() {
        let metadata = metadata.map_err(read(&path))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(read(&path))? {
                let entry = entry.map_err(read(&path))?;
                let inner = entry.path();
                let metadata = fs::symlink_metadata(&inner);
                open.push((inner, name.join(entry.file_name()), metadata));
            }
        }
        add(&mut builder, &path, &name, &metadata, owners)?;
    }
    let finished = builder.into_inner().and_then(|mut out| out.flush());
    let first = all.first().map_or(Path::new(""), |(source, _)| source);
    finished.map_err(send(first))
}

fn add(
    builder: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
    owners: Owners,
) -> Result<(), PackError> {
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(metadata, HeaderMode::Complete);
    if owners == Owners::Ours {
        header.set_uid(0);
        header.set_gid(0);
    }
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        return builder
            .append_data(&mut header, name, io::empty())
            .map_err(send(path));
    }
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(read(path))?;
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        return builder
            .append_link(&mut header, name, target)
            .map_err(send(path));
    }
    if kind.is_file() {
        use io::Read;

        let file = File::open(path).map_err(read(path))?;
        // One that shrinks while it is read would break the archive, one that grows is cut.
        let padded = file.chain(io::repeat(0)).take(metadata.len());
        header.set_size(metadata.len());
        return builder
            .append_data(&mut header, name, padded)
            .map_err(send(path));
    }
    Ok(())
}

fn read(path: &Path) -> impl FnOnce(io::Error) -> PackError + use<> {
    let path = path.to_owned();
    move |source| PackError::Read { path, source }
}

fn send(path: &Path) -> impl FnOnce(io::Error) -> PackError + use<> {
    let path = path.to_owned();
    move |source| PackError::Send { path, source }
}
