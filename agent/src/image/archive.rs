//! Images as tar archives: `docker load`, `docker save`, and `docker import`.
//!
//!     archive ─► files in tmp, by number, hashed on the way ─┬─ manifest.json ─► Docker's form
//!                                                            └─ index.json ────► OCI layout
//!
//! Names within an archive are keys of a map and never paths of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tempfile::TempPath;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::SyncIoBridge;

use super::catalogue::LayerRecord;
use super::config::{ConfigError, ImageConfig};
use super::decompress::decompress;
use super::digest::Hashing;
use super::manifest::{
    self, Descriptor, Document, MAX_CONFIG, MAX_MANIFEST, Manifest, OCI_CONFIG, OCI_LAYER,
    OCI_MANIFEST,
};
use super::progress::Event;
use super::pull::blocking;
use super::store::{Store, failed};
use super::tarball::{Entry, Kind, TarError, Tarball};
use super::{
    Digest, Image, ImageError, Images, ImportOptions, Loaded, Platform, Progress, Reference,
};

mod changes;
mod save;

/// Files of an archive that holds images.
const MAX_FILES: usize = 20_000;

/// Why an archive could not be taken in, or written.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    #[error("{0}")]
    Tar(String),
    #[error(
        "the archive has neither manifest.json nor index.json: it is not an image (a root file system is taken in by `wharfie image import`)"
    )]
    NotAnImage,
    #[error("the archive does not have its file `{name}`")]
    Missing { name: String },
    #[error("the archive's file `{name}` is not the JSON that it should be")]
    Json {
        name: String,
        source: serde_json::Error,
    },
    #[error("the archive's file `{name}` has more than {limit} bytes")]
    TooLong { name: String, limit: u64 },
    #[error("the archive has more than {MAX_FILES} files")]
    TooManyFiles,
    #[error("the archive's file `{name}` should have digest {expected} but has {found}")]
    Digest {
        name: String,
        expected: Digest,
        found: Digest,
    },
    #[error("`{change}` cannot be applied to an image: {why}")]
    Change { change: String, why: &'static str },
}

/// The files of an archive, by the names that they have in it.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, Arc<Spooled>>,
    /// Layers that occur twice are links in old archives.
    links: BTreeMap<String, String>,
}

struct Spooled {
    path: TempPath,
    digest: Digest,
    size: u64,
}

/// One image of an archive, ready to be unpacked.
struct Packed {
    config: ImageConfig,
    config_json: Vec<u8>,
    manifest_json: Vec<u8>,
    layers: Vec<(Descriptor, Arc<Spooled>)>,
    names: Vec<Reference>,
}

/// One of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Images {
    pub(super) async fn load_archive(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        progress: &Progress,
    ) -> Result<Vec<Loaded>, ImageError> {
        let _sweep = self.sweeping.read().await;
        let (store, bridge) = (self.store.clone(), SyncIoBridge::new(tar));
        let packed = blocking(move || Files::spool(bridge, &store)?.images()).await?;
        let mut loaded = Vec::new();
        for image in packed {
            for ((blob, file), diff_id) in image.layers.iter().zip(&image.config.diff_ids) {
                self.load_layer(blob, file, diff_id, progress).await?;
            }
            let diff_ids = image.config.diff_ids.clone();
            let added = self
                .add_image(
                    image.config_json,
                    image.manifest_json,
                    diff_ids,
                    image.names.clone(),
                )
                .await?;
            for name in &image.names {
                progress.note(Event::Stream(format!("Loaded image: {name}\n")));
            }
            if image.names.is_empty() {
                progress.note(Event::Stream(format!("Loaded image ID: {}\n", added.id)));
            }
            loaded.push(Loaded {
                image: added,
                tags: image.names,
            });
        }
        Ok(loaded)
    }

    async fn load_layer(
        &self,
        blob: &Descriptor,
        file: &Spooled,
        diff_id: &Digest,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let lock = self.layer_lock(diff_id);
        let _lock = lock.lock().await;
        if self.has_layer(diff_id) {
            return Ok(());
        }
        // Two images of one archive may share a file, so it is linked and not moved.
        let link = self.store.link(&file.path)?;
        self.unpack_layer(link, blob.clone(), *diff_id, &diff_id.short(), progress)
            .await
    }

    pub(super) async fn import_tree(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: ImportOptions,
        progress: &Progress,
    ) -> Result<Arc<Image>, ImageError> {
        let _sweep = self.sweeping.read().await;
        let mut settings = serde_json::Map::new();
        changes::apply(&mut settings, &options.changes)?;
        let (store, bridge, limits) = (self.store.clone(), SyncIoBridge::new(tar), self.limits);
        let (blob, unpacked) = blocking(move || {
            let file = spool(bridge, &store)?;
            let path = store.blob_path(&file.digest);
            let blob = Descriptor {
                media_type: OCI_LAYER.to_owned(),
                digest: file.digest,
                size: file.size,
            };
            let reader = std::fs::File::open(&file.path)
                .map_err(|error| failed("read", &file.path, error))?;
            let never = std::sync::atomic::AtomicBool::new(false);
            let unpacked = store.unpack(reader, &blob.digest, None, limits, &never)?;
            std::fs::rename(&file.path, &path).map_err(|error| failed("write", &path, error))?;
            Ok((blob, unpacked))
        })
        .await?;
        self.note_layer(
            unpacked.diff_id,
            LayerRecord {
                blob: blob.clone(),
                size: unpacked.size,
            },
        );
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let created = jiff::Timestamp::now().to_string();
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "created": created, "config": settings,
            "history": [{ "created": created, "comment": options.message }],
            "rootfs": { "type": "layers", "diff_ids": [unpacked.diff_id] },
        });
        let config_json = config.to_string().into_bytes();
        let manifest = manifest_of(&config_json, vec![blob]);
        let names = options.reference.into_iter().collect();
        let image = self
            .add_image(
                config_json,
                manifest.to_json(),
                vec![unpacked.diff_id],
                names,
            )
            .await?;
        progress.status(None, image.id.to_string());
        Ok(image)
    }

    pub(super) async fn save_archive(
        &self,
        references: &[String],
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), ImageError> {
        save::save(self, references, SyncIoBridge::new(writer)).await
    }
}

pub(super) fn manifest_of(config: &[u8], layers: Vec<Descriptor>) -> Manifest {
    let config = Descriptor {
        media_type: OCI_CONFIG.to_owned(),
        digest: Digest::of(config),
        size: config.len() as u64,
    };
    Manifest { config, layers }
}

/// Writes a stream to a file in `tmp`.
fn spool(mut from: impl Read, store: &Store) -> Result<Spooled, ImageError> {
    let mut file = Hashing::new(store.temporary()?);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ArchiveError::Read(error).into()),
        };
        let written = file.write_all(&buffer[..read]);
        written.map_err(|error| {
            failed(
                "write to",
                &store.layers_root().with_file_name("tmp"),
                error,
            )
        })?;
    }
    let (digest, size, file) = file.finish();
    Ok(Spooled {
        path: file.into_temp_path(),
        digest,
        size,
    })
}

impl Files {
    fn spool(reader: impl Read + Send, store: &Store) -> Result<Self, ImageError> {
        let content = decompress(reader).map_err(ArchiveError::Read)?;
        let mut archive = Tarball::new(content);
        let mut files = Self::default();
        while let Some(Entry { name, kind, .. }) = archive.next().map_err(ArchiveError::from)? {
            let name = clean(&String::from_utf8_lossy(&name));
            match kind {
                Kind::File { .. } => drop(
                    files
                        .files
                        .insert(name, Arc::new(spool(&mut archive, store)?)),
                ),
                Kind::Symlink { target } => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    let target =
                        clean(&format!("{directory}/{}", String::from_utf8_lossy(&target)));
                    files.links.insert(name, target);
                }
                Kind::HardLink { target } => {
                    files
                        .links
                        .insert(name, clean(&String::from_utf8_lossy(&target)));
                }
                Kind::Directory
                | Kind::Fifo
                | Kind::CharDevice { .. }
                | Kind::BlockDevice { .. } => {}
            }
            if files.files.len() + files.links.len() > MAX_FILES {
                return Err(ArchiveError::TooManyFiles.into());
            }
        }
        Ok(files)
    }

    fn images(&self) -> Result<Vec<Packed>, ImageError> {
        if self.file("manifest.json").is_ok() {
            let entries: Vec<DockerEntry> = self.json("manifest.json")?;
            return entries
                .iter()
                .map(|entry| self.docker_image(entry))
                .collect();
        }
        match self.file("index.json") {
            Err(_) => Err(ArchiveError::NotAnImage.into()),
            Ok(_) => self.oci_images(),
        }
    }

    fn docker_image(&self, entry: &DockerEntry) -> Result<Packed, ImageError> {
        let config_json = self.content(&entry.config, MAX_CONFIG)?;
        let mut layers = Vec::new();
        for name in entry.layers.iter().flatten() {
            let file = self.file(name)?;
            let media_type = OCI_LAYER.to_owned();
            layers.push((
                Descriptor {
                    media_type,
                    digest: file.digest,
                    size: file.size,
                },
                file,
            ));
        }
        let manifest_json = manifest_of(
            &config_json,
            layers.iter().map(|(blob, _)| blob.clone()).collect(),
        )
        .to_json();
        let names = entry
            .repo_tags
            .iter()
            .flatten()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        packed(config_json, manifest_json, layers, names)
    }

    fn oci_images(&self) -> Result<Vec<Packed>, ImageError> {
        let index = self.content("index.json", MAX_MANIFEST)?;
        let Document::Index(candidates) = Document::parse(&index, None)? else {
            return Err(ArchiveError::NotAnImage.into());
        };
        let host = Platform::host();
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        for candidate in candidates {
            let mut names: Vec<Reference> = candidate
                .names
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect();
            // A bare tag would read as the name of an image.
            names.retain(|name| {
                candidate
                    .names
                    .iter()
                    .any(|text| text.contains([':', '/']) && text.parse().as_ref() == Ok(name))
            });
            let mut body = self.blob(&candidate.content.digest, MAX_MANIFEST)?;
            let mut document = Document::parse(&body, None)?;
            if let Document::Index(inner) = &document {
                let offered = inner
                    .iter()
                    .filter_map(|one| one.platform.clone())
                    .collect();
                let chosen = manifest::choose(inner, &host).ok_or_else(|| {
                    let reference = names
                        .first()
                        .map_or_else(|| candidate.content.digest.to_string(), ToString::to_string);
                    ImageError::Platform {
                        reference,
                        wanted: host.clone(),
                        offered,
                    }
                })?;
                body = self.blob(&chosen.content.digest, MAX_MANIFEST)?;
                document = Document::parse(&body, None)?;
            }
            let Document::Image(manifest) = document else {
                return Err(super::ManifestError::Nested.into());
            };
            let config_json = self.blob(&manifest.config.digest, MAX_CONFIG)?;
            let mut layers = Vec::new();
            for layer in manifest.layers {
                let file = self.verified(&layer.digest)?;
                layers.push((layer, file));
            }
            if seen.insert((Digest::of(&body), names.clone())) {
                images.push(packed(config_json, body, layers, names)?);
            }
        }
        Ok(images)
    }

    /// A file by its name, through links that are not followed without end.
    fn file(&self, name: &str) -> Result<Arc<Spooled>, ArchiveError> {
        let mut at = clean(name);
        for _ in 0..8 {
            match (self.files.get(&at), self.links.get(&at)) {
                (Some(file), _) => return Ok(file.clone()),
                (None, Some(target)) => at = target.clone(),
                (None, None) => break,
            }
        }
        Err(ArchiveError::Missing {
            name: name.to_owned(),
        })
    }

    fn verified(&self, digest: &Digest) -> Result<Arc<Spooled>, ArchiveError> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let file = self.file(&name)?;
        match file.digest == *digest {
            true => Ok(file),
            false => Err(ArchiveError::Digest {
                name,
                expected: *digest,
                found: file.digest,
            }),
        }
    }

    fn blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        self.verified(digest)?;
        self.content(&format!("blobs/sha256/{}", digest.hex()), limit)
    }

    fn content(&self, name: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let file = self.file(name)?;
        match file.size > limit {
            true => Err(ArchiveError::TooLong {
                name: name.to_owned(),
                limit,
            }),
            false => std::fs::read(&file.path).map_err(ArchiveError::Read),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        let content = self.content(name, MAX_MANIFEST)?;
        serde_json::from_slice(&content).map_err(|source| ArchiveError::Json {
            name: name.to_owned(),
            source,
        })
    }
}

fn packed(
    config_json: Vec<u8>,
    manifest_json: Vec<u8>,
    layers: Vec<(Descriptor, Arc<Spooled>)>,
    names: Vec<Reference>,
) -> Result<Packed, ImageError> {
    let config = ImageConfig::parse(&config_json)?;
    match config.diff_ids.len() == layers.len() {
        true => Ok(Packed {
            config,
            config_json,
            manifest_json,
            layers,
            names,
        }),
        false => Err(ConfigError::LayerCount {
            config: config.diff_ids.len(),
            manifest: layers.len(),
        }
        .into()),
    }
}

/// One spelling for one name: without `.`, `..`, and empty parts.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl From<TarError> for ArchiveError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read(error) => Self::Read(error),
            other => Self::Tar(other.to_string()),
        }
    }
}

/// What `index.json` and the manifests of our own archives are called.
fn index_entry(manifest: &Digest, size: u64, name: Option<&Reference>) -> serde_json::Value {
    let annotations = name.map(|name| {
        json!({
            "io.containerd.image.name": name.canonical(),
            "org.opencontainers.image.ref.name": name.tag(),
        })
    });
    json!({ "mediaType": OCI_MANIFEST, "digest": manifest, "size": size, "annotations": annotations })
}
