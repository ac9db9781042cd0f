//! A request that needs the host of a container: carried to the node that has it, and the answer back.
//!
//!     client ─► manager ── whose host? ── own ─────────────────────► handler ─► drivers
//!                              └───────── another's ══ mTLS ══► [`Door`] ─► handler ─► drivers there
//!
//! Every manager knows the containers of the whole cluster, so what the state can answer is answered
//! where it is asked, and commands go to the leader anyway. What needs the host itself is carried on:
//! output, programs, files, terminals, readings. A node is asked once; what was carried to it is not
//! carried on. Workers know of their own containers only, and ask nobody.

mod door;
mod listen;
mod place;
mod stream;

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;

use super::Context;
use super::call::Call;
use super::error::{EngineError, chain};
use super::reply::Answer;
use crate::peer::PeerError;

pub use door::Door;
pub(super) use listen::{Inquiry, Said, listen, reachable};
pub(super) use place::{Place, elsewhere, node, of_container, of_exec};

/// Below this, a node serves its own API to managers.
pub const PREFIX: &str = "/peer/api/";

/// Small answers between nodes: facts about every container of a node.
const LONGEST: usize = 64 << 20;

/// Why a container of another node cannot be reached.
#[derive(Debug, Error)]
pub enum RelayError {
    #[error(
        "node {node} is down since {since}: the container {container} cannot be reached; see `wharfie node ls`"
    )]
    Down {
        node: String,
        since: String,
        container: String,
    },
    #[error(
        "node {node} has not said where it listens: the container {container} cannot be reached"
    )]
    NoAddress { node: String, container: String },
    #[error("node {node} does not answer: the container {container} cannot be reached")]
    Silent {
        node: String,
        container: String,
        source: Box<PeerError>,
    },
    #[error("node {node} answered what makes no sense: {reason}")]
    Nonsense { node: String, reason: String },
}

impl From<RelayError> for EngineError {
    fn from(error: RelayError) -> Self {
        Self::Unavailable(chain(&error))
    }
}

/// Carries a request to a node, under this path, and gives its answer back as it comes.
///
/// # Errors
///
/// Returns [`RelayError`] when the node cannot be reached, or goes down before it answers. A node
/// that goes down later breaks the answer off.
pub(super) async fn pass(
    context: &Arc<Context>,
    mut call: Call,
    place: Place,
    path: &str,
) -> Answer {
    let upgrade = call.take_upgrade();
    let request = carried(&mut call, path)?;
    let sent = context.membership.peers().carry(&place.peer, request);
    let mut response = tokio::select! {
        response = sent => response.map_err(|error| place.silent(error))?,
        error = stream::gone(context, &place) => return Err(error.into()),
    };
    let upgrades = match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Upgrades::Yes,
        _ => Upgrades::No,
    };
    clear(response.headers_mut(), upgrades);
    if upgrades == Upgrades::No {
        return Ok(response.map(|body| stream::body(context.clone(), place, body)));
    }
    let Some(upgrade) = upgrade else {
        return Err(EngineError::BadRequest("nobody asked for a stream".into()));
    };
    let there = hyper::upgrade::on(&mut response);
    tokio::spawn(stream::join(context.clone(), place, upgrade, there));
    Ok(response.map(|_| Body::empty()))
}

/// Asks a node for something without a body, and reads its JSON.
///
/// # Errors
///
/// Returns [`RelayError`], or what the node said.
pub(super) async fn ask<T: DeserializeOwned>(
    context: &Context,
    place: &Place,
    path: &str,
) -> Result<T, EngineError> {
    let bytes = send(context, place, "GET", path).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let node = place.node.description.hostname.clone();
        let reason = error.to_string();
        RelayError::Nonsense { node, reason }.into()
    })
}

/// Asks a node for something that goes on and on; it breaks off when the node goes down.
///
/// # Errors
///
/// Returns [`RelayError`], also when the node refuses.
pub(super) async fn stream(
    context: &Arc<Context>,
    place: Place,
    path: &str,
) -> Result<impl AsyncBufRead + Send + Unpin + use<>, RelayError> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = below(path).parse().unwrap_or_default();
    let response = context.membership.peers().carry(&place.peer, request);
    let response = tokio::select! {
        response = response => response.map_err(|error| place.silent(error))?,
        error = stream::gone(context, &place) => return Err(error),
    };
    if !response.status().is_success() {
        return Err(RelayError::Nonsense {
            node: place.node.description.hostname.clone(),
            reason: response.status().to_string(),
        });
    }
    let body = stream::body(context.clone(), place, response.into_body());
    let pieces = body
        .into_data_stream()
        .map(|it| it.map_err(io::Error::other));
    Ok(StreamReader::new(pieces.boxed()))
}

/// Tells a node to do something; what it answers is not looked at, unless it refuses.
///
/// # Errors
///
/// Returns [`RelayError`], or what the node said.
pub(super) async fn tell(context: &Context, place: &Place, path: &str) -> Result<(), EngineError> {
    send(context, place, "POST", path).await.map(drop)
}

async fn send(
    context: &Context,
    place: &Place,
    method: &str,
    path: &str,
) -> Result<axum::body::Bytes, EngineError> {
    let request = Request::builder().method(method).uri(below(path));
    let request = request.body(Body::empty());
    let request = request.map_err(|error| EngineError::internal(&error))?;
    let exchange = async {
        let response = context.membership.peers().request(&place.peer, request);
        let response = response.await.map_err(|error| place.silent(error))?;
        let status = response.status();
        Ok::<_, RelayError>((status, whole(place, response.into_body()).await?))
    };
    let (status, bytes) = tokio::select! {
        answer = exchange => answer?,
        error = stream::gone(context, place) => return Err(error.into()),
    };
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(bytes);
    }
    let refused: crate::peer::Refused = serde_json::from_slice(&bytes).unwrap_or_default();
    Err(EngineError::Hinted {
        status,
        message: refused.message,
        hint: refused.hint,
    })
}

async fn whole(place: &Place, body: Incoming) -> Result<axum::body::Bytes, RelayError> {
    let collected = Limited::new(body, LONGEST).collect().await;
    let collected = collected.map_err(|error| RelayError::Nonsense {
        node: place.node.description.hostname.clone(),
        reason: error.to_string(),
    })?;
    Ok(collected.to_bytes())
}

/// `/containers/…` as the other node's port serves it.
fn below(path: &str) -> String {
    format!("{PREFIX}{}", path.trim_start_matches('/'))
}

/// The request as the client sent it, but for its path and what belongs to the client's connection.
fn carried(call: &mut Call, path: &str) -> Result<Request<Body>, EngineError> {
    let query = call.query().map(|it| format!("?{it}")).unwrap_or_default();
    let mut request = Request::new(call.take_body());
    *request.method_mut() = call.method().clone();
    *request.uri_mut() = format!("{}{query}", below(path))
        .parse()
        .map_err(|_| EngineError::NoRoute)?;
    *request.headers_mut() = call.headers().clone();
    let upgrades = match request.headers().contains_key(header::UPGRADE) {
        true => Upgrades::Yes,
        false => Upgrades::No,
    };
    clear(request.headers_mut(), upgrades);
    request.headers_mut().remove(header::HOST);
    Ok(request)
}

/// Whether a connection is about to be no longer HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrades {
    No,
    Yes,
}

/// Takes away what is said about one connection only (RFC 9110, 7.6.1).
fn clear(headers: &mut HeaderMap, upgrades: Upgrades) {
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(HeaderName::from_static("keep-alive"));
    headers.remove(header::EXPECT);
    if upgrades == Upgrades::No {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
}

#[cfg(test)]
mod tests;
