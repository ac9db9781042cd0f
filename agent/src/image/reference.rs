//! Names of images, as Docker reads them: `[registry[:port]/]path[:tag][@digest]`.
//!
//!     busybox            ──► docker.io/library/busybox:latest
//!     me/app:1           ──► docker.io/me/app:1
//!     host:5000/a@sha256:… ► host:5000/a@sha256:…
//!
//! A [`Reference`] is always complete; how the user would write it is its `Display`.
//! Pure: it looks nothing up.
//!
//! Source: github.com/distribution/reference, `reference.go`, `normalize.go`, `regexp.go`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::{Digest, DigestError};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// Longest registry and path together, in bytes.
const MAX_NAME_LEN: usize = 255;
const MAX_TAG_LEN: usize = 128;

/// A complete name of an image: registry, path, and a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference, and where.
///
/// All begin with Docker's words, on which its clients match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    #[error("invalid reference format: the name is empty")]
    Empty,
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    UpperCase { name: String },
    #[error("invalid reference format: unexpected `{found}` at position {position} of `{text}`")]
    Character {
        text: String,
        found: char,
        position: usize,
    },
    #[error("invalid reference format: `{text}` has an empty part at position {position}")]
    EmptyPart { text: String, position: usize },
    #[error(
        "invalid reference format: the registry `{registry}` is not a host name with an optional port"
    )]
    Registry { registry: String },
    #[error(
        "invalid reference format: the tag `{tag}` should be 1 to 128 letters, digits, `_`, `.` or `-`, not beginning with `.` or `-`"
    )]
    Tag { tag: String },
    #[error("invalid reference format: {0}")]
    Digest(#[from] DigestError),
    #[error("invalid reference format: the name has {length} bytes, at most 255 are allowed")]
    TooLong { length: usize },
    #[error("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId { text: String },
}

impl Reference {
    /// Host and optional port, e.g. `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, e.g. `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path, e.g. `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Registry and path as users write them, e.g. `busybox`, `ghcr.io/me/app`.
    pub fn familiar_repository(&self) -> String {
        match self.registry == DEFAULT_REGISTRY {
            true => self
                .path
                .strip_prefix("library/")
                .unwrap_or(&self.path)
                .to_owned(),
            false => self.repository(),
        }
    }

    /// The same repository, with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository, with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        let tag = Some(parse_tag(tag)?);
        Ok(Self {
            tag,
            digest: None,
            ..self.clone()
        })
    }

    /// What the manifest is asked for by: the digest, where there is one.
    pub(crate) fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// With registry and all, e.g. `docker.io/library/busybox:latest`.
    pub fn canonical(&self) -> String {
        format!("{}{}", self.repository(), self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self
            .tag
            .as_ref()
            .map(|tag| format!(":{tag}"))
            .unwrap_or_default();
        let digest = self
            .digest
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        tag + &digest
    }

    /// Whether the registry is this host, which Docker and we then speak plain HTTP to.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(host_of(&self.registry))
    }
}

/// The host of `host[:port]`, without brackets.
pub(crate) fn host_of(registry: &str) -> &str {
    if let Some(rest) = registry.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    registry.split(':').next().unwrap_or(registry)
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// As users write it: without the default registry, and `library/`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_repository(), self.suffix())
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.canonical()
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Reads a reference and completes it; a tag of `latest` is added where nothing is given.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        {
            return Err(ReferenceError::LooksLikeId {
                text: text.to_owned(),
            });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, remainder) = split_registry(rest);
        let (path, tag) = match remainder.split_once(':') {
            Some((path, tag)) => (path, Some(parse_tag(tag)?)),
            None => (remainder, None),
        };
        check_registry(registry)?;
        check_path(path, text)?;
        let path = match path.contains('/') || registry != DEFAULT_REGISTRY {
            true => path.to_owned(),
            false => format!("library/{path}"),
        };
        let length = registry.len() + 1 + path.len();
        if length > MAX_NAME_LEN {
            return Err(ReferenceError::TooLong { length });
        }
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self {
            registry: registry.to_owned(),
            path,
            tag,
            digest,
        })
    }
}

/// The first part is a registry only if it cannot be part of a path: it has a dot, a port or upper
/// case, or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        Some(_) | None => (DEFAULT_REGISTRY, name),
    }
}

fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let wrong = || ReferenceError::Registry {
        registry: registry.to_owned(),
    };
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            ("", port)
        }
        None => registry.split_at(registry.find(':').unwrap_or(registry.len())),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !registry.starts_with('[') && !host.split('.').all(label) {
        return Err(wrong());
    }
    match port.strip_prefix(':') {
        Some(digits)
            if digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok() =>
        {
            Ok(())
        }
        None if port.is_empty() => Ok(()),
        Some(_) | None => Err(wrong()),
    }
}

/// Parts of lower-case letters and digits, held together by `.`, `_`, `__` or any number of `-`.
fn check_path(path: &str, text: &str) -> Result<(), ReferenceError> {
    if path.chars().any(char::is_uppercase) {
        return Err(ReferenceError::UpperCase {
            name: path.to_owned(),
        });
    }
    // Where the path begins in what the user wrote, to point there; 1 is the first character.
    let start = text.find(path).unwrap_or(0) + 1;
    let mut offset = 0;
    for part in path.split('/') {
        if part.is_empty() {
            return Err(ReferenceError::EmptyPart {
                text: text.to_owned(),
                position: start + offset,
            });
        }
        if let Some((at, found)) = misplaced(part) {
            return Err(ReferenceError::Character {
                text: text.to_owned(),
                found,
                position: start + offset + at,
            });
        }
        offset += part.len() + 1;
    }
    Ok(())
}

/// The first character of a part of a path that may not be there.
fn misplaced(part: &str) -> Option<(usize, char)> {
    let mut run = String::new();
    let mut after_word = false;
    for (at, c) in part.char_indices() {
        match c {
            'a'..='z' | '0'..='9' => {
                run.clear();
                after_word = true;
            }
            '.' | '_' | '-' if after_word => {
                run.push(c);
                let joins =
                    matches!(run.as_str(), "." | "_" | "__") || run.bytes().all(|b| b == b'-');
                if !joins {
                    return Some((at, c));
                }
            }
            _ => return Some((at, c)),
        }
    }
    // A part may not end in a separator.
    match run.is_empty() {
        true => None,
        false => part.char_indices().last(),
    }
}

fn parse_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = (1..=MAX_TAG_LEN).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    match fits {
        true => Ok(tag.to_owned()),
        false => Err(ReferenceError::Tag {
            tag: tag.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
