//! Which images there are, under which names, and which layers they stand on.
//!
//! Pure: the whole content of `images.json`, and the rules by which names come and go.
//!
//! Source of the rules: github.com/moby/moby, `daemon/images/image_delete.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::Descriptor;
use super::reference::Reference;
use super::{ImageId, Removal, Removed, Use};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    pub(crate) images: BTreeMap<ImageId, ImageRecord>,
    /// Names with a tag, and names with a digest.
    pub(crate) names: BTreeMap<Reference, ImageId>,
    /// By diff id.
    pub(crate) layers: BTreeMap<Digest, LayerRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) manifest: Digest,
    /// The lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    /// Seconds since the Unix epoch.
    pub(crate) updated: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// What it was unpacked from.
    pub(crate) blob: Descriptor,
    /// Bytes of all files.
    pub(crate) size: u64,
}

/// What a text means here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) id: ImageId,
    /// The name by which it was found; `None` when it was the id.
    pub(crate) name: Option<Reference>,
}

impl Catalogue {
    /// Names come before ids, as in Docker: an image may be called `cafe`.
    pub(crate) fn find(&self, text: &str) -> Result<Found, ImageError> {
        let reference = text.parse::<Reference>();
        if let Ok(reference) = &reference {
            // Of a name with tag and digest, the digest decides.
            let key = match reference.digest() {
                Some(digest) => reference.with_digest(*digest),
                None => reference.clone(),
            };
            if let Some(id) = self.names.get(&key) {
                return Ok(Found {
                    id: *id,
                    name: Some(key),
                });
            }
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = (1..=64).contains(&prefix.len())
            && prefix
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut matching = self
            .images
            .keys()
            .filter(|id| is_id && id.hex().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (Some(id), None) => Ok(Found {
                id: *id,
                name: None,
            }),
            (Some(_), Some(_)) => Err(ImageError::AmbiguousId {
                prefix: text.to_owned(),
            }),
            (None, _) => match reference {
                Err(error) if !is_id && !text.starts_with("sha256:") => Err(error.into()),
                Ok(reference) => Err(ImageError::NoSuchImage {
                    reference: reference.to_string(),
                }),
                Err(_) => Err(ImageError::NoSuchImage {
                    reference: text.to_owned(),
                }),
            },
        }
    }

    /// The names of an image, in order.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        self.names
            .iter()
            .filter(|(_, of)| *of == id)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Adds an image, or new names to one.
    pub(crate) fn add(
        &mut self,
        id: ImageId,
        record: ImageRecord,
        names: impl IntoIterator<Item = Reference>,
    ) {
        self.images.insert(id, record);
        self.names.extend(names.into_iter().map(|name| (name, id)));
    }

    /// Takes a name away, or an image with all its names, and says what went.
    pub(crate) fn remove(
        &mut self,
        text: &str,
        removal: Removal,
        used_by: &impl Fn(&ImageId) -> Use,
    ) -> Result<Vec<Removed>, ImageError> {
        let found = self.find(text)?;
        match found.name {
            Some(name) => self.remove_name(&name, found.id, removal, used_by),
            None => self.remove_image(found.id, removal, used_by),
        }
    }

    fn remove_name(
        &mut self,
        name: &Reference,
        id: ImageId,
        removal: Removal,
        used_by: &impl Fn(&ImageId) -> Use,
    ) -> Result<Vec<Removed>, ImageError> {
        let others: Vec<Reference> = self
            .names_of(&id)
            .into_iter()
            .filter(|other| other != name)
            .collect();
        let has_tag = |of: &str| {
            others
                .iter()
                .any(|other| other.tag().is_some() && other.repository() == of)
        };
        let tagged = others.iter().any(|other| other.tag().is_some());
        let usage = used_by(&id);
        if let (false, Removal::Careful, Use::Stopped { container } | Use::Running { container }) =
            (tagged, removal, &usage)
        {
            let (reference, container) = (name.to_string(), container.clone());
            return Err(ImageError::ReferenceInUse {
                reference,
                container,
                image: id.short(),
            });
        }
        // The digest goes with the last tag of its repository.
        let repository = name.repository();
        let mut gone = vec![name.clone()];
        if !has_tag(&repository) {
            gone.extend(
                others
                    .iter()
                    .filter(|other| other.repository() == repository)
                    .cloned(),
            );
        }
        let mut removed = self.untag(gone);
        if self.names_of(&id).is_empty() && usage == Use::Unused {
            removed.extend(self.delete(id));
        }
        Ok(removed)
    }

    fn remove_image(
        &mut self,
        id: ImageId,
        removal: Removal,
        used_by: &impl Fn(&ImageId) -> Use,
    ) -> Result<Vec<Removed>, ImageError> {
        let names = self.names_of(&id);
        let repositories: BTreeSet<String> = names.iter().map(Reference::repository).collect();
        let usage = used_by(&id);
        match (&usage, removal) {
            (Use::Running { container }, _) => {
                return Err(in_use(&id, "cannot be forced", "running", container));
            }
            (Use::Stopped { container }, Removal::Careful) => {
                return Err(in_use(&id, "must be forced", "stopped", container));
            }
            (Use::Unused, Removal::Careful) if repositories.len() > 1 => {
                return Err(ImageError::ManyReferences { image: id.short() });
            }
            (Use::Unused | Use::Stopped { .. }, _) => {}
        }
        let mut removed = self.untag(names);
        if usage == Use::Unused {
            removed.extend(self.delete(id));
        }
        Ok(removed)
    }

    fn untag(&mut self, names: Vec<Reference>) -> Vec<Removed> {
        let gone = names
            .into_iter()
            .filter(|name| self.names.remove(name).is_some())
            .collect::<Vec<_>>();
        gone.into_iter()
            .map(|name| Removed::Untagged(name.to_string()))
            .collect()
    }

    /// Deletes an image without names, and says which layers nothing stands on any more.
    pub(crate) fn delete(&mut self, id: ImageId) -> Vec<Removed> {
        let Some(record) = self.images.remove(&id) else {
            return Vec::new();
        };
        let kept = self.layers_in_use();
        let layers = record
            .diff_ids
            .into_iter()
            .rev()
            .filter(|layer| !kept.contains(layer));
        std::iter::once(id)
            .chain(layers)
            .map(Removed::Deleted)
            .collect()
    }

    /// Diff ids of all layers that an image stands on.
    pub(crate) fn layers_in_use(&self) -> BTreeSet<Digest> {
        self.images
            .values()
            .flat_map(|image| image.diff_ids.iter().copied())
            .collect()
    }

    /// All blobs that an image needs.
    pub(crate) fn blobs_in_use(&self) -> BTreeSet<Digest> {
        let layers = self.layers_in_use();
        let layers = layers
            .iter()
            .filter_map(|layer| self.layers.get(layer))
            .map(|layer| layer.blob.digest);
        let own = self
            .images
            .iter()
            .flat_map(|(id, image)| [*id, image.manifest]);
        layers.chain(own).collect()
    }
}

fn in_use(id: &ImageId, force: &'static str, running: &'static str, container: &str) -> ImageError {
    ImageError::InUse {
        image: id.short(),
        force,
        running,
        container: container.to_owned(),
    }
}

#[cfg(test)]
mod tests;
