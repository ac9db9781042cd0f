//! Bodies between nodes: JSON of a bounded size, and refusals in words.

use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{PeerAddress, PeerError};

/// Small questions and answers: certificates, descriptions, lists of nodes.
const LONGEST: usize = 1 << 20;

/// A refusal as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    pub message: String,
    pub hint: Option<String>,
}

/// A request with a JSON body.
pub fn post(path: &str, body: &impl Serialize) -> Request<Body> {
    // A type of ours that cannot be written is sent empty, and refused.
    let mut request = Request::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    request
}

/// The JSON body of a request or an answer, if it is one of at most 1 MiB.
///
/// # Errors
///
/// Returns a sentence for the other side.
pub async fn read_json<T: DeserializeOwned>(body: Incoming) -> Result<T, String> {
    let whole = Limited::new(body, LONGEST).collect().await;
    let bytes = whole.map_err(|error| format!("the body could not be read: {error}"))?;
    serde_json::from_slice(&bytes.to_bytes())
        .map_err(|error| format!("the body is not what it should be: {error}"))
}

/// What was answered, or the refusal.
///
/// # Errors
///
/// Returns [`PeerError::Refused`] for a status that is no success.
pub(super) async fn outcome<T: DeserializeOwned>(
    to: &PeerAddress,
    response: Response<Incoming>,
) -> Result<T, PeerError> {
    let address = to.address;
    let status = response.status();
    let broken = |reason: String| PeerError::Broken {
        address,
        source: reason.into(),
    };
    if status.is_success() {
        return read_json(response.into_body()).await.map_err(broken);
    }
    let refused: Refused = read_json(response.into_body()).await.unwrap_or_default();
    Err(PeerError::Refused {
        address,
        status: status.as_u16(),
        message: refused.message,
        hint: refused.hint,
    })
}

/// 200 with JSON.
pub fn answer(body: &impl Serialize) -> Response<Body> {
    with_json(StatusCode::OK, body)
}

/// A refusal in words.
pub fn refuse(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    let message = message.into();
    with_json(
        status,
        &Refused {
            message,
            hint: None,
        },
    )
}

pub(crate) fn with_json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut response = match serde_json::to_vec(body) {
        Ok(bytes) => Response::new(Body::from(bytes)),
        Err(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
    };
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
