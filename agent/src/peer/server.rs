//! The listening side: who calls, whether it may, and what serves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::revocable::{Handle, Revocable};
use super::{Admission, Caller, Denied, Identities, Rank, Raw, Router, refuse, socket};
use crate::identity::Facts;

/// Connections at a time: a hundred nodes have some ten each.
const MOST_CONNECTIONS: usize = 4096;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Within which a caller has read why there was no handshake.
const FAREWELL: Duration = Duration::from_secs(1);
/// A kept connection on which nothing is asked for so long is closed. The caller gives up before.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// After an error of accept(2), e.g. too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the port is not open.
#[derive(Debug, Error)]
pub enum ListenError {
    #[error("cannot listen for other nodes on {address}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Takes the port. Nothing is answered before [`serve`].
///
/// # Errors
///
/// Returns [`ListenError::Bind`] when somebody else has it, or this host has no such address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ListenError::Bind { address, source })
}

/// What stands between a connection and a handler.
#[derive(Clone)]
pub struct Gate {
    pub identities: Identities,
    pub admission: Admission,
    pub router: Router,
}

/// Serves until told to stop; then every connection ends.
pub async fn serve(listener: TcpListener, gate: Gate, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection of a node could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            debug!(%from, "too many connections: this one is closed");
            continue;
        };
        let (gate, shutdown) = (gate.clone(), shutdown.clone());
        tokio::spawn(async move {
            connection(stream, from, gate, shutdown).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, gate: Gate, shutdown: CancellationToken) {
    let Some(identity) = gate.identities.borrow().clone() else {
        return;
    };
    socket::tune(&stream);
    let (stream, handle) = Revocable::new(stream);
    let acceptor = TlsAcceptor::from(identity.server.clone());
    let accepting = acceptor.accept(stream).into_fallible();
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, stream))) => {
            debug!(%from, %error, "no handshake with this caller");
            return part(stream).await;
        }
        Err(_) => return debug!(%from, "the handshake took too long"),
    };
    let caller = match caller(&stream) {
        None => Ok(None),
        Some(facts) => gate.admission.admit(&facts).map(|rank| Some((facts, rank))),
    };
    let caller = match caller {
        Ok(caller) => {
            let watched = caller.clone();
            tokio::spawn(watch(gate.admission.clone(), watched, handle, shutdown));
            Ok(caller.map(|(facts, rank)| Caller {
                node: facts.node,
                rank,
            }))
        }
        Err(denied) => Err(denied),
    };
    let service = service_fn(move |request| {
        let (router, caller) = (gate.router.clone(), caller.clone());
        async move { Ok::<_, std::convert::Infallible>(respond(&router, caller, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%from, %error, "the connection of a node broke");
    }
}

/// Closed with something unread, a connection is reset, and why may never arrive.
async fn part(mut stream: Revocable) {
    let read = async {
        let _ = stream.shutdown().await;
        let mut rest = [0; 1024];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    };
    let _ = tokio::time::timeout(FAREWELL, read).await;
}

async fn respond(
    router: &Router,
    caller: Result<Option<Caller>, Denied>,
    request: Request<Incoming>,
) -> Response<Body> {
    match caller {
        Ok(caller) => router.answer(caller, request).await,
        Err(denied) => refuse(StatusCode::FORBIDDEN, denied.to_string()),
    }
}

/// What the certificate says, which TLS has checked.
fn caller(stream: &TlsStream<Revocable>) -> Option<Facts> {
    let (_, tls) = stream.get_ref();
    Facts::of(tls.peer_certificates()?.first()?).ok()
}

/// Takes the connection away as soon as its holder is no longer what it was when it came.
async fn watch(
    mut admission: Admission,
    caller: Option<(Facts, Rank)>,
    handle: Handle,
    shutdown: CancellationToken,
) {
    let changed = async {
        let Some((facts, rank)) = caller else {
            return std::future::pending().await;
        };
        while admission.admit(&facts) == Ok(rank) {
            admission.changed().await;
        }
    };
    tokio::select! {
        () = handle.closed.cancelled() => {}
        () = shutdown.cancelled() => handle.revoke.cancel(),
        () = changed => handle.revoke.cancel(),
    }
}

/// The server's side of [`Peers::upgrade`](super::Peers::upgrade): the answer, and the connection
/// once it has left. `None` when the caller did not ask for it.
pub fn accept_upgrade(request: &mut Request<Incoming>) -> Option<(Upgrading, Response<Body>)> {
    let protocol = request.headers().get(UPGRADE)?.clone();
    let upgrading = Upgrading(hyper::upgrade::on(request));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
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
