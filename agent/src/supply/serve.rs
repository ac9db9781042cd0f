//! Gives blobs of this node's images to the nodes that may have them.
//!
//!     GET /peer/blobs/IMAGE          what is here of an image, as a manifest
//!     GET /peer/blobs/IMAGE/BLOB     one part of it; `range: bytes=N-` goes on there
//!
//! Digests are written as their 64 hex digits. 404: it is not here. 503: enough others are served.

use std::sync::Arc;

use axum::body::Body;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::header::RANGE;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use super::Supply;
use crate::image::Digest;
use crate::peer::{Caller, Handler, refuse};

pub(super) const PATH: &str = "/peer/blobs/";
/// Bytes that are read and sent in one go.
const PIECE: usize = 128 << 10;

pub(super) fn handler(supply: &Arc<Supply>) -> Handler {
    let supply = supply.clone();
    Arc::new(move |caller, request| {
        let supply = supply.clone();
        Box::pin(async move {
            match answer(&supply, &caller, &request).await {
                Ok(response) => response,
                Err((status, why)) => refuse(status, why),
            }
        })
    })
}

type Refusal = (StatusCode, &'static str);

async fn answer(
    supply: &Supply,
    caller: &Caller,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    const NOT_HERE: Refusal = (StatusCode::NOT_FOUND, "it is not here");
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "blobs can only be read"));
    }
    let (image, blob) = wanted(request.uri().path()).ok_or(NOT_HERE)?;
    let offer = supply.images.offer(&image).ok_or(NOT_HERE)?;
    if !supply.allows(caller, &image.to_string()).await {
        let why = "this node has nothing to run that needs this image";
        return Err((StatusCode::FORBIDDEN, why));
    }
    let Some(blob) = blob else {
        return Ok(Response::new(Body::from(offer)));
    };
    let path = supply.images.blob(&image, &blob).ok_or(NOT_HERE)?;
    let Ok(permit) = supply.uploads.clone().try_acquire_owned() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "enough others are served"));
    };
    let unreadable = |error: std::io::Error| {
        tracing::warn!(path = %path.display(), %error, "a blob cannot be read");
        NOT_HERE
    };
    let mut file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
    let from = from(request).ok_or((StatusCode::BAD_REQUEST, "the range is not understood"))?;
    if from > 0 {
        let sought = file.seek(std::io::SeekFrom::Start(from)).await;
        sought.map_err(unreadable)?;
    }
    let pieces = ReaderStream::with_capacity(file, PIECE).map(move |piece| {
        // Given back with the last piece, or when the other side has gone.
        let _held = &permit;
        piece
    });
    Ok(Response::new(Body::from_stream(pieces)))
}

/// The image, and which part of it.
fn wanted(path: &str) -> Option<(Digest, Option<Digest>)> {
    let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
    let rest = path.strip_prefix(PATH)?;
    match rest.split_once('/') {
        None => Some((digest(rest)?, None)),
        Some((image, blob)) => Some((digest(image)?, Some(digest(blob)?))),
    }
}

/// The first byte that is wanted; `None` for what is not understood.
fn from(request: &Request<Incoming>) -> Option<u64> {
    let Some(range) = request.headers().get(RANGE) else {
        return Some(0);
    };
    let range = range.to_str().ok()?;
    range
        .strip_prefix("bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let shown = wanted(path).map(|(image, blob)| match blob {
            None => format!("all of {}", image.short()),
            Some(blob) => format!("{} of {}", blob.short(), image.short()),
        });
        assert_eq!(shown.unwrap_or_default(), expected);
    }

    #[test]
    fn a_path_names_an_image_and_perhaps_a_part_of_it_and_nothing_else() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        check(&format!("/peer/blobs/{a}"), "all of aaaaaaaaaaaa");
        check(
            &format!("/peer/blobs/{a}/{b}"),
            "bbbbbbbbbbbb of aaaaaaaaaaaa",
        );
        check(&format!("/peer/blobs/{a}/"), "");
        check(&format!("/peer/blobs/{a}/{b}/{b}"), "");
        check(&format!("/peer/blobs/{a}/../../node.key"), "");
        check("/peer/blobs/abc", "");
        check("/peer/blobs/", "");
    }
}
