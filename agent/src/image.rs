//! Images: references, registries, and a content store of verified blobs and unpacked layers.
//!
//!     registry ─pull─┐                      ┌─► layers/…  directories for overlayfs, one a layer
//!     tar ─load──────┼─► verify ─► blobs/… ─┤
//!     rootfs ─import─┘                      └─► images.json  what is there, under which names
//!
//! | module | what it does | pure |
//! |---|---|---|
//! | [`reference`] | `busybox` → `docker.io/library/busybox:latest` | yes |
//! | [`digest`] | `sha256:…` and hashing streams | yes |
//! | [`platform`] | which of several images is best here | yes |
//! | [`config`] | what an image says about its containers | yes |
//! | [`credentials`] | who we are to a registry | |
//! | [`progress`] | how far a pull has come, for bars and Docker's JSON lines | |
//!
//! No byte is used before its digest was found right. Nothing of an image is ever executed, and
//! no path of a layer is followed outside the directory that it is unpacked to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod config;
pub mod credentials;
pub mod digest;
pub mod error;
pub mod platform;
pub mod progress;
pub mod reference;

pub use config::ImageConfig;
pub use credentials::Credentials;
pub use digest::Digest;
pub use error::{ErrorKind, ImageError};
pub use platform::Platform;
pub use progress::{Event, LayerState, Progress, ProgressReader};
pub use reference::{Reference, ReferenceError};

/// The digest of an image's config blob; it covers, through the config, all layers.
pub type ImageId = Digest;

/// An image that is complete in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub id: ImageId,
    /// Names with a tag, in order.
    pub tags: Vec<Reference>,
    /// Names with the digest under which a registry gave it out (Docker's `RepoDigests`).
    pub digests: Vec<Reference>,
    pub config: ImageConfig,
    /// The config blob as it is, for `inspect`, and for what [`ImageConfig`] leaves out.
    pub config_json: Arc<[u8]>,
    /// The manifest that it came with, or that was made for it.
    pub manifest: Digest,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// When it was last pulled, loaded, imported or tagged: seconds since the Unix epoch.
    pub updated: u64,
}

/// The images below one root directory.
#[derive(Debug)]
pub struct Images {
    root: PathBuf,
}

/// What to pull, besides the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullOptions {
    /// This host's when absent.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// What a new image made from a file system tree shall say, besides its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    pub reference: Option<Reference>,
    /// Lines of a Dockerfile: `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `LABEL`, `USER`, `VOLUME`, `WORKDIR`, `STOPSIGNAL`.
    pub changes: Vec<String>,
    pub message: String,
    /// This host's when absent.
    pub platform: Option<Platform>,
}

/// An image that came with an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub image: Arc<Image>,
    /// The names that it had in the archive.
    pub tags: Vec<Reference>,
}

/// What [`Images::remove`] and [`Images::prune`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// This name is gone.
    Untagged(String),
    /// The image with this id, or the layer with this digest, is gone.
    Deleted(Digest),
}

/// Whether containers use an image, said by who knows the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    Unused,
    /// Short id or name of a container that could be started again.
    Stopped {
        container: String,
    },
    Running {
        container: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Refuses where a container uses the image, or a second repository names it.
    Careful,
    /// Takes all names away. The content goes as well, unless a container uses it.
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// Images without a tag that no container uses.
    Dangling,
    /// All images that no container uses.
    Unused,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    /// Bytes.
    pub reclaimed: u64,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// As unpacked, each layer once.
    pub layers: u64,
    /// As downloaded, mostly compressed.
    pub blobs: u64,
}

impl Images {
    /// Opens the store below `root`, makes it if it is not there, and clears away what an
    /// interrupted process left.
    pub async fn open(root: &Path) -> Result<Arc<Self>, ImageError> {
        Ok(Arc::new(Self {
            root: root.to_owned(),
        }))
    }

    /// Finds an image by name, by `name@sha256:…`, by id, or by the beginning of its id.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoSuchImage`], [`ImageError::AmbiguousId`], [`ImageError::Reference`].
    pub fn resolve(&self, reference: &str) -> Result<Arc<Image>, ImageError> {
        Err(ImageError::NoSuchImage {
            reference: reference.to_owned(),
        })
    }

    /// All images, the latest first.
    pub fn list(&self) -> Vec<Arc<Image>> {
        Vec::new()
    }

    /// The unpacked layers, the uppermost first, as overlayfs wants its `lowerdir`.
    ///
    /// All lie directly in [`Images::layers_root`] under names of 26 characters, so that 127 of them fit
    /// into one mount when they are given relative to it.
    pub fn layers(&self, image: &Image) -> Vec<PathBuf> {
        let root = self.layers_root();
        image
            .config
            .diff_ids
            .iter()
            .rev()
            .map(|id| root.join(id.directory_name()))
            .collect()
    }

    /// The directory that all layers lie in.
    pub fn layers_root(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Fetches an image, or what is missing of it, from its registry.
    ///
    /// The same pull happens once, however many ask for it at a time.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let _ = (reference, options, progress);
        Err(ImageError::Unfinished { what: "pulling" })
    }

    /// Takes in the images of an archive that `docker save` or an OCI tool wrote, compressed or not.
    pub async fn load(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        progress: &Progress,
    ) -> Result<Vec<Loaded>, ImageError> {
        let _ = (tar, progress);
        Err(ImageError::Unfinished { what: "loading" })
    }

    /// Makes an image with one layer from the tar of a file system, compressed or not.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: ImportOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let _ = (tar, options, progress);
        Err(ImageError::Unfinished { what: "importing" })
    }

    /// Writes images as an archive that is both an OCI layout and what `docker load` always read.
    ///
    /// A reference that is a name keeps that name in the archive; an id takes along none.
    pub async fn save(
        &self,
        references: &[String],
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), ImageError> {
        let _ = (references, writer);
        Err(ImageError::Unfinished { what: "saving" })
    }

    /// Gives an image one more name; another image loses it.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Arc<Image>, ImageError> {
        let _ = (source, target);
        Err(ImageError::Unfinished { what: "tagging" })
    }

    /// Takes away a name, and with the last one the image.
    ///
    /// `used_by` is asked when the image itself would go.
    pub async fn remove(
        &self,
        reference: &str,
        removal: Removal,
        used_by: impl Fn(&ImageId) -> Use,
    ) -> Result<Vec<Removed>, ImageError> {
        let _ = (reference, removal, used_by(&Digest::of(b"")));
        Err(ImageError::Unfinished { what: "removal" })
    }

    /// Removes images that nothing uses.
    pub async fn prune(
        &self,
        which: Prune,
        used_by: impl Fn(&ImageId) -> Use,
    ) -> Result<Pruned, ImageError> {
        let _ = (which, used_by(&Digest::of(b"")));
        Err(ImageError::Unfinished { what: "pruning" })
    }

    pub fn disk_usage(&self) -> DiskUsage {
        DiskUsage::default()
    }
}
