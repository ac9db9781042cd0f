//! The client: requests to the node's socket, which is started when nobody answers on it.
//!
//!     command ─► Client ══ /run/wharfie/wharfie.sock ══► node
//!                  └─ nobody there: `wharfie agent`, detached, then the same socket
//!
//! Every request has its own connection: a unix socket costs microseconds to open, and a stream
//! (watch, logs, exec) then never stands in the way of a question.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Once;

use agent::api::STALE;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::output;

pub(crate) mod credentials;
mod frames;
mod lines;
pub(crate) mod node;

pub(crate) use frames::{Channel, Frames, Framing};
pub(crate) use lines::{ByteLines, JsonLines};

/// Both directions of a connection that speaks no HTTP any more.
pub(crate) type Hijacked = TokioIo<hyper::upgrade::Upgraded>;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// Why a request was not answered as hoped.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("cannot connect to the wharfie daemon at {endpoint} ({cause}). Is the node running?")]
    Unreachable {
        endpoint: Endpoint,
        cause: io::Error,
    },
    #[error("{message}")]
    Refused {
        status: u16,
        message: String,
        hint: Option<String>,
    },
    #[error("the connection to the node broke")]
    Broken(#[from] hyper::Error),
    #[error("the node's answer to {path} is not understood")]
    Answer {
        path: String,
        source: serde_json::Error,
    },
    #[error("the node does not take over the connection for {path}: it answers {status}")]
    NotUpgraded { path: String, status: StatusCode },
    #[error("cannot make a request for {path}")]
    Request {
        path: String,
        source: hyper::http::Error,
    },
    #[error("cannot write the request for {path}")]
    Encode {
        path: String,
        source: serde_json::Error,
    },
}

impl ApiError {
    /// The HTTP status, when the node refused.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What to do about it, when that is always the same.
    pub(crate) fn hint(&self) -> Option<String> {
        let (endpoint, cause) = match self {
            Self::Unreachable { endpoint, cause } => (endpoint, cause),
            _ => return None,
        };
        let hint = match endpoint {
            _ if cause.kind() == io::ErrorKind::PermissionDenied => {
                "Run wharfie as root, or join the group that owns the socket.".to_owned()
            }
            Endpoint::Unix(_) => {
                format!("Start it with `wharfie agent --host {endpoint}`, or name another one with --host or WHARFIE_HOST.")
            }
            Endpoint::Tcp(_) => {
                "Only a node on this host can be started from here; check the address in --host or WHARFIE_HOST.".to_owned()
            }
        };
        Some(hint)
    }
}

/// Where a node listens: `unix:///run/wharfie/wharfie.sock` or `tcp://127.0.0.1:2375`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp(String),
}

#[derive(Debug, Error)]
#[error("`{0}` is not an address of a node: use unix:///PATH or tcp://HOST:PORT")]
pub(crate) struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text
            .strip_prefix("unix://")
            .filter(|path| path.starts_with('/'))
        {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        match text.strip_prefix("tcp://") {
            Some(address) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            _ => Err(EndpointError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Asks one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Opens a connection and closes it again: somebody listens.
    pub(crate) async fn probe(&self) -> Result<(), ApiError> {
        self.open().await.map(drop)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let response = self.send(request(Method::GET, path, None)?).await?;
        decode(path, response).await
    }

    /// Like [`Self::get`]; `None` when there is no such thing.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a JSON body, and reads a JSON answer.
    pub(crate) async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let response = self
            .send(request(method, path, Some(encode(path, body)?))?)
            .await?;
        decode(path, response).await
    }

    /// Sends a request without a body; the answer is the caller's to read.
    pub(crate) async fn fetch(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, ApiError> {
        self.send(request(method, path, None)?).await
    }

    /// Sends bytes as they come; the answer does not matter.
    pub(crate) async fn upload(&self, path: &str, body: Body) -> Result<(), ApiError> {
        let mut request = request(Method::PUT, path, None)?;
        *request.body_mut() = body;
        self.send(request).await?.into_body().collect().await?;
        Ok(())
    }

    /// Sends a request without a body whose answer does not matter.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Result<(), ApiError> {
        let response = self.send(request(method, path, None)?).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    /// Sends a JSON body; the answer does not matter.
    pub(crate) async fn send_empty(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), ApiError> {
        let response = self
            .send(request(method, path, Some(encode(path, body)?))?)
            .await?;
        response.into_body().collect().await?;
        Ok(())
    }

    /// Sends a request without a body, and reads a JSON answer.
    pub(crate) async fn send_nothing<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ApiError> {
        let response = self.send(request(method, path, None)?).await?;
        decode(path, response).await
    }

    /// What a container says, as it comes, and how to tell its channels apart.
    pub(crate) async fn output(&self, path: &str) -> Result<(Incoming, Framing), ApiError> {
        let response = self.send(request(Method::GET, path, None)?).await?;
        let kind = response.headers().get(CONTENT_TYPE);
        let framing = match kind.is_some_and(|it| it == "application/vnd.docker.raw-stream") {
            true => Framing::Raw,
            false => Framing::Framed,
        };
        Ok((response.into_body(), framing))
    }

    /// The answer as JSON values, one a line.
    pub(crate) async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<JsonLines<T>, ApiError> {
        let response = self.send(request(Method::GET, path, None)?).await?;
        Ok(JsonLines::new(path, response.into_body()))
    }

    /// Sends bytes (or nothing), and reads JSON values, one a line.
    pub(crate) async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Body>,
    ) -> Result<JsonLines<T>, ApiError> {
        let mut builder = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        let request = builder
            .header(HOST, "wharfie")
            .body(body.unwrap_or_else(nothing))
            .map_err(|source| ApiError::Request {
                path: path.to_owned(),
                source,
            })?;
        Ok(JsonLines::new(path, self.send(request).await?.into_body()))
    }

    /// Takes the connection over for a raw conversation with a process.
    pub(crate) async fn hijack(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Hijacked, ApiError> {
        let mut request = request(Method::POST, path, Some(encode(path, body)?))?;
        let headers = request.headers_mut();
        headers.insert(
            CONNECTION,
            hyper::header::HeaderValue::from_static("Upgrade"),
        );
        headers.insert(UPGRADE, hyper::header::HeaderValue::from_static("tcp"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            return Err(ApiError::NotUpgraded {
                path: path.to_owned(),
                status,
            });
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    }

    async fn open(&self) -> Result<Box<dyn Connection>, ApiError> {
        let opened: io::Result<Box<dyn Connection>> = match &self.endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(|it| Box::new(it) as _),
            Endpoint::Tcp(address) => TcpStream::connect(address)
                .await
                .map(|it| Box::new(it) as _),
        };
        opened.map_err(|cause| ApiError::Unreachable {
            endpoint: self.endpoint.clone(),
            cause,
        })
    }

    /// Sends the request on a connection of its own; an error status becomes an error.
    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ApiError> {
        let io = TokioIo::new(self.open().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        // Ends with the answer's body, or with the process that it was taken over for.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await?;
        warn_of_old_news(&response);
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(refusal(
                status,
                &response.into_body().collect().await?.to_bytes(),
            ));
        }
        Ok(response)
    }
}

/// Without a majority of the managers, the one that was asked shows what it knew last. Said once.
fn warn_of_old_news(response: &Response<Incoming>) {
    static SAID: Once = Once::new();
    let said = response.headers().get(STALE);
    if let Some(text) = said.and_then(|it| it.to_str().ok()) {
        SAID.call_once(|| output::note(format!("warning: {text}")));
    }
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn encode(path: &str, body: &impl Serialize) -> Result<Bytes, ApiError> {
    let encoded = serde_json::to_vec(body);
    encoded.map(Bytes::from).map_err(|source| ApiError::Encode {
        path: path.to_owned(),
        source,
    })
}

fn request(method: Method, path: &str, json: Option<Bytes>) -> Result<Request<Body>, ApiError> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "wharfie")
        // They are printed with a warning.
        .header(STALE, "accept");
    if json.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    let body = match json {
        Some(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed(),
        None => nothing(),
    };
    builder.body(body).map_err(|source| ApiError::Request {
        path: path.to_owned(),
        source,
    })
}

async fn decode<T: DeserializeOwned>(
    path: &str,
    response: Response<Incoming>,
) -> Result<T, ApiError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|source| ApiError::Answer {
        path: path.to_owned(),
        source,
    })
}

/// Docker's `{"message": "…"}`, with our hint beside it.
fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
        hint: Option<String>,
    }
    let refusal = serde_json::from_slice(body).unwrap_or_else(|_| Refusal {
        message: match std::str::from_utf8(body).map(str::trim) {
            Ok(text) if !text.is_empty() => text.to_owned(),
            _ => format!("the node answers {status}"),
        },
        hint: None,
    });
    ApiError::Refused {
        status: status.as_u16(),
        message: refusal.message,
        hint: refusal.hint,
    }
}

/// A path with its query, every value percent-encoded.
pub(crate) fn url(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    for (index, (key, value)) in query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(&escape(value));
    }
    text
}

/// Percent-encodes everything that is not unreserved in a URL (RFC 3986, section 2.3).
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write;

    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A file as the body of a request.
pub(crate) fn body_of(reader: impl AsyncRead + Send + Sync + 'static) -> Body {
    use futures::StreamExt;

    let chunks = tokio_util::io::ReaderStream::new(reader);
    let frames = chunks.map(|chunk| chunk.map(hyper::body::Frame::data));
    BodyExt::boxed(http_body_util::StreamBody::new(frames))
}

/// The default place of the node's log, for messages.
pub(crate) fn log_of(data_root: &Path) -> PathBuf {
    data_root.join("agent.log")
}

#[cfg(test)]
mod tests;
