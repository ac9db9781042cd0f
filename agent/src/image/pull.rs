//! Brings an image from its registry into the store.
//!
//!     manifest ─► (index ─► manifest of the platform) ─► config ─► layers ─► catalogue
//!                                              each: download ─► verify ─► unpack ─► verify
//!
//! Layers are downloaded three at a time and unpacked while others still come in. A layer that is
//! there, from whatever image, is not fetched again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::try_join_all;
use tempfile::TempPath;

use super::catalogue::{ImageRecord, LayerRecord};
use super::config::{ConfigError, ImageConfig};
use super::manifest::{self, Candidate, Descriptor, Document, Manifest, ManifestError};
use super::registry::{Download, Fetched, Registry};
use super::{
    Digest, Image, ImageError, Images, LayerState, LookedUp, Platform, Progress, PullOptions,
    Reference,
};

/// What a registry says about an image, before its layers are there.
struct Plan {
    manifest: Manifest,
    manifest_json: Vec<u8>,
    config: ImageConfig,
    config_json: Vec<u8>,
    /// Of what the reference led to: the index, where there is one.
    digest: Digest,
}

impl Images {
    /// The pull itself, without regard to others that ask for the same.
    pub(super) async fn pull_alone(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let registry = self.registry(reference, options)?;
        let key = reference.manifest_key();
        progress.status(Some(&key), format!("Pulling from {}", reference.path()));
        // Nothing that this pull needs is swept away while it goes on.
        let _sweep = self.sweeping.read().await;
        let plan = self.plan(&registry, reference, options).await?;
        let id = Digest::of(&plan.config_json);
        if options.expected.is_some_and(|expected| expected != id) {
            return Err(ImageError::Moved {
                reference: reference.to_string(),
            });
        }
        let known = self.view().catalogue.images.contains_key(&id);
        let layers = plan.manifest.layers.iter().zip(&plan.config.diff_ids);
        try_join_all(
            layers.map(|(blob, diff_id)| self.fetch_layer(&registry, blob, diff_id, progress)),
        )
        .await?;

        let names = match reference.digest() {
            None => vec![reference.clone(), reference.with_digest(plan.digest)],
            Some(digest) => vec![reference.with_digest(*digest)],
        };
        let had = names
            .iter()
            .all(|name| self.view().catalogue.names.get(name) == Some(&id));
        if !(known && had) {
            let (config, manifest) = (plan.config_json, plan.manifest_json);
            self.add_image(config, manifest, plan.config.diff_ids.clone(), names)
                .await?;
        } else {
            self.note_fetched(id).await?;
        }
        progress.status(None, format!("Digest: {}", plan.digest));
        progress.status(
            None,
            match known && had {
                true => format!("Status: Image is up to date for {reference}"),
                false => format!("Status: Downloaded newer image for {reference}"),
            },
        );
        self.image(&id)
    }

    /// Asks a registry what a name means, and fetches no layer.
    ///
    /// # Errors
    ///
    /// As [`Images::pull`].
    pub async fn look_up(
        &self,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<LookedUp, ImageError> {
        let registry = self.registry(reference, options)?;
        let plan = self.plan(&registry, reference, options).await?;
        Ok(LookedUp {
            id: Digest::of(&plan.config_json),
            digest: plan.digest,
        })
    }

    fn registry(
        &self,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Registry, ImageError> {
        let (client, credentials) = (self.client()?, options.credentials.clone());
        let registry = Registry::new(client, &self.trust, reference, credentials, self.patience)?;
        Ok(registry)
    }

    /// Follows the reference to a manifest for the platform, and reads its config.
    async fn plan(
        &self,
        registry: &Registry,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Plan, ImageError> {
        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        let mut fetched = registry.manifest(&reference.manifest_key()).await?;
        let digest = fetched.digest;
        let mut depth = 0;
        let manifest = loop {
            let Fetched {
                body, content_type, ..
            } = &fetched;
            match Document::parse(body, content_type.as_deref())? {
                Document::Image(manifest) => break manifest,
                // An index may name another one, but not without end.
                Document::Index(_) if depth == 2 => return Err(ManifestError::Nested.into()),
                Document::Index(index) => {
                    depth += 1;
                    let chosen = choose(&index, &wanted, reference)?;
                    fetched = registry.manifest(&chosen.to_string()).await?;
                }
            }
        };
        let config_json = registry
            .small_blob(&manifest.config, manifest::MAX_CONFIG)
            .await?;
        let config = ImageConfig::parse(&config_json)?;
        if config.diff_ids.len() != manifest.layers.len() {
            let (config, manifest) = (config.diff_ids.len(), manifest.layers.len());
            return Err(ConfigError::LayerCount { config, manifest }.into());
        }
        // Without a wish, what the registry has is taken as it is, as Docker does.
        if options.platform.is_some() && wanted.suitability(&config.platform).is_none() {
            return Err(ImageError::Platform {
                reference: reference.to_string(),
                wanted,
                offered: vec![config.platform],
            });
        }
        Ok(Plan {
            manifest,
            manifest_json: fetched.body,
            config,
            config_json,
            digest,
        })
    }

    async fn fetch_layer(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        diff_id: &Digest,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let id = blob.digest.short();
        if self.has_layer(diff_id) {
            progress.layer(&id, LayerState::AlreadyExists);
            return Ok(());
        }
        progress.layer(&id, LayerState::Waiting);
        // Two images that share a layer may be pulled at the same time.
        let lock = self.layer_lock(diff_id);
        let _lock = lock.lock().await;
        if self.has_layer(diff_id) {
            progress.layer(&id, LayerState::AlreadyExists);
            return Ok(());
        }
        let permit = self.downloads.acquire().await;
        let total = blob.size;
        let file = registry
            .download(blob, &self.store, |news| match news {
                Download::Bytes(current) => {
                    progress.layer(&id, LayerState::Downloading { current, total })
                }
                Download::Waiting(after) => progress.layer(&id, LayerState::Retrying { after }),
            })
            .await?;
        drop(permit);
        progress.layer(&id, LayerState::Downloaded);
        self.unpack_layer(file, blob.clone(), *diff_id, &id, progress)
            .await
    }

    /// Unpacks a blob, and makes it one of the store's if its content is the layer that was promised.
    pub(super) async fn unpack_layer(
        &self,
        file: TempPath,
        blob: Descriptor,
        diff_id: Digest,
        id: &str,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let permit = self.unpacks.acquire().await;
        progress.layer(
            id,
            LayerState::Extracting {
                current: 0,
                total: blob.size,
            },
        );
        let (store, limits) = (self.store.clone(), self.limits);
        let cancelled = CancelOnDrop::default();
        let flag = cancelled.0.clone();
        let digest = blob.digest;
        let (counting, shown, total) = (progress.clone(), id.to_owned(), blob.size);
        let unpacked = blocking(move || {
            let opened = std::fs::File::open(&file)
                .map_err(|error| super::store::failed("read", &file, error))?;
            let reader = Counting {
                inner: opened,
                count: 0,
                tell: |current| {
                    counting.layer(&shown, LayerState::Extracting { current, total });
                },
            };
            let unpacked = store.unpack(reader, &digest, Some(&diff_id), limits, &flag)?;
            store.keep(file, &digest)?;
            Ok(unpacked)
        })
        .await?;
        drop(permit);
        self.note_layer(
            diff_id,
            LayerRecord {
                blob,
                size: unpacked.size,
            },
        );
        progress.layer(id, LayerState::Complete);
        Ok(())
    }

    /// Remembers that the registry still has the same.
    async fn note_fetched(&self, id: Digest) -> Result<(), ImageError> {
        self.change(move |catalogue| {
            if let Some(record) = catalogue.images.get_mut(&id) {
                record.updated = now();
            }
            Ok(())
        })
        .await
    }

    /// Puts an image whose layers are all there into the catalogue.
    pub(super) async fn add_image(
        &self,
        config_json: Vec<u8>,
        manifest_json: Vec<u8>,
        diff_ids: Vec<Digest>,
        names: Vec<Reference>,
    ) -> Result<Arc<Image>, ImageError> {
        let store = self.store.clone();
        let (id, manifest) =
            blocking(move || Ok((store.put(&config_json)?, store.put(&manifest_json)?))).await?;
        let record = ImageRecord {
            manifest,
            diff_ids,
            updated: now(),
        };
        self.change(move |catalogue| {
            catalogue.add(id, record, names);
            Ok(())
        })
        .await?;
        self.image(&id)
    }
}

fn choose(
    index: &[Candidate],
    wanted: &Platform,
    reference: &Reference,
) -> Result<Digest, ImageError> {
    let chosen = manifest::choose(index, wanted).map(|candidate| candidate.content.digest);
    chosen.ok_or_else(|| ImageError::Platform {
        reference: reference.to_string(),
        wanted: wanted.clone(),
        offered: index
            .iter()
            .filter_map(|one| one.platform.clone())
            .filter(|one| one.os != "unknown")
            .collect(),
    })
}

/// Stops work in another thread when nobody waits for it any more.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells how much was read.
struct Counting<R, F> {
    inner: R,
    count: u64,
    tell: F,
}

impl<R: std::io::Read, F: FnMut(u64)> std::io::Read for Counting<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        (self.tell)(self.count);
        Ok(read)
    }
}

/// Runs blocking work on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| ImageError::Interrupted {
        reason: error.to_string(),
    })?
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
