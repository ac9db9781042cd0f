//! Why a request was not answered as hoped, in Docker's words.
//!
//! The text is part of the API: the docker CLI picks its exit status (125, 126, 127) by looking for
//! words in it, and scripts do worse. So the wording of Docker 20.10 is kept wherever it has one.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use scheduler::control_plane::Refusal;
use serde_json::json;
use thiserror::Error;

use crate::container::ContainerError;
use crate::image::{ErrorKind, ImageError};
use crate::volume::VolumeError;

/// Everything a handler can fail with.
#[derive(Debug, Error)]
pub enum EngineError {
    #[error("page not found")]
    NoRoute,
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    #[error("plugin \"{0}\" not found")]
    NoSuchPlugin(String),
    /// A prefix of several identifiers.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Conflict(String),
    /// This host cannot run it as it is written, and what would help.
    #[error("{message}")]
    Host { message: String, hint: String },
    /// It is already as asked; the answer has no body.
    #[error("not modified")]
    NotModified,
    /// Something of Docker's that wharfie does not have (yet): what it is, and what to use instead.
    #[error("{0}")]
    NotImplemented(String),
    #[error(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
    )]
    NotSwarmManager,
    #[error("{0}")]
    Unavailable(String),
    #[error("{}", docker_wording(.0))]
    Refused(#[from] Refusal),
    #[error("{message}")]
    Hinted {
        status: StatusCode,
        message: String,
        hint: Option<String>,
    },
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// An error of a driver, with its causes after colons.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::Internal(chain(error))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute
            | Self::NoSuchContainer(_)
            | Self::NoSuchImage(_)
            | Self::NoSuchNetwork(_)
            | Self::NoSuchVolume(_)
            | Self::NoSuchExec(_)
            | Self::NoSuchPlugin(_)
            | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Ambiguous(_) | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotRunning(_) | Self::Conflict(_) | Self::Host { .. } => StatusCode::CONFLICT,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::NotSwarmManager | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(refusal) => refusal_status(refusal),
            Self::Hinted { status, .. } => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the user can do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Host { hint, .. } => Some(hint.clone()),
            Self::Hinted { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// The answer to a client: `{"message": …}`, with our own words and a hint where `/x/` asks.
    pub fn into_response(self, dialect: Dialect) -> Response<Body> {
        let status = self.status();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        if status == StatusCode::NOT_MODIFIED {
            return response;
        }
        let body = match (dialect, &self) {
            (Dialect::Wharfie, Self::Refused(refusal)) => {
                json!({ "message": refusal.to_string(), "hint": refusal.hint() })
            }
            (Dialect::Wharfie, Self::Hinted { message, hint, .. }) => {
                json!({ "message": message, "hint": hint })
            }
            (Dialect::Wharfie, Self::Host { message, hint }) => {
                json!({ "message": message, "hint": hint })
            }
            _ => json!({ "message": self.to_string() }),
        };
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
        *response.body_mut() = Body::from(format!("{body}\n"));
        response
    }
}

/// Whose words a client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Docker,
    Wharfie,
}

/// What the client sent makes no sense.
pub(super) fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// An error and its causes, separated by colons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        let text = error.chain();
        match error.kind() {
            ErrorKind::Invalid => Self::BadRequest(text),
            // Docker says of a private image that it does not exist, or that access was denied.
            ErrorKind::Denied | ErrorKind::NotFound => Self::NotFound(text),
            ErrorKind::Conflict => Self::Conflict(text),
            ErrorKind::Registry | ErrorKind::Host => Self::Internal(text),
        }
    }
}

impl From<ContainerError> for EngineError {
    fn from(error: ContainerError) -> Self {
        match &error {
            ContainerError::Unknown { id } => Self::NoSuchContainer(id.to_string()),
            ContainerError::NotRunning { id } => Self::NotRunning(id.to_string()),
            ContainerError::AlreadyRunning { .. } => Self::NotModified,
            ContainerError::Start { .. } => Self::BadRequest(chain(&error)),
            _ => Self::Internal(chain(&error)),
        }
    }
}

impl From<VolumeError> for EngineError {
    fn from(error: VolumeError) -> Self {
        match &error {
            VolumeError::Unknown { name } => Self::NoSuchVolume(name.clone()),
            _ => Self::Internal(chain(&error)),
        }
    }
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownStack { .. }
        | Refusal::UnknownService { .. }
        | Refusal::UnknownContainer { .. }
        | Refusal::UnknownNetwork { .. }
        | Refusal::MissingNetwork { .. }
        | Refusal::UnknownVolume { .. }
        | Refusal::MissingVolume { .. }
        | Refusal::UnknownContent { .. }
        | Refusal::MissingContent { .. }
        | Refusal::UnknownNode { .. } => StatusCode::NOT_FOUND,
        Refusal::NetworkPredefined { .. } => StatusCode::FORBIDDEN,
        Refusal::NotLeader { .. }
        | Refusal::NoMajority
        | Refusal::NotAManager { .. }
        | Refusal::Unsettled
        | Refusal::NoRoom { .. }
        | Refusal::Stopped { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::PortTaken { .. }
        | Refusal::NameTaken { .. }
        | Refusal::SubnetTaken { .. }
        | Refusal::AddressTaken { .. }
        | Refusal::NetworkExists { .. }
        | Refusal::NetworkChanged { .. }
        | Refusal::NetworkInUse { .. }
        | Refusal::VolumeChanged { .. }
        | Refusal::VolumeInUse { .. }
        | Refusal::ContentInUse { .. }
        | Refusal::ContentExists { .. }
        | Refusal::ContainerRunning { .. }
        | Refusal::NoSubnetLeft { .. }
        | Refusal::ClusterExists
        | Refusal::NodeBusy { .. }
        | Refusal::NodeExists { .. }
        | Refusal::NodeRemoved { .. }
        | Refusal::QuorumLost { .. }
        | Refusal::NoCluster
        | Refusal::AuthorityChanged
        | Refusal::Stale => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Docker's text where it has one that clients look for, and ours otherwise.
fn docker_wording(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownContainer { container } => format!("No such container: {container}"),
        Refusal::UnknownNetwork { network } => format!("network {network} not found"),
        Refusal::UnknownVolume { volume } => format!("get {volume}: no such volume"),
        Refusal::InvalidName { name } => {
            format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        }
        Refusal::NameTaken { name, holder } => format!(
            "Conflict. The container name \"/{name}\" is already in use by {holder}. You have to remove (or rename) that container to be able to reuse that name."
        ),
        Refusal::NetworkExists { network } => {
            format!("network with name {network} already exists")
        }
        Refusal::NetworkPredefined { network } => {
            format!("{network} is a pre-defined network and cannot be removed")
        }
        Refusal::NetworkInUse { network, .. } => {
            format!("error while removing network: network {network} has active endpoints")
        }
        Refusal::VolumeInUse { volume, users } => {
            format!("remove {volume}: volume is in use - [{}]", users.join(", "))
        }
        Refusal::ContainerRunning { name } => format!(
            "You cannot remove a running container {name}. Stop the container before attempting removal or force remove"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
