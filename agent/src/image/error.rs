//! Why something could not be done with an image, in Docker's words where its clients match on them.

use std::sync::Arc;

use thiserror::Error;

use super::archive::ArchiveError;
use super::config::ConfigError;
use super::credentials::CredentialsError;
use super::manifest::ManifestError;
use super::peer::TakeError;
use super::platform::Platform;
use super::reference::ReferenceError;
use super::registry::RegistryError;
use super::store::StoreError;

/// Why something could not be done with an image.
#[derive(Debug, Error)]
pub enum ImageError {
    #[error("No such image: {reference}")]
    NoSuchImage { reference: String },
    #[error("{prefix} is the beginning of several image ids")]
    AmbiguousId { prefix: String },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "no matching manifest for {wanted} in the manifest list entries: `{reference}` is there for {}",
        platforms(offered)
    )]
    Platform {
        reference: String,
        wanted: Platform,
        offered: Vec<Platform>,
    },
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        reference: String,
        container: String,
        image: String,
    },
    #[error(
        "conflict: unable to delete {image} ({force}) - image is being used by {running} container {container}"
    )]
    InUse {
        image: String,
        force: &'static str,
        running: &'static str,
        container: String,
    },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is referenced in multiple repositories"
    )]
    ManyReferences { image: String },
    #[error(transparent)]
    Take(#[from] TakeError),
    #[error("`{reference}` means another image in its registry than the one that was deployed")]
    Moved { reference: String },
    /// It was looked for at the other nodes, and then in its registry.
    #[error("{neighbours}, and pulling failed")]
    Nowhere {
        neighbours: String,
        source: Box<ImageError>,
    },
    /// The same, where the registry is not to be asked.
    #[error("{neighbours}, and its pull policy is `never`")]
    NeverPulled { neighbours: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("refusing to create a tag with a digest reference: {reference}")]
    DigestTag { reference: String },
    #[error("the work was interrupted: {reason}")]
    Interrupted { reason: String },
    /// Another caller asked for the same first, and both got this.
    #[error(transparent)]
    Shared(Arc<ImageError>),
}

/// What a caller can do about it; the API makes its status codes from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense: 400.
    Invalid,
    /// Credentials are missing or wrong: 401, or 404 where Docker says so.
    Denied,
    /// There is no such image, here or in the registry: 404.
    NotFound,
    /// It is in use: 409.
    Conflict,
    /// A registry or its content is at fault, and it may work later: 502 or 500.
    Registry,
    /// This host is at fault: 500.
    Host,
}

impl ImageError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage { .. }
            | Self::Platform { .. }
            | Self::Moved { .. }
            | Self::NeverPulled { .. } => ErrorKind::NotFound,
            Self::Nowhere { source, .. } => source.kind(),
            Self::Take(_) => ErrorKind::Registry,
            Self::AmbiguousId { .. }
            | Self::DigestTag { .. }
            | Self::Reference(_)
            | Self::Config(_) => ErrorKind::Invalid,
            Self::Credentials(_) => ErrorKind::Denied,
            Self::ReferenceInUse { .. } | Self::InUse { .. } | Self::ManyReferences { .. } => {
                ErrorKind::Conflict
            }
            Self::Registry(RegistryError::Denied { .. }) => ErrorKind::Denied,
            Self::Registry(
                RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. },
            ) => ErrorKind::NotFound,
            Self::Registry(RegistryError::Store(_)) => ErrorKind::Host,
            Self::Registry(_) | Self::Manifest(_) => ErrorKind::Registry,
            Self::Archive(_) => ErrorKind::Invalid,
            Self::Store(_) | Self::Interrupted { .. } => ErrorKind::Host,
            Self::Shared(error) => error.kind(),
        }
    }

    /// The error and its causes in one line, as the progress stream shows it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

fn platforms(offered: &[Platform]) -> String {
    match offered {
        [] => "none".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}
