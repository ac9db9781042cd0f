//! Where images lie on disk, and how they come to lie there whole.
//!
//!     blobs/sha256/<hex>   configs, manifests, layers as downloaded
//!     layers/<26 chars>/   unpacked layers, as overlayfs takes them
//!     images.json          the catalogue: what is not in it is not there
//!     tmp/                 whatever is not finished; emptied when the store is opened
//!
//! Everything is made in `tmp` and renamed to its place once it was verified, and the catalogue is
//! written last, after the file system was told to write the rest: a crash loses the newest image,
//! never a part of one. Only root may enter: layers have set-uid programs (CVE-2021-41091).
//!
//! All calls block.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tempfile::{NamedTempFile, TempDir, TempPath};
use thiserror::Error;

use super::catalogue::Catalogue;
use super::digest::Digest;
use super::layer::{self, LayerError, Limits, Unpacked};

/// Why the store could not keep or give something.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("no space left on device while {doing}")]
    NoSpace { doing: String },
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "the list of images {path} is damaged; restore it, or move it away to begin with no images"
    )]
    Catalogue {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{what} should have digest {expected} but has {found}")]
    Digest {
        what: String,
        expected: Digest,
        found: Digest,
    },
    #[error("cannot unpack layer {layer}")]
    Layer { layer: Digest, source: LayerError },
}

#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, or makes one, and reads its catalogue.
    pub(crate) fn open(root: &Path) -> Result<(Self, Catalogue), StoreError> {
        let store = Self {
            root: root.to_owned(),
        };
        let tmp = store.root.join("tmp");
        if tmp.exists() {
            fs::remove_dir_all(&tmp).map_err(|error| failed("empty", &tmp, error))?;
        }
        for directory in [
            store.root.clone(),
            tmp,
            store.layers_root(),
            store.root.join("blobs/sha256"),
        ] {
            fs::create_dir_all(&directory).map_err(|error| failed("create", &directory, error))?;
        }
        for directory in ["", "tmp", "layers", "blobs"] {
            let path = store.root.join(directory);
            // Also after an upgrade, or when the directory was there before.
            let mode = Permissions::from_mode(0o700);
            fs::set_permissions(&path, mode).map_err(|error| failed("close", &path, error))?;
        }
        let path = store.root.join("images.json");
        let catalogue = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|source| StoreError::Catalogue { path, source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Catalogue::default(),
            Err(error) => return Err(failed("read", &path, error)),
        };
        Ok((store, catalogue))
    }

    pub(crate) fn layers_root(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layers_root().join(diff_id.directory_name())
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// A file that vanishes unless [`Store::keep`] gives it a place.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let tmp = self.root.join("tmp");
        NamedTempFile::new_in(&tmp).map_err(|error| failed("write to", &tmp, error))
    }

    /// A second name for a temporary file, which vanishes like [`Store::temporary`]'s.
    pub(crate) fn link(&self, file: &Path) -> Result<TempPath, StoreError> {
        let tmp = self.root.join("tmp");
        tempfile::Builder::new()
            .make_in(&tmp, |path| fs::hard_link(file, path))
            .map(NamedTempFile::into_temp_path)
            .map_err(|error| failed("write to", &tmp, error))
    }

    /// Makes a blob of a file whose content was found to have this digest.
    pub(crate) fn keep(&self, file: TempPath, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        file.persist(&path)
            .map_err(|error| failed("write", &path, error.error))
    }

    pub(crate) fn put(&self, content: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(content);
        let mut file = self.temporary()?;
        file.write_all(content)
            .map_err(|error| failed("write", file.path(), error))?;
        self.keep(file.into_temp_path(), &digest)?;
        Ok(digest)
    }

    /// Reads a small blob, and checks it again.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let content = fs::read(&path).map_err(|error| failed("read", &path, error))?;
        let found = Digest::of(&content);
        match found == *digest {
            true => Ok(content),
            false => Err(StoreError::Digest {
                what: path.display().to_string(),
                expected: *digest,
                found,
            }),
        }
    }

    /// Unpacks a layer and puts it in its place, if its content is what `expected` says.
    pub(crate) fn unpack(
        &self,
        blob: impl Read + Send,
        name: &Digest,
        expected: Option<&Digest>,
        limits: Limits,
        cancelled: &AtomicBool,
    ) -> Result<Unpacked, StoreError> {
        let tmp = self.root.join("tmp");
        // Removed again on every way out but the last.
        let directory = TempDir::new_in(&tmp).map_err(|error| failed("write to", &tmp, error))?;
        let unpacked = layer::unpack(blob, directory.path(), limits, cancelled).map_err(
            |source| match source {
                LayerError::NoSpace => StoreError::NoSpace {
                    doing: format!("unpacking layer {name}"),
                },
                source => StoreError::Layer {
                    layer: *name,
                    source,
                },
            },
        )?;
        if let Some(expected) = expected.filter(|expected| **expected != unpacked.diff_id) {
            let what = format!("the content of layer {name}");
            return Err(StoreError::Digest {
                what,
                expected: *expected,
                found: unpacked.diff_id,
            });
        }
        let path = self.layer_path(&unpacked.diff_id);
        match fs::rename(directory.path(), &path) {
            // Left by a crash between here and the catalogue, or unpacked twice: the same content.
            Err(_) if path.is_dir() => {}
            Err(error) => return Err(failed("create", &path, error)),
            Ok(()) => {
                let _moved = directory.keep();
            }
        }
        Ok(unpacked)
    }

    /// Writes the catalogue, after everything that it names.
    pub(crate) fn commit(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        let path = self.root.join("images.json");
        let failed = |error: io::Error| failed("write", &path, error);
        let root = File::open(&self.root).map_err(failed)?;
        nix::unistd::syncfs(&root).map_err(|error| failed(error.into()))?;
        let json = serde_json::to_vec(catalogue).map_err(|error| failed(error.into()))?;
        let mut file = self.temporary()?;
        file.write_all(&json)
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        root.sync_all().map_err(failed)
    }

    /// Whether all that an image needs is there, without looking into it.
    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).is_dir()
    }

    /// Takes images out of a catalogue whose layers are not on disk any more; they can be pulled again.
    pub(crate) fn forget_incomplete(&self, catalogue: &mut Catalogue) {
        let has_all = |image: &super::catalogue::ImageRecord| {
            image
                .diff_ids
                .iter()
                .all(|layer| catalogue.layers.contains_key(layer) && self.has_layer(layer))
        };
        let broken: Vec<Digest> = catalogue
            .images
            .iter()
            .filter(|(_, image)| !has_all(image))
            .map(|(id, _)| *id)
            .collect();
        for id in broken {
            tracing::warn!(image = %id, "a layer of this image is missing, it must be pulled again");
            catalogue.images.remove(&id);
            catalogue.names.retain(|_, of| *of != id);
        }
    }

    /// Removes blobs and layers that nothing in the catalogue stands on. Returns the bytes of blobs.
    ///
    /// Goes on after failures: what is left is found again by the next sweep.
    pub(crate) fn sweep(&self, catalogue: &Catalogue) -> u64 {
        let blobs: std::collections::BTreeSet<String> =
            catalogue.blobs_in_use().iter().map(Digest::hex).collect();
        let layers: std::collections::BTreeSet<String> = catalogue
            .layers_in_use()
            .iter()
            .map(Digest::directory_name)
            .collect();
        let mut freed = 0;
        for (path, name) in names(&self.root.join("blobs/sha256")) {
            if !blobs.contains(&name) {
                freed += fs::metadata(&path).map_or(0, |meta| meta.len());
                warn_unless_removed(&path, fs::remove_file(&path));
            }
        }
        for (path, name) in names(&self.layers_root()) {
            if !layers.contains(&name) {
                warn_unless_removed(&path, fs::remove_dir_all(&path));
            }
        }
        freed
    }

    /// Bytes of all blobs.
    pub(crate) fn blob_bytes(&self) -> u64 {
        let blobs = names(&self.root.join("blobs/sha256"));
        blobs
            .iter()
            .map(|(path, _)| fs::metadata(path).map_or(0, |meta| meta.len()))
            .sum()
    }
}

fn names(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            )
        })
        .collect()
}

fn warn_unless_removed(path: &Path, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(path = %path.display(), %error, "cannot remove unused image content");
    }
}

pub(crate) fn failed(doing: &'static str, path: &Path, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace {
            doing: format!("trying to {doing} {}", path.display()),
        },
        _ => StoreError::Io {
            doing,
            path: path.to_owned(),
            source,
        },
    }
}
