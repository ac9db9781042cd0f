//! How the nodes of a cluster talk: one TCP port, TLS 1.3 with certificates on both sides, HTTP/1.1.
//!
//!     Peers ── request ──► kept connections ─┐            ┌─► certificate ─► still a member? ─┐
//!       └───── upgrade ──► one of its own ───┴─► Listener ┘        role enough? ◄─────────────┘
//!                                                                       └─► Router ─► handler
//!
//! A node is who its certificate says; where it is, is data. A caller is what its certificate *and*
//! the cluster's state say: a removed node is refused, and a demoted manager is a worker, whatever
//! its certificate still claims. Each exchange has a connection to itself while it lasts, so that a
//! heartbeat never waits behind an image.

mod error;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;

pub use error::PeerError;

/// The port that nodes listen on; Swarm's.
pub const DEFAULT_PORT: u16 = 2377;

/// Who is on the other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub node: NodeId,
    /// The lower of what its certificate and the cluster's state say.
    pub role: Role,
}

/// A node, and where it listens. Its certificate must name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    pub node: NodeId,
    pub address: SocketAddr,
}

/// What a caller must be for a path to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleNeeded {
    /// Any node of the cluster.
    Member,
    Manager,
}

/// A connection that is no longer HTTP.
pub type Raw = TokioIo<hyper::upgrade::Upgraded>;

/// Answers a request. It is dropped when the caller goes away.
pub type Handler =
    Arc<dyn Fn(Caller, Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Which handler serves which path, for whom.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
}

#[derive(Clone)]
#[expect(dead_code, reason = "read by the listener, which is next")]
struct Route {
    path: &'static str,
    needed: RoleNeeded,
    handler: Handler,
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a path, or with a slash at its end everything below it. The longest one wins.
    #[must_use]
    pub fn route(mut self, path: &'static str, needed: RoleNeeded, handler: Handler) -> Self {
        self.routes.push(Route {
            path,
            needed,
            handler,
        });
        self
    }
}

/// The way to the other nodes. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug, Default)]
pub struct Peers {}

impl Peers {
    /// One exchange, on a kept connection where there is one. The answer's head must come within
    /// 30 s; its body has no limit of its own.
    ///
    /// # Errors
    ///
    /// Returns [`PeerError`]; an answer with a status that is no success is no error.
    pub async fn request(
        &self,
        to: &PeerAddress,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, PeerError> {
        self.request_within(to, request, Duration::from_secs(30))
            .await
    }

    /// The same, with another limit for the answer's head.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub async fn request_within(
        &self,
        _to: &PeerAddress,
        _request: Request<Body>,
        _limit: Duration,
    ) -> Result<Response<Incoming>, PeerError> {
        Err(PeerError::NotJoined)
    }

    /// A connection of its own, after `POST path` with `Upgrade: wharfie` was answered with 101.
    ///
    /// # Errors
    ///
    /// Returns [`PeerError`], also when the other side answers anything else than 101.
    pub async fn upgrade(&self, _to: &PeerAddress, _path: &str) -> Result<Raw, PeerError> {
        Err(PeerError::NotJoined)
    }
}

/// The server's side of [`Peers::upgrade`]: the answer, and the connection once it has left.
///
/// `None` when the caller did not ask for it.
pub fn accept_upgrade(request: &mut Request<Incoming>) -> Option<(Upgrading, Response<Body>)> {
    use hyper::header::{CONNECTION, HeaderValue, UPGRADE};

    request.headers().get(UPGRADE)?;
    let upgrading = Upgrading(hyper::upgrade::on(request));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("wharfie"));
    Some((upgrading, response))
}

/// A connection that is about to be no longer HTTP.
pub struct Upgrading(hyper::upgrade::OnUpgrade);

impl Upgrading {
    /// `None` when the caller has gone before.
    pub async fn connection(self) -> Option<Raw> {
        self.0.await.ok().map(TokioIo::new)
    }
}
