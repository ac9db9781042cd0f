//! Writes images as one tar that is an OCI layout and also has Docker's `manifest.json`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::super::manifest::OCI_INDEX;
use super::super::{Digest, ImageError, Images, Reference};
use super::{ArchiveError, blocking, index_entry, manifest_of};

/// What goes into one archive.
#[derive(Default)]
struct Contents {
    blobs: BTreeSet<Digest>,
    /// Manifests that are made for the archive, and not in the store.
    made: Vec<Vec<u8>>,
    index: Vec<Value>,
    docker: Vec<Value>,
}

pub(super) async fn save(
    images: &Images,
    references: &[String],
    writer: impl Write + Send + 'static,
) -> Result<(), ImageError> {
    let _sweep = images.sweeping.read().await;
    let mut contents = Contents::default();
    for (id, names) in wanted(images, references)? {
        contents.add(images, &id, &names)?;
    }
    let store = images.store.clone();
    blocking(move || {
        let blobs = contents
            .blobs
            .iter()
            .map(|blob| (*blob, store.blob_path(blob)))
            .collect();
        contents
            .write(blobs, writer)
            .map_err(|error| ArchiveError::Write(error).into())
    })
    .await
}

/// The images, each once, with the names by which they were asked for.
fn wanted(
    images: &Images,
    references: &[String],
) -> Result<Vec<(Digest, Vec<Reference>)>, ImageError> {
    let view = images.view();
    let mut wanted: Vec<(Digest, Vec<Reference>)> = Vec::new();
    for reference in references {
        let found = view.catalogue.find(reference)?;
        let name = found.name.filter(|name| name.tag().is_some());
        match wanted.iter_mut().find(|(id, _)| *id == found.id) {
            Some((_, names)) => names.extend(name),
            None => wanted.push((found.id, name.into_iter().collect())),
        }
    }
    Ok(wanted)
}

impl Contents {
    fn add(&mut self, images: &Images, id: &Digest, names: &[Reference]) -> Result<(), ImageError> {
        let image = images.image(id)?;
        let view = images.view();
        let missing = || ImageError::NoSuchImage {
            reference: id.to_string(),
        };
        let mut layers = Vec::new();
        for diff_id in &image.config.diff_ids {
            layers.push(
                view.catalogue
                    .layers
                    .get(diff_id)
                    .ok_or_else(missing)?
                    .blob
                    .clone(),
            );
        }
        self.blobs.insert(*id);
        self.blobs.extend(layers.iter().map(|layer| layer.digest));
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        self.docker.push(json!({
            "Config": path(id),
            "RepoTags": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "Layers": layers.iter().map(|layer| path(&layer.digest)).collect::<Vec<_>>(),
        }));
        // Layers may be the same as in the manifest that the image came with, in another compression.
        let manifest = manifest_of(&image.config_json, layers).to_json();
        let entry = |name| index_entry(&Digest::of(&manifest), manifest.len() as u64, name);
        match names {
            [] => self.index.push(entry(None)),
            names => self
                .index
                .extend(names.iter().map(|name| entry(Some(name)))),
        }
        self.made.push(manifest);
        Ok(())
    }

    fn write(&self, blobs: Vec<(Digest, PathBuf)>, writer: impl Write) -> io::Result<()> {
        let mut archive = Builder::new(writer);
        for manifest in &self.made {
            append(
                &mut archive,
                &format!("blobs/sha256/{}", Digest::of(manifest).hex()),
                manifest,
            )?;
        }
        for (digest, path) in blobs {
            let mut file = std::fs::File::open(path)?;
            let mut header = header(file.metadata()?.len());
            archive.append_data(
                &mut header,
                format!("blobs/sha256/{}", digest.hex()),
                &mut file,
            )?;
        }
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.index });
        append(&mut archive, "index.json", index.to_string().as_bytes())?;
        append(
            &mut archive,
            "manifest.json",
            Value::from(self.docker.clone()).to_string().as_bytes(),
        )?;
        append(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        archive.into_inner()?.flush()
    }
}

fn append(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(content.len() as u64), name, content)
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
