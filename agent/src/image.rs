//! Images: references, registries, and a content store of verified blobs and unpacked layers.
//!
//!     registry ─pull─┐
//!     hosts ─take────┤                      ┌─► layers/…  directories for overlayfs, one a layer
//!     tar ─load──────┼─► verify ─► blobs/… ─┤
//!     rootfs ─import─┘                      └─► images.json  what is there, under which names
//!
//! | module | what it does | pure |
//! |---|---|---|
//! | [`reference`] | `busybox` → `docker.io/library/busybox:latest` | yes |
//! | [`digest`] | `sha256:…` and hashing streams | yes |
//! | [`artifact`] | what a registry holds that is no image | |
//! | [`peer`] | taking an image over from other hosts, whatever the way to them | |
//! | [`platform`] | which of several images is best here | yes |
//! | [`config`] | what an image says about its containers | yes |
//! | [`credentials`] | who we are to a registry | |
//! | [`progress`] | how far a pull has come, for bars and Docker's JSON lines | |
//!
//! No byte is used before its digest was found right. Nothing of an image is ever executed, and
//! no path of a layer is followed outside the directory that it is unpacked to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

mod archive;
pub mod artifact;
mod catalogue;
pub mod config;
pub mod credentials;
pub(crate) mod decompress;
pub mod digest;
pub mod error;
mod layer;
mod manifest;
pub mod peer;
pub mod platform;
pub mod progress;
mod pull;
pub mod reference;
mod registry;
mod store;
pub(crate) mod tarball;

pub use archive::ArchiveError;
pub use config::{Defaults, ImageConfig};
pub use credentials::Credentials;
pub use digest::Digest;
pub use error::{ErrorKind, ImageError};
pub use layer::LayerError;
pub use manifest::ManifestError;
pub use peer::{Holders, Missed, Offer, Pieces, TakeError};
pub use platform::Platform;
pub use progress::{Event, LayerState, Progress, ProgressReader};
pub use reference::{Reference, ReferenceError};
pub use registry::{RegistryError, Trust};
pub use store::StoreError;

use catalogue::{Catalogue, LayerRecord};
use layer::Limits;
use manifest::Descriptor;
use store::Store;

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
    pub config: Arc<ImageConfig>,
    /// The config blob as it is, for `inspect`, and for what [`ImageConfig`] leaves out.
    pub config_json: Arc<[u8]>,
    /// The manifest that it came with, or that was made for it.
    pub manifest: Digest,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// When it was last pulled, loaded, imported or tagged: seconds since the Unix epoch.
    pub updated: u64,
}

/// Downloads at a time, over all pulls; as many as Docker.
const DOWNLOADS: usize = 3;
/// Layers unpacked at a time: each keeps two threads busy.
const UNPACKS: usize = 2;
/// The wait before the second attempt of a request.
const PATIENCE: Duration = Duration::from_millis(500);

/// The images below one root directory.
pub struct Images {
    store: Arc<Store>,
    limits: Limits,
    patience: Duration,
    /// What readers see; replaced as a whole.
    view: RwLock<Arc<View>>,
    /// Layers that are unpacked and not yet in a written catalogue.
    fresh: Mutex<BTreeMap<Digest, LayerRecord>>,
    /// One change of the catalogue at a time.
    changing: tokio::sync::Mutex<()>,
    /// Held for reading by what adds content, and for writing by what removes it.
    sweeping: tokio::sync::RwLock<()>,
    layer_locks: Mutex<HashMap<Digest, std::sync::Weak<tokio::sync::Mutex<()>>>>,
    pulls: Mutex<Vec<InFlight>>,
    downloads: Semaphore,
    unpacks: Semaphore,
    client: Mutex<Option<reqwest::Client>>,
    trust: Trust,
}

/// The catalogue, and its images parsed.
#[derive(Default)]
struct View {
    catalogue: Catalogue,
    images: BTreeMap<ImageId, Arc<Image>>,
}

type PullOutcome = Result<Arc<Image>, Arc<ImageError>>;

/// A pull that others may join.
struct InFlight {
    reference: Reference,
    options: PullOptions,
    /// Not the writing end, which would keep its readers waiting.
    progress: ProgressReader,
    outcome: WeakShared<BoxFuture<'static, PullOutcome>>,
}

/// What to pull, besides the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullOptions {
    /// This host's when absent.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
    /// Only this image will do, whatever the name means by now.
    pub expected: Option<ImageId>,
}

/// What a registry means by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// Of the image for one platform.
    pub id: ImageId,
    /// Of what the name stands for, on all platforms.
    pub digest: Digest,
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
    ///
    /// One process at a time may have a store open.
    pub async fn open(root: &Path, trust: Trust) -> Result<Arc<Self>, ImageError> {
        Self::open_with(root, trust, Limits::default(), PATIENCE).await
    }

    async fn open_with(
        root: &Path,
        trust: Trust,
        limits: Limits,
        patience: Duration,
    ) -> Result<Arc<Self>, ImageError> {
        let root = root.to_owned();
        let (store, view) = pull::blocking(move || {
            let (store, mut catalogue) = Store::open(&root)?;
            store.forget_incomplete(&mut catalogue);
            let view = View::new(&store, catalogue, &View::default());
            store.sweep(&view.catalogue);
            Ok((store, view))
        })
        .await?;
        Ok(Arc::new(Self {
            store: Arc::new(store),
            limits,
            patience,
            view: RwLock::new(Arc::new(view)),
            fresh: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            sweeping: tokio::sync::RwLock::default(),
            layer_locks: Mutex::default(),
            pulls: Mutex::default(),
            downloads: Semaphore::new(DOWNLOADS),
            unpacks: Semaphore::new(UNPACKS),
            client: Mutex::default(),
            trust,
        }))
    }

    /// Finds an image by name, by `name@sha256:…`, by id, or by the beginning of its id.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoSuchImage`], [`ImageError::AmbiguousId`], [`ImageError::Reference`].
    pub fn resolve(&self, reference: &str) -> Result<Arc<Image>, ImageError> {
        let found = self.view().catalogue.find(reference)?;
        self.image(&found.id)
    }

    /// All images, the latest first.
    pub fn list(&self) -> Vec<Arc<Image>> {
        let mut images: Vec<_> = self.view().images.values().cloned().collect();
        images.sort_by(|a, b| {
            b.config
                .created
                .cmp(&a.config.created)
                .then(a.id.cmp(&b.id))
        });
        images
    }

    /// The unpacked layers, the uppermost first, as overlayfs wants its `lowerdir`.
    ///
    /// All lie directly in [`Images::layers_root`] under names of 26 characters, so that 127 of them fit
    /// into one mount when they are given relative to it.
    pub fn layers(&self, image: &Image) -> Vec<PathBuf> {
        image
            .config
            .diff_ids
            .iter()
            .rev()
            .map(|id| self.store.layer_path(id))
            .collect()
    }

    /// The directory that all layers lie in.
    pub fn layers_root(&self) -> PathBuf {
        self.store.layers_root()
    }

    /// Fetches an image, or what is missing of it, from its registry.
    ///
    /// The same pull happens once, however many ask for it at a time; it ends when all of them gave up.
    pub async fn pull(
        self: &Arc<Self>,
        reference: &Reference,
        options: PullOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let (outcome, reader) = self.join_or_start(reference, options, progress);
        let outcome = match reader {
            None => outcome.await,
            Some(reader) => {
                let follow = progress.follow(reader);
                tokio::pin!(follow);
                tokio::select! {
                    outcome = outcome.clone() => outcome,
                    () = &mut follow => outcome.await,
                }
            }
        };
        outcome.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(ImageError::Shared))
    }

    /// The pull that is under way for the same, with its progress, or a new one.
    fn join_or_start(
        self: &Arc<Self>,
        reference: &Reference,
        options: PullOptions,
        progress: &Progress,
    ) -> (
        Shared<BoxFuture<'static, PullOutcome>>,
        Option<ProgressReader>,
    ) {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|pull| {
            pull.outcome
                .upgrade()
                .is_some_and(|outcome| outcome.peek().is_none())
        });
        let same = pulls
            .iter()
            .find(|pull| pull.reference == *reference && pull.options == options);
        if let Some((pull, outcome)) = same.and_then(|pull| Some((pull, pull.outcome.upgrade()?))) {
            return (outcome, Some(pull.progress.clone()));
        }
        let (images, name, wish, board) = (
            self.clone(),
            reference.clone(),
            options.clone(),
            progress.clone(),
        );
        let work = async move {
            images
                .pull_alone(&name, &wish, &board)
                .await
                .map_err(Arc::new)
        };
        let outcome = work.boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            let (reference, progress) = (reference.clone(), progress.reader());
            pulls.push(InFlight {
                reference,
                options,
                progress,
                outcome: weak,
            });
        }
        (outcome, None)
    }

    /// Takes in the images of an archive that `docker save` or an OCI tool wrote, compressed or not.
    pub async fn load(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        progress: &Progress,
    ) -> Result<Vec<Loaded>, ImageError> {
        self.load_archive(tar, progress).await
    }

    /// Makes an image with one layer from the tar of a file system, compressed or not.
    pub async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: ImportOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        self.import_tree(tar, options, progress).await
    }

    /// Writes images as an archive that is both an OCI layout and what `docker load` always read.
    ///
    /// A reference that is a name keeps that name in the archive; an id takes along none.
    pub async fn save(
        &self,
        references: &[String],
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), ImageError> {
        self.save_archive(references, writer).await
    }

    /// Gives an image one more name; another image loses it.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Arc<Image>, ImageError> {
        let id = self.resolve(source)?.id;
        let Some(name) = target.tag().and_then(|tag| target.with_tag(tag).ok()) else {
            return Err(ImageError::DigestTag {
                reference: target.to_string(),
            });
        };
        self.change(move |catalogue| match catalogue.images.get_mut(&id) {
            Some(image) => {
                image.updated = pull::now();
                catalogue.names.insert(name, id);
                Ok(())
            }
            None => Err(ImageError::NoSuchImage {
                reference: id.to_string(),
            }),
        })
        .await?;
        self.image(&id)
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
        let removed = self
            .change(|catalogue| catalogue.remove(reference, removal, &used_by))
            .await?;
        self.sweep().await;
        Ok(removed)
    }

    /// Removes images that nothing uses.
    pub async fn prune(
        &self,
        which: Prune,
        used_by: impl Fn(&ImageId) -> Use,
    ) -> Result<Pruned, ImageError> {
        let before = self.disk_usage().layers;
        let removed = self
            .change(|catalogue| {
                let mut removed = Vec::new();
                for id in catalogue.images.keys().copied().collect::<Vec<_>>() {
                    let names = catalogue.names_of(&id);
                    let dangling = !names.iter().any(|name| name.tag().is_some());
                    if (dangling || which == Prune::Unused) && used_by(&id) == Use::Unused {
                        catalogue.names.retain(|_, of| *of != id);
                        removed
                            .extend(names.iter().map(|name| Removed::Untagged(name.to_string())));
                        removed.extend(catalogue.delete(id));
                    }
                }
                Ok(removed)
            })
            .await?;
        let blobs = self.sweep().await;
        let layers = before.saturating_sub(self.disk_usage().layers);
        Ok(Pruned {
            removed,
            reclaimed: blobs + layers,
        })
    }

    pub fn disk_usage(&self) -> DiskUsage {
        let view = self.view();
        let layers = view.catalogue.layers_in_use();
        let sizes = layers
            .iter()
            .filter_map(|layer| view.catalogue.layers.get(layer))
            .map(|layer| layer.size);
        DiskUsage {
            layers: sizes.sum(),
            blobs: self.store.blob_bytes(),
        }
    }

    fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn image(&self, id: &ImageId) -> Result<Arc<Image>, ImageError> {
        let image = self.view().images.get(id).cloned();
        image.ok_or_else(|| ImageError::NoSuchImage {
            reference: id.to_string(),
        })
    }

    fn has_layer(&self, diff_id: &Digest) -> bool {
        let known = self.view().catalogue.layers.contains_key(diff_id)
            || self
                .fresh
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(diff_id);
        known && self.store.has_layer(diff_id)
    }

    /// What a layer that is here was unpacked from.
    fn blob_of(&self, diff_id: &Digest) -> Option<Descriptor> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = fresh.get(diff_id).map(|layer| layer.blob.clone());
        fresh.or_else(|| Some(self.view().catalogue.layers.get(diff_id)?.blob.clone()))
    }

    /// Remembers a layer until the next change of the catalogue writes it down.
    fn note_layer(&self, diff_id: Digest, record: LayerRecord) {
        self.fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(diff_id, record);
    }

    fn layer_lock(&self, diff_id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .layer_locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(diff_id).and_then(std::sync::Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::default());
        locks.insert(*diff_id, Arc::downgrade(&lock));
        lock
    }

    /// Changes the catalogue: on disk first, then for readers.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Catalogue) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let _changing = self.changing.lock().await;
        let old = self.view();
        let mut catalogue = old.catalogue.clone();
        let fresh = self
            .fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        catalogue.layers.extend(fresh);
        let outcome = change(&mut catalogue)?;
        let store = self.store.clone();
        let new = pull::blocking(move || {
            let new = View::new(&store, catalogue, &old);
            store.commit(&new.catalogue)?;
            Ok(new)
        })
        .await?;
        // Layers of another pull that goes on are in no image yet, and wait for its own change.
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.retain(|diff_id, _| !new.catalogue.layers.contains_key(diff_id));
        drop(fresh);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(outcome)
    }

    /// Removes content that no image needs, unless images are being added: then a later sweep does.
    async fn sweep(&self) -> u64 {
        let Ok(_alone) = self.sweeping.try_write() else {
            return 0;
        };
        let _changing = self.changing.lock().await;
        self.fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let (store, view) = (self.store.clone(), self.view());
        let swept = pull::blocking(move || Ok(store.sweep(&view.catalogue))).await;
        swept.unwrap_or(0)
    }

    fn client(&self) -> Result<reqwest::Client, ImageError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(registry::client()?).clone()),
        }
    }
}

impl View {
    /// Parses what `old` does not have; an image that cannot be read is left out and said so.
    fn new(store: &Store, mut catalogue: Catalogue, old: &Self) -> Self {
        let in_use = catalogue.layers_in_use();
        catalogue.layers.retain(|layer, _| in_use.contains(layer));
        let mut images = BTreeMap::new();
        for (id, record) in &catalogue.images {
            let (config, config_json) = match old.images.get(id) {
                Some(image) => (image.config.clone(), image.config_json.clone()),
                None => match read_config(store, id) {
                    Ok(read) => read,
                    Err(error) => {
                        tracing::warn!(image = %id, error = %error.chain(), "image cannot be used");
                        continue;
                    }
                },
            };
            let (tags, digests) = catalogue
                .names_of(id)
                .into_iter()
                .partition(|name| name.tag().is_some());
            let sizes = record
                .diff_ids
                .iter()
                .filter_map(|layer| catalogue.layers.get(layer));
            let size = sizes.map(|layer| layer.size).sum();
            let (manifest, updated) = (record.manifest, record.updated);
            let image = Image {
                id: *id,
                tags,
                digests,
                config,
                config_json,
                manifest,
                size,
                updated,
            };
            images.insert(*id, Arc::new(image));
        }
        Self { catalogue, images }
    }
}

fn read_config(store: &Store, id: &ImageId) -> Result<(Arc<ImageConfig>, Arc<[u8]>), ImageError> {
    let json = store.read(id)?;
    Ok((Arc::new(ImageConfig::parse(&json)?), json.into()))
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
