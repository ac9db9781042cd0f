//! The calling side: connections that are kept, and some that are not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{broken, handshake};
use super::exchange::outcome;
use super::{Identities, PeerAddress, PeerError, Raw, post, socket};
use crate::identity::{self, Identity, Pin};

/// A node in the same cluster answers in milliseconds; on the other side of the world in half a second.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Less than the other side waits.
const KEEP: Duration = Duration::from_secs(45);
/// Kept connections to one node: one for questions and one for what takes longer. Both ends hold
/// 20 KB and more for each.
const MOST_KEPT: usize = 2;

/// The way to the other nodes. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Peers {
    identities: Identities,
    kept: Arc<Mutex<BTreeMap<PeerAddress, Vec<Kept>>>>,
    refused: Arc<Notify>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

struct Kept {
    sender: SendRequest<Body>,
    /// Whose certificate was shown.
    identity: Arc<Identity>,
    used: Instant,
}

impl Peers {
    pub fn new(identities: Identities) -> Self {
        Self {
            identities,
            kept: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Returns when somebody has refused this node's certificate since the last call.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    /// A refusal is news for whoever keeps the certificate.
    fn heed(&self, error: PeerError) -> PeerError {
        if matches!(error, PeerError::CertificateRefused { .. }) {
            self.refused.notify_one();
        }
        error
    }

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
        self.request_within(to, request, ANSWER_LIMIT).await
    }

    /// The same, with another limit for the answer's head.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub async fn request_within(
        &self,
        to: &PeerAddress,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, PeerError> {
        let exchange = self.exchange(to, with_host(request));
        let address = to.address;
        let done = timeout(limit, exchange).await;
        done.map_err(|_| PeerError::TimedOut { address, limit })?
    }

    /// The same, for an answer that may take as long as it takes: only the connection has its limits,
    /// and whoever asks watches the other side. A request that asks for another protocol may be
    /// answered with 101.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub async fn carry(
        &self,
        to: &PeerAddress,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, PeerError> {
        self.exchange(to, with_host(request)).await
    }

    /// Asks with JSON and reads JSON, within 30 s altogether.
    ///
    /// # Errors
    ///
    /// Returns [`PeerError`]; [`PeerError::Refused`] for a status that is no success.
    pub async fn call<T: DeserializeOwned>(
        &self,
        to: &PeerAddress,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, PeerError> {
        let (address, limit) = (to.address, ANSWER_LIMIT);
        let exchange = async {
            let response = self.request(to, post(path, body)).await?;
            outcome(to, response).await
        };
        let done = timeout(limit, exchange).await;
        done.map_err(|_| PeerError::TimedOut { address, limit })?
    }

    /// A connection of its own, after `POST path` with `Upgrade: wharfie` was answered with 101.
    ///
    /// # Errors
    ///
    /// Returns [`PeerError`], also when the other side answers anything else than 101.
    pub async fn upgrade(&self, to: &PeerAddress, path: &str) -> Result<Raw, PeerError> {
        let (address, limit) = (to.address, ANSWER_LIMIT);
        let mut request = with_host(post(path, &()));
        *request.body_mut() = Body::empty();
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("wharfie"));
        let switch = async {
            let identity = self.identity()?;
            let mut sender = self.connect(to, &identity).await?;
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| broken(address, error))?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return match outcome::<serde_json::Value>(to, response).await {
                    Err(error) => Err(error),
                    Ok(_) => Err(PeerError::Broken {
                        address,
                        source: "it answered, where a stream was asked for".into(),
                    }),
                };
            }
            let upgraded = hyper::upgrade::on(response).await;
            let upgraded = upgraded.map_err(|error| broken(address, error))?;
            Ok(TokioIo::new(upgraded))
        };
        let done = timeout(limit, switch).await;
        let done = done.map_err(|_| PeerError::TimedOut { address, limit })?;
        done.map_err(|error| self.heed(error))
    }

    fn identity(&self) -> Result<Arc<Identity>, PeerError> {
        let identity = self.identities.borrow().clone();
        identity.ok_or(PeerError::NotJoined)
    }

    async fn exchange(
        &self,
        to: &PeerAddress,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, PeerError> {
        let identity = self.identity()?;
        let address = to.address;
        while let Some(mut kept) = self.take(to, &identity) {
            match kept.sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(to, kept.sender, identity);
                    return Ok(response);
                }
                // It was closed before it took the request: another one will.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(address, error.into_error())),
                },
            }
        }
        let mut sender = self.connect(to, &identity).await?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.heed(broken(address, error)))?;
        self.keep(to, sender, identity);
        Ok(response)
    }

    async fn connect(
        &self,
        to: &PeerAddress,
        identity: &Identity,
    ) -> Result<SendRequest<Body>, PeerError> {
        let name = identity::server_name(&to.node).map_err(|error| PeerError::Broken {
            address: to.address,
            source: error.into(),
        })?;
        connect(to, name, identity.client.clone()).await
    }

    /// A kept connection on which nothing is under way.
    fn take(&self, to: &PeerAddress, identity: &Arc<Identity>) -> Option<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = kept.get_mut(to)?;
        of_node.retain(|it| {
            let fresh = it.used.elapsed() < KEEP && Arc::ptr_eq(&it.identity, identity);
            fresh && !it.sender.is_closed()
        });
        let free = of_node.iter().position(|it| it.sender.is_ready());
        let found = free.map(|at| of_node.swap_remove(at));
        if of_node.is_empty() {
            kept.remove(to);
        }
        found
    }

    fn keep(&self, to: &PeerAddress, sender: SendRequest<Body>, identity: Arc<Identity>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = kept.entry(to.clone()).or_default();
        if of_node.len() < MOST_KEPT {
            of_node.push(Kept {
                sender,
                identity,
                used: Instant::now(),
            });
        }
    }
}

/// A node without a certificate that speaks with a manager of a cluster it knows by its authority.
pub struct Guest(Arc<ClientConfig>);

impl Guest {
    pub(crate) fn new(pin: Pin) -> Result<Self, identity::IdentityError> {
        Ok(Self(Arc::new(identity::joining_client(pin)?)))
    }

    /// Asks with JSON and reads JSON, within 30 s altogether. Also tells the address of this host
    /// on the way there, before asking.
    ///
    /// # Errors
    ///
    /// As [`Peers::call`].
    pub async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        address: SocketAddr,
        path: &str,
        body: impl FnOnce(SocketAddr) -> B,
    ) -> Result<T, PeerError> {
        let limit = ANSWER_LIMIT;
        let to = PeerAddress {
            node: scheduler::model::id::NodeId::new("joining"),
            address,
        };
        let name = identity::server_name(&to.node).map_err(|error| PeerError::Broken {
            address,
            source: error.into(),
        })?;
        let exchange = async {
            let stream = dial(address).await?;
            let here = stream.local_addr();
            let here = here.map_err(|source| PeerError::Unreachable { address, source })?;
            let mut sender = secure(&to, stream, name, self.0.clone()).await?;
            let request = with_host(post(path, &body(here)));
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| broken(address, error))?;
            outcome(&to, response).await
        };
        let done = timeout(limit, exchange).await;
        done.map_err(|_| PeerError::TimedOut { address, limit })?
    }
}

async fn connect(
    to: &PeerAddress,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<SendRequest<Body>, PeerError> {
    let stream = dial(to.address).await?;
    secure(to, stream, name, config).await
}

async fn dial(address: SocketAddr) -> Result<TcpStream, PeerError> {
    let limit = CONNECT_LIMIT;
    let dialled = timeout(limit, TcpStream::connect(address)).await;
    let dialled = dialled.map_err(|_| PeerError::TimedOut { address, limit })?;
    let stream = dialled.map_err(|source| PeerError::Unreachable { address, source })?;
    socket::tune(&stream);
    Ok(stream)
}

async fn secure(
    to: &PeerAddress,
    stream: TcpStream,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<SendRequest<Body>, PeerError> {
    let (address, limit) = (to.address, HANDSHAKE_LIMIT);
    let secured = TlsConnector::from(config).connect(name, stream);
    let secured = timeout(limit, secured).await;
    let secured = secured.map_err(|_| PeerError::TimedOut { address, limit })?;
    let stream = secured.map_err(|error| handshake(to, error))?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| broken(address, error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "the connection to a node broke");
        }
    });
    Ok(sender)
}

/// HTTP/1.1 asks for it; who is meant is in the certificate.
fn with_host(mut request: Request<Body>) -> Request<Body> {
    let host = HeaderValue::from_static("wharfie");
    request.headers_mut().insert(HOST, host);
    if *request.method() == Method::CONNECT {
        *request.method_mut() = Method::POST;
    }
    request
}
