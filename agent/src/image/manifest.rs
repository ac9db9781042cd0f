//! Manifests and indexes, read strictly: a body has one meaning or is refused (CVE-2021-41190).
//!
//!     body ─► Document ─┬─ Index: one entry for each platform ─choose─► digest of a manifest
//!                       └─ Image: the config and the layers, by digest and size
//!
//! Sources: OCI image specification, `manifest.md`, `image-index.md`; Docker's "Image Manifest V2,
//! Schema 2".

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::{Digest, DigestError};
use super::platform::Platform;

/// Bytes.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
pub(crate) const MAX_CONFIG: u64 = 8 << 20;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is asked for, in one `Accept` header.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Content, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
}

/// The parts of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// The lowest first.
    pub(crate) layers: Vec<Descriptor>,
}

/// One of an index's manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) content: Descriptor,
    pub(crate) platform: Option<Platform>,
    /// Names that tools put beside it in archives.
    pub(crate) names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Image(Manifest),
    Index(Vec<Candidate>),
}

/// Why a manifest cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("the manifest is not the JSON that it should be")]
    Json(#[from] serde_json::Error),
    #[error("the manifest is of schema version {found}, only 2 is supported")]
    Version { found: i64 },
    #[error("the manifest can be read in two ways: {what}")]
    Ambiguous { what: String },
    #[error("the manifest has a wrong digest")]
    Digest(#[from] DigestError),
    #[error("this is not a container image: its {part} is of type `{media_type}`")]
    NotAnImage {
        part: &'static str,
        media_type: String,
    },
    #[error("indexes are nested too deeply")]
    Nested,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: i64,
    media_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    /// Of schema 1, which must not come along.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<WirePlatform>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct WirePlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Document {
    /// Parses a body that was sent with `content_type`, where there is one.
    pub(crate) fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let wire: Wire = serde_json::from_slice(body)?;
        if wire.schema_version != 2 {
            return Err(ManifestError::Version {
                found: wire.schema_version,
            });
        }
        let said = content_type
            .map(|text| text.split(';').next().unwrap_or(text).trim())
            .filter(|text| is_known(text));
        if let (Some(inside), Some(outside)) = (&wire.media_type, said)
            && inside != outside
        {
            let what = format!("it says `{inside}` inside and `{outside}` outside");
            return Err(ManifestError::Ambiguous { what });
        }
        let media_type = wire.media_type.as_deref().or(said);
        match (wire.config, wire.layers, wire.manifests, wire.fs_layers) {
            (Some(config), Some(layers), None, None) if !media_type.is_some_and(is_index) => {
                Ok(Self::Image(Manifest::new(config, layers)?))
            }
            (None, None, Some(manifests), None) if media_type.is_none_or(is_index) => {
                let candidates = manifests
                    .into_iter()
                    .filter(|one| one.media_type.is_empty() || is_known(&one.media_type));
                Ok(Self::Index(
                    candidates.map(Candidate::new).collect::<Result<_, _>>()?,
                ))
            }
            _ => Err(ManifestError::Ambiguous {
                what: "it is neither just an image nor just an index".to_owned(),
            }),
        }
    }
}

impl Manifest {
    fn new(config: WireDescriptor, layers: Vec<WireDescriptor>) -> Result<Self, ManifestError> {
        let kinds = [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        ];
        if !config.media_type.is_empty() && !kinds.contains(&config.media_type.as_str()) {
            return Err(ManifestError::NotAnImage {
                part: "config",
                media_type: config.media_type,
            });
        }
        let is_layer = |kind: &str| {
            kind.is_empty()
                || kind.starts_with("application/vnd.oci.image.layer.")
                || kind.starts_with("application/vnd.docker.image.rootfs.")
        };
        // Their `urls` are not looked at (CVE-2020-15157): a layer comes from the image's registry or not at all.
        if let Some(wrong) = layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            return Err(ManifestError::NotAnImage {
                part: "layer",
                media_type: wrong.media_type.clone(),
            });
        }
        let layers = layers
            .into_iter()
            .map(WireDescriptor::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            config: config.parse()?,
            layers,
        })
    }

    /// The OCI form of a manifest, for images that came without one.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let json = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": self.config, "layers": self.layers,
        });
        json.to_string().into_bytes()
    }
}

impl Candidate {
    fn new(wire: WireDescriptor) -> Result<Self, ManifestError> {
        let platform = wire
            .platform
            .as_ref()
            .map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref()));
        let annotations = wire.annotations.clone().unwrap_or_default();
        let names = [
            "io.containerd.image.name",
            "org.opencontainers.image.ref.name",
        ];
        let names = names
            .iter()
            .filter_map(|key| annotations.get(*key).cloned())
            .collect();
        Ok(Self {
            content: wire.parse()?,
            platform,
            names,
        })
    }
}

impl WireDescriptor {
    fn parse(self) -> Result<Descriptor, ManifestError> {
        Ok(Descriptor {
            digest: self.digest.parse()?,
            media_type: self.media_type,
            size: self.size,
        })
    }
}

fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_LIST
}

fn is_known(media_type: &str) -> bool {
    is_index(media_type) || media_type == OCI_MANIFEST || media_type == DOCKER_MANIFEST
}

/// The manifest that suits a platform best, the first of equals.
///
/// A single manifest that names no platform is taken on trust.
pub(crate) fn choose<'a>(index: &'a [Candidate], wanted: &Platform) -> Option<&'a Candidate> {
    let suitability = |one: &&Candidate| {
        one.platform
            .as_ref()
            .and_then(|offered| wanted.suitability(offered))
    };
    let best = index
        .iter()
        .filter(|one| suitability(one).is_some())
        .rev()
        .max_by_key(suitability);
    match index {
        [only] if only.platform.is_none() => Some(only),
        _ => best,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str, more: &str) -> String {
        format!(
            r#"{{"mediaType":"{kind}","digest":"{}","size":1{more}}}"#,
            Digest::of(b"x")
        )
    }

    #[track_caller]
    fn check(body: &str, content_type: Option<&str>, expected: &str) {
        let outcome = match Document::parse(body.as_bytes(), content_type) {
            Ok(Document::Image(image)) => format!("image of {}", image.layers.len()),
            Ok(Document::Index(index)) => format!("index of {}", index.len()),
            Err(error) => error.to_string(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_manifest_has_one_meaning_or_is_refused() {
        let config = descriptor(OCI_CONFIG, "");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "");
        let entry = descriptor(OCI_MANIFEST, "");
        let image = format!(r#""config":{config},"layers":[{layer}]"#);
        check(
            &format!(r#"{{"schemaVersion":2,{image}}}"#),
            None,
            "image of 1",
        );
        check(
            &format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#),
            Some(OCI_INDEX),
            "index of 1",
        );
        let neither =
            "the manifest can be read in two ways: it is neither just an image nor just an index";
        check(
            &format!(r#"{{"schemaVersion":2,{image},"manifests":[]}}"#),
            None,
            neither,
        );
        check(
            &format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}",{image}}}"#),
            None,
            neither,
        );
        check(
            &format!(r#"{{"schemaVersion":2,{image}}}"#),
            Some(OCI_INDEX),
            neither,
        );
        check(
            &format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}",{image}}}"#),
            Some(DOCKER_MANIFEST),
            &format!(
                "the manifest can be read in two ways: it says `{OCI_MANIFEST}` inside and `{DOCKER_MANIFEST}` outside"
            ),
        );
        check(
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            None,
            "the manifest is of schema version 1, only 2 is supported",
        );
        let json = "the manifest is not the JSON that it should be";
        for body in [
            "",
            "[]",
            "{}",
            &format!(r#"{{"schemaVersion":2,{image},"layers":[]}}"#),
            &image.replace(":1}", ":-1}"),
        ] {
            check(body, None, json);
        }
        let short = format!(
            r#"{{"schemaVersion":2,{}}}"#,
            image.replace(&Digest::of(b"x").hex(), "ab")
        );
        check(&short, None, "the manifest has a wrong digest");
        let chart = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
            descriptor("application/vnd.cncf.helm.config.v1+json", "")
        );
        check(
            &chart,
            None,
            "this is not a container image: its config is of type `application/vnd.cncf.helm.config.v1+json`",
        );
    }

    #[test]
    fn attestations_are_not_chosen() {
        let of = |os: &str, architecture: &str| Candidate {
            content: Descriptor {
                media_type: OCI_MANIFEST.into(),
                digest: Digest::of(architecture.as_bytes()),
                size: 1,
            },
            platform: Some(Platform::new(os, architecture, None)),
            names: Vec::new(),
        };
        let index = [
            of("unknown", "unknown"),
            of("linux", "arm64"),
            of("linux", "amd64"),
        ];
        let amd64 = Platform::new("linux", "amd64", None);
        assert_eq!(choose(&index, &amd64), Some(&index[2]));
        assert_eq!(choose(&index[..2], &amd64), None);
    }
}
