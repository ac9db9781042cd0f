//! Takes connections, guards the door, and puts on every answer what clients look for there.
//!
//!     accept ─► HTTP/1 ─► browser? refuse ─► route ─► answer + Api-Version, Ostype, Server
//!
//! The socket is as good as root: file permissions are its only lock, and there is no TCP port
//! without certificates. A panic in a handler ends that connection and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::error::{Dialect, EngineError};
use super::{Context, docker, fresh, route};

/// How long requests may go on after the server was told to stop. Streams never end by themselves.
const FAREWELL: Duration = Duration::from_millis(500);

/// After an error of `accept` (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a socket until told to stop.
pub(super) async fn run(
    context: Arc<Context>,
    listener: UnixListener,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(context.clone(), stream, shutdown.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all_done).await;
}

async fn converse(context: Arc<Context>, stream: UnixStream, shutdown: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(answer(context, request.map(Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // Clients come and go as they like.
        _ = connection.as_mut() => {}
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Answers one request, whatever it is.
pub(super) async fn answer(context: Arc<Context>, request: Request<Body>) -> Response<Body> {
    let started = std::time::Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match respond(context, request).await {
        Ok(response) => response,
        Err((dialect, error)) => error.into_response(dialect),
    };
    sign(response.headers_mut());
    tracing::debug!(%method, path, status = response.status().as_u16(), elapsed = ?started.elapsed(), "answered");
    response
}

async fn respond(
    context: Arc<Context>,
    request: Request<Body>,
) -> Result<Response<Body>, (Dialect, EngineError)> {
    refuse_browsers(request.headers()).map_err(|error| (Dialect::Docker, error))?;
    let call = Call::new(request).map_err(|error| (Dialect::Docker, error))?;
    let dialect = call.dialect;
    let news = fresh::look(&context, &call).await;
    let news = news.map_err(|error| (dialect, error))?;
    let answered = route::route(context.clone(), call).await;
    let mut response = answered.map_err(|error| (dialect, error))?;
    fresh::mark(&context, news, &mut response);
    Ok(response)
}

/// A page in a browser on this machine must not reach the engine by way of a proxy or a forward.
fn refuse_browsers(headers: &HeaderMap) -> Result<(), EngineError> {
    let from_page = ["origin", "sec-fetch-site", "sec-fetch-mode"];
    match from_page.iter().find(|name| headers.contains_key(**name)) {
        Some(name) => Err(EngineError::Forbidden(format!(
            "requests from web pages are refused (this one has the header `{name}`)"
        ))),
        None => Ok(()),
    }
}

/// Adds what every answer of Docker has.
fn sign(headers: &mut HeaderMap) {
    let fixed = [
        (HeaderName::from_static("api-version"), docker::API_VERSION),
        (HeaderName::from_static("docker-experimental"), "false"),
        (HeaderName::from_static("ostype"), "linux"),
        (
            header::SERVER,
            concat!("wharfie/", env!("CARGO_PKG_VERSION"), " (linux)"),
        ),
    ];
    for (name, value) in fixed {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}
