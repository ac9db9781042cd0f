//! Unpacks a layer into a directory of its own, in the form that overlayfs stacks.
//!
//!     gzip ─► tar ─┬─► hash (the diff id)
//!    (own thread)  └─► openat2 in the layer's directory: files, links, devices, whiteouts
//!
//! Whatever a layer says stays within its directory: parents are opened with `RESOLVE_IN_ROOT`, so the
//! kernel itself keeps symbolic links and `..` inside, the last part of a name is never followed,
//! and what is in the way is removed first. `tar`'s own unpacking is not used.
//!
//! A layer does not depend on those below it: `.wh.name` becomes a character device 0:0 and
//! `.wh..wh..opq` the attribute `trusted.overlay.opaque`, which hide what lies below.
//!
//! Sources: OCI image specification, `layer.md`; kernel, `filesystems/overlayfs.rst`.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::decompress::{decompress, read_ahead};
use super::digest::{Digest, Hashing};
use super::tarball::{Kind, TarError, Tarball};

mod tree;

use tree::Tree;

/// What one layer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Members of the archive.
    pub(crate) entries: u64,
    /// Bytes of the uncompressed archive.
    pub(crate) bytes: u64,
}

impl Default for Limits {
    /// Far above any layer in use, and far below what fills a host from a few megabytes.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: 64 << 30,
        }
    }
}

/// A layer that was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// Bytes of all files.
    pub(crate) size: u64,
}

/// Why a layer cannot be unpacked.
#[derive(Debug, Error)]
pub enum LayerError {
    #[error("no space left on device")]
    NoSpace,
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    #[error("{0}")]
    Tar(String, #[source] Option<io::Error>),
    #[error("the layer's entry `{name}` {what}")]
    Entry { name: String, what: &'static str },
    #[error("cannot unpack the layer's entry `{name}`")]
    Unpack { name: String, source: io::Error },
    #[error("the layer has more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("the layer has more than {limit} bytes when unpacked")]
    TooManyBytes { limit: u64 },
    #[error("unpacking was given up")]
    Cancelled,
}

/// Unpacks the archive that `reader` gives, compressed or not, into the empty directory `into`.
///
/// Blocks. On failure the directory holds what was unpacked so far, for the caller to remove.
/// `progress` hears of the uncompressed bytes.
pub(crate) fn unpack(
    reader: impl Read + Send,
    into: &Path,
    limits: Limits,
    cancelled: &AtomicBool,
) -> Result<Unpacked, LayerError> {
    let content = decompress(reader).map_err(LayerError::read)?;
    std::thread::scope(|scope| {
        let bounded = Bounded {
            inner: read_ahead(scope, content),
            left: limits.bytes,
            limit: limits.bytes,
            cancelled,
        };
        let mut archive = Tarball::new(Hashing::new(bounded));
        let mut tree = Tree::open(into)?;
        let size = entries(&mut archive, &mut tree, limits)?;
        tree.finish()?;
        let (diff_id, _, _) = archive.drain()?.finish();
        Ok(Unpacked { diff_id, size })
    })
}

fn entries<R: Read>(
    archive: &mut Tarball<R>,
    tree: &mut Tree,
    limits: Limits,
) -> Result<u64, LayerError> {
    let (mut count, mut size) = (0, 0);
    while let Some(entry) = archive.next()? {
        count += 1;
        if count > limits.entries {
            return Err(LayerError::TooManyEntries {
                limit: limits.entries,
            });
        }
        if let Kind::File { size: bytes } = entry.kind {
            size += bytes;
        }
        tree.add(&entry, archive)?;
    }
    Ok(size)
}

impl LayerError {
    /// Finds what went wrong under the layers of readers.
    fn read(error: io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            return Self::NoSpace;
        }
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Stop>())
        {
            Some(Stop::Cancelled) => Self::Cancelled,
            Some(Stop::TooManyBytes { limit }) => Self::TooManyBytes { limit: *limit },
            None => Self::Read(error),
        }
    }

    pub(crate) fn unpack(name: &[u8], error: impl Into<io::Error>) -> Self {
        let error = error.into();
        match Self::read(error) {
            Self::Read(source) => Self::Unpack {
                name: shown(name),
                source,
            },
            other => other,
        }
    }

    fn entry(name: &[u8], what: &'static str) -> Self {
        Self::Entry {
            name: shown(name),
            what,
        }
    }
}

impl From<TarError> for LayerError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read(error) => Self::read(error),
            other => Self::Tar(other.to_string(), None),
        }
    }
}

/// The name in an error: without control characters, which a terminal would obey, and not without end.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(256)]).into_owned();
    text.replace(char::is_control, "?")
}

/// Ends a stream that is too long, or that nobody wants any more.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    limit: u64,
    cancelled: &'a AtomicBool,
}

#[derive(Clone, Copy, Debug, Error)]
enum Stop {
    #[error("cancelled")]
    Cancelled,
    #[error("longer than {limit} bytes")]
    TooManyBytes { limit: u64 },
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other(Stop::Cancelled));
        }
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Stop::TooManyBytes { limit: self.limit })),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
