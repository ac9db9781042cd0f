//! Takes an image over from hosts that have it, and says what this one has to give.
//!
//!     id ──► config, whose digest is the id ──► digest of each unpacked layer ─┐
//!     offers: a blob for each layer, one set a host ──► download ─► verify ─► unpack ─► verify
//!
//! No host is believed: an id leads to every byte by digests, so it does not matter who sends them.
//! Each layer comes from another host first, goes on at the next when one fails, where both have it
//! in the same form, and starts anew where they do not.
//!
//! How a host is reached is not known here: see [`Holders`].

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::BoxStream;
use tempfile::{NamedTempFile, TempPath};
use thiserror::Error;
use tokio::time::timeout;

use super::archive::manifest_of;
use super::config::ImageConfig;
use super::digest::Hashing;
use super::manifest::{Descriptor, Document, MAX_CONFIG, Manifest, ManifestError};
use super::store::{StoreError, failed};
use super::{
    Digest, Image, ImageError, ImageId, Images, LayerState, Platform, Progress, Reference,
};

/// A host that sends nothing for so long is given up; registries get longer, they are further away.
const STALL: Duration = Duration::from_secs(10);
/// So often is a host asked for one layer again after it broke off.
const CHANCES: u32 = 2;
/// After so long it is worth asking anew who has the image: those who were served first have it.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two rounds through hosts that are all busy.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

/// The content of a blob, piece by piece.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Several hosts that have one image, by number.
pub trait Holders: Send + Sync {
    /// The content of a blob from byte `from` on.
    fn read(
        &self,
        holder: usize,
        blob: Digest,
        from: u64,
    ) -> impl Future<Output = Result<Pieces, Missed>> + Send;
}

/// Why a holder gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Missed {
    #[error("it serves others")]
    Busy,
    #[error("{0}")]
    Lost(String),
}

/// What one host has of an image: a blob for its configuration, and one for each layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer(Manifest);

/// Why an image could not be taken over.
#[derive(Debug, Error)]
pub enum TakeError {
    #[error("what it says it has cannot be read")]
    Unreadable(#[from] ManifestError),
    #[error("it offers another image than was asked for")]
    OtherImage,
    #[error("every node that has it is busy giving it to others")]
    Busy,
    #[error("no node that has it could give {what}: {reason}")]
    Lost { what: String, reason: String },
}

impl Offer {
    /// Bytes of the largest one that is read.
    pub const LONGEST: usize = super::manifest::MAX_MANIFEST as usize;

    /// Reads what a host says that it has of an image.
    ///
    /// # Errors
    ///
    /// Returns [`TakeError`] when that is no manifest, or one of another image.
    pub fn parse(text: &[u8], id: &ImageId) -> Result<Self, TakeError> {
        match Document::parse(text, None)? {
            Document::Image(manifest) if manifest.config.digest == *id => Ok(Self(manifest)),
            Document::Image(_) | Document::Index(_) => Err(TakeError::OtherImage),
        }
    }
}

impl Images {
    /// What this host has of an image, as [`Offer::parse`] reads it; `None` when it has it not.
    pub fn offer(&self, id: &ImageId) -> Option<Vec<u8>> {
        Some(self.manifest_here(id)?.to_json())
    }

    /// The file of a blob, if an image that is here needs it.
    pub fn blob(&self, id: &ImageId, blob: &Digest) -> Option<PathBuf> {
        let manifest = self.manifest_here(id)?;
        let mut parts = manifest.layers.iter().chain([&manifest.config]);
        let found = parts.find(|part| part.digest == *blob)?;
        Some(self.store.blob_path(&found.digest))
    }

    /// By the blobs that layers were unpacked from here: the manifest that an image came with may
    /// name others.
    fn manifest_here(&self, id: &ImageId) -> Option<Manifest> {
        let image = self.image(id).ok()?;
        let view = self.view();
        let layers = image.config.diff_ids.iter();
        let layers = layers.map(|layer| Some(view.catalogue.layers.get(layer)?.blob.clone()));
        let layers: Option<Vec<Descriptor>> = layers.collect();
        Some(manifest_of(&image.config_json, layers?))
    }

    /// Brings an image here from the hosts that made `offers`, under these names.
    ///
    /// # Errors
    ///
    /// [`ImageError::Take`] when none of them could give a part of it; what has come stays for the
    /// next try. [`ImageError::Platform`] when it does not run here.
    pub async fn take(
        &self,
        id: &ImageId,
        names: Vec<Reference>,
        platform: &Platform,
        (offers, holders): (&[Offer], &impl Holders),
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let lock = self.layer_lock(id);
        // Several containers may want it at once.
        let _lock = lock.lock().await;
        if let Ok(image) = self.image(id) {
            return Ok(image);
        }
        // Nothing that is needed is swept away while this goes on.
        let _sweep = self.sweeping.read().await;
        let taking = Taking {
            images: self,
            offers,
            holders,
            progress,
        };
        let config_json = taking.config(id).await?;
        let config = ImageConfig::parse(&config_json)?;
        if platform.suitability(&config.platform).is_none() {
            return Err(ImageError::Platform {
                reference: names.first().map_or_else(String::new, ToString::to_string),
                wanted: platform.clone(),
                offered: vec![config.platform],
            });
        }
        let layers = config.diff_ids.iter().enumerate();
        let layers = layers.map(|(number, diff_id)| taking.layer(number, diff_id));
        try_join_all(layers).await?;
        let layers = config.diff_ids.iter().filter_map(|it| self.blob_of(it));
        let manifest = manifest_of(&config_json, layers.collect()).to_json();
        self.add_image(config_json, manifest, config.diff_ids, names)
            .await
    }
}

/// One image on its way.
struct Taking<'a, H> {
    images: &'a Images,
    offers: &'a [Offer],
    holders: &'a H,
    progress: &'a Progress,
}

/// What has come of a blob.
struct Partial {
    blob: Digest,
    file: Hashing<NamedTempFile>,
}

/// What to do after an attempt that gave nothing.
enum Failure {
    /// Ask another host.
    There(Missed),
    /// This host is at fault.
    Here(StoreError),
}

impl From<Missed> for Failure {
    fn from(missed: Missed) -> Self {
        Self::There(missed)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Here(error)
    }
}

impl<H: Holders> Taking<'_, H> {
    async fn config(&self, id: &ImageId) -> Result<Vec<u8>, ImageError> {
        let mut queue = Queue::new(self.offers.len(), "its configuration");
        loop {
            let holder = queue.next().await?;
            let blob = self.offers.get(holder).map(|offer| offer.0.config.clone());
            let Some(blob) = blob.filter(|blob| blob.size <= MAX_CONFIG && blob.digest == *id)
            else {
                queue.give_up("its configuration is too long");
                continue;
            };
            match self.download(holder, &blob, &mut None, |_| {}).await {
                Ok(file) => return read(&file),
                Err(Failure::There(missed)) => queue.missed(holder, missed),
                Err(Failure::Here(error)) => return Err(error.into()),
            }
        }
    }

    async fn layer(&self, number: usize, diff_id: &Digest) -> Result<(), ImageError> {
        let (images, shown) = (self.images, diff_id.short());
        // Two images that share a layer may come at the same time.
        let lock = images.layer_lock(diff_id);
        let _lock = lock.lock().await;
        if images.has_layer(diff_id) {
            self.progress.layer(&shown, LayerState::AlreadyExists);
            return Ok(());
        }
        self.progress.layer(&shown, LayerState::Waiting);
        let _permit = images.downloads.acquire().await;
        let mut queue = Queue::new(self.offers.len(), &format!("layer {diff_id}"));
        let mut partial = None;
        loop {
            let holder = queue.next().await?;
            let blob = (self.offers.get(holder)).and_then(|offer| offer.0.layers.get(number));
            let Some(blob) = blob else {
                queue.give_up("it has fewer layers");
                continue;
            };
            let total = blob.size;
            let tell = |current| {
                let state = LayerState::Downloading { current, total };
                self.progress.layer(&shown, state);
            };
            match self.download(holder, blob, &mut partial, tell).await {
                Ok(file) => match images
                    .unpack_layer(file, blob.clone(), *diff_id, &shown, self.progress)
                    .await
                {
                    // It has a blob by the right digest for the wrong layer.
                    Err(ImageError::Store(
                        error @ (StoreError::Digest { .. } | StoreError::Layer { .. }),
                    )) => queue.give_up(&error.to_string()),
                    done => return done,
                },
                Err(Failure::There(missed)) => queue.missed(holder, missed),
                Err(Failure::Here(error)) => return Err(error.into()),
            }
        }
    }

    /// Goes on with what has come of the same blob before, and keeps in `partial` what has come now.
    async fn download(
        &self,
        holder: usize,
        blob: &Descriptor,
        partial: &mut Option<Partial>,
        tell: impl Fn(u64),
    ) -> Result<TempPath, Failure> {
        let known = partial.take().filter(|it| it.blob == blob.digest);
        let mut coming = match known {
            Some(known) => known,
            None => Partial {
                blob: blob.digest,
                file: Hashing::new(self.images.store.temporary()?),
            },
        };
        if let Err(failure) = self.pour(holder, blob, &mut coming, tell).await {
            *partial = Some(coming);
            return Err(failure);
        }
        let (found, _, file) = coming.file.finish();
        match found == blob.digest {
            true => Ok(file.into_temp_path()),
            false => Err(lost("it sent other bytes than these")),
        }
    }

    async fn pour(
        &self,
        holder: usize,
        blob: &Descriptor,
        into: &mut Partial,
        tell: impl Fn(u64),
    ) -> Result<(), Failure> {
        let mut pieces = (self.holders)
            .read(holder, blob.digest, into.file.length())
            .await?;
        loop {
            let Ok(piece) = timeout(STALL, pieces.next()).await else {
                return Err(lost("it stopped sending"));
            };
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|error| lost(&error.to_string()))?;
            if into.file.length() + piece.len() as u64 > blob.size {
                return Err(lost("it sent more than it said"));
            }
            let path = self.images.store.blob_path(&blob.digest);
            let written = into.file.write_all(&piece);
            written.map_err(|error| failed("write", &path, error))?;
            tell(into.file.length());
        }
        match into.file.length() == blob.size {
            true => Ok(()),
            false => Err(lost("it broke off")),
        }
    }
}

fn lost(reason: &str) -> Failure {
    Failure::There(Missed::Lost(reason.to_owned()))
}

fn read(file: &TempPath) -> Result<Vec<u8>, ImageError> {
    std::fs::read(file).map_err(|error| failed("read", file, error).into())
}

/// Whom to ask for one blob, in turn.
struct Queue {
    what: String,
    open: VecDeque<(usize, u32)>,
    /// The chances of the one that is asked now.
    chances: u32,
    /// Hosts in a row that were busy.
    busy: usize,
    waited: Duration,
    reason: String,
}

impl Queue {
    /// Begins somewhere, so that the parts of an image come from several hosts.
    fn new(holders: usize, what: &str) -> Self {
        let mut open: VecDeque<(usize, u32)> = (0..holders).map(|it| (it, CHANCES)).collect();
        if holders > 0 {
            open.rotate_left(rand::random_range(0..holders));
        }
        Self {
            what: what.to_owned(),
            open,
            chances: 0,
            busy: 0,
            waited: Duration::ZERO,
            reason: "there is none".to_owned(),
        }
    }

    async fn next(&mut self) -> Result<usize, TakeError> {
        let Some((holder, chances)) = self.open.pop_front() else {
            return Err(TakeError::Lost {
                what: self.what.clone(),
                reason: self.reason.clone(),
            });
        };
        if self.busy > self.open.len() {
            if self.waited >= QUEUE_PATIENCE {
                return Err(TakeError::Busy);
            }
            // Those who wait shall not all come back at once.
            let pause = QUEUE_PAUSE.mul_f64(rand::random_range(0.5..1.5));
            tokio::time::sleep(pause).await;
            self.waited += pause;
            self.busy = 0;
        }
        self.chances = chances;
        Ok(holder)
    }

    fn missed(&mut self, holder: usize, missed: Missed) {
        match missed {
            Missed::Busy => {
                self.busy += 1;
                self.open.push_back((holder, self.chances));
            }
            Missed::Lost(reason) => {
                self.busy = 0;
                if self.chances > 1 {
                    self.open.push_back((holder, self.chances - 1));
                }
                self.reason = reason;
            }
        }
    }

    /// The one that was asked last is not asked again.
    fn give_up(&mut self, reason: &str) {
        self.busy = 0;
        reason.clone_into(&mut self.reason);
    }
}

#[cfg(test)]
mod tests;
