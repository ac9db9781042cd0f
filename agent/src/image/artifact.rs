//! Artifacts: what a registry holds that is no image, such as the files of a Compose project.
//!
//! Small enough for memory; every byte is verified, as those of images are.
//!
//! Source: OCI image specification 1.1, "Guidelines for Artifact Usage".

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::manifest::Descriptor;
use super::registry::{self, Registry};
use super::{Credentials, Digest, Reference, RegistryError, Trust};

/// Of all parts together: people wrote them.
const MAX_BYTES: u64 = 16 << 20;
const MAX_PARTS: usize = 1000;
/// Before the second attempt.
const PATIENCE: Duration = Duration::from_millis(500);

/// An artifact in memory.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Of its manifest.
    pub digest: Digest,
    /// What the manifest says it is; or else the media type of its config.
    pub kind: String,
    pub parts: Vec<Part>,
}

/// One of an artifact's contents.
#[derive(Clone, Debug)]
pub struct Part {
    pub media_type: String,
    pub annotations: BTreeMap<String, String>,
    pub content: Vec<u8>,
}

/// Why an artifact could not be had.
#[derive(Debug, Error)]
pub enum ArtifactError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the manifest of {reference} is not understood")]
    Manifest {
        reference: String,
        source: serde_json::Error,
    },
    #[error("{reference} has more than {MAX_PARTS} parts")]
    Parts { reference: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: String,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(flatten)]
    content: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Fetches an artifact if it is of a wanted kind; of another one there are no parts.
///
/// # Errors
///
/// Returns [`ArtifactError`] when the registry does not give it, or gives something else than it
/// promised, and when it has more than 16 MiB or 1,000 parts.
pub async fn fetch(
    reference: &Reference,
    credentials: Credentials,
    trust: &Trust,
    wanted: &[&str],
) -> Result<Artifact, ArtifactError> {
    let registry = Registry::new(registry::client()?, trust, reference, credentials, PATIENCE)?;
    let fetched = registry.manifest(&reference.manifest_key()).await?;
    let manifest: Manifest =
        serde_json::from_slice(&fetched.body).map_err(|source| ArtifactError::Manifest {
            reference: reference.canonical(),
            source,
        })?;
    if manifest.layers.len() > MAX_PARTS {
        let reference = reference.canonical();
        return Err(ArtifactError::Parts { reference });
    }
    let kind = match manifest.artifact_type.is_empty() {
        true => manifest.config.media_type,
        false => manifest.artifact_type,
    };
    let mut parts = Vec::new();
    let mut left = MAX_BYTES;
    let is_wanted = wanted.contains(&kind.as_str());
    for layer in manifest.layers.into_iter().filter(|_| is_wanted) {
        let content = registry.small_blob(&layer.content, left).await?;
        left -= content.len() as u64;
        parts.push(Part {
            media_type: layer.content.media_type,
            annotations: layer.annotations,
            content,
        });
    }
    Ok(Artifact {
        digest: fetched.digest,
        kind,
        parts,
    })
}
