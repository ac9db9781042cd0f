//! Answers: JSON, nothing, streams whose headers leave at once, and connections handed over.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::call::Call;
use super::error::EngineError;
use super::frame::Encoding;

/// What a handler gives back.
pub(super) type Answer = Result<Response<Body>, EngineError>;

/// Pieces of a stream that wait for a slow client before the writer waits too.
const STREAM_QUEUE: usize = 32;

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    json_with(StatusCode::OK, value)
}

/// JSON with another status, e.g. 201.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut body = serde_json::to_vec(value)
        .map_err(|error| EngineError::Internal(format!("cannot write the answer: {error}")))?;
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    set_type(&mut response, "application/json");
    Ok(response)
}

/// A status and no body, e.g. 204.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

/// 200 whose headers leave at once, and the place to write its body to.
///
/// The receiver of the body is gone when the client is: writing fails then.
pub(super) fn stream(content_type: &'static str) -> (mpsc::Sender<Bytes>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let pieces = ReceiverStream::new(receiver).map(Ok::<Bytes, Infallible>);
    let mut response = Response::new(Body::from_stream(pieces));
    set_type(&mut response, content_type);
    (sender, response)
}

/// A JSON object as a line of a stream.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.extend_from_slice(b"\r\n");
    Bytes::from(text)
}

pub(super) fn set_type(response: &mut Response<Body>, content_type: &'static str) {
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// A connection that is no longer HTTP.
pub(super) type Raw = TokioIo<hyper::upgrade::Upgraded>;

/// The connection, as soon as the answer has left.
pub(super) struct Handover(hyper::upgrade::OnUpgrade);

impl Handover {
    /// `None` when the client has gone before.
    pub(super) async fn connection(self) -> Option<Raw> {
        self.0.await.ok().map(TokioIo::new)
    }
}

/// 101: from now on both sides send bytes as they are.
///
/// # Errors
///
/// [`EngineError::BadRequest`] when the client did not ask for it with `Upgrade: tcp`.
pub(super) fn hijack(
    call: &mut Call,
    encoding: Encoding,
) -> Result<(Handover, Response<Body>), EngineError> {
    let upgrade = call.take_upgrade().ok_or_else(|| {
        EngineError::BadRequest(
            "this stream goes both ways: ask with `Connection: Upgrade` and `Upgrade: tcp`".into(),
        )
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set_type(&mut response, encoding.content_type());
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    Ok((Handover(upgrade), response))
}
