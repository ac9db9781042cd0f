//! Files in and out of containers, as tar archives: `cp` and `export`.
//!
//! | module | what it does |
//! |---|---|
//! | [`path`] | a name in a container: cleaned, found, and described as Docker does |
//! | [`pack`] | a tree of the container → tar |
//! | [`unpack`] | tar → a directory of the container |

mod pack;
mod path;
mod unpack;

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::errno::Errno;
use scheduler::model::id::ContainerId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::SyncIoBridge;

use self::pack::{Contents, Names};
use self::path::{Cleaned, Description};
use self::unpack::UnpackError;
use super::lookup;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad, chain};
use crate::api::reply::{self, Answer};
use crate::api::upload::Upload;
use crate::image::decompress::decompress;

/// Pieces that wait for a slow client.
const QUEUE: usize = 16;
const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// `HEAD /containers/{id}/archive?path=`
pub(in crate::api) async fn head(context: &Context, call: &Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let description = describe(context, &found.id, wanted(call)?).await?;
    let mut response = Response::new(Body::empty());
    set_stat(&mut response, &description)?;
    Ok(response)
}

/// `GET /containers/{id}/archive?path=`
pub(in crate::api) async fn get(context: &Context, call: &Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let wanted = wanted(call)?;
    let description = describe(context, &found.id, wanted.clone()).await?;
    let mut response = packed(context, found.id.clone(), wanted, Contents::Mounts).await;
    set_stat(&mut response, &description)?;
    context
        .events
        .container(&context.state(), &found, "archive-path");
    Ok(response)
}

/// `GET /containers/{id}/export`
pub(in crate::api) async fn export(context: &Context, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let root = Cleaned::of("/.");
    context.events.container(&context.state(), &found, "export");
    Ok(packed(context, found.id, root, Contents::RootOnly).await)
}

/// `PUT /containers/{id}/archive?path=&noOverwriteDirNonDir=&copyUIDGID=`
///
/// A directory is never replaced by something else, or the other way round, whether that was asked
/// for or not: nothing in a container is deleted as a tree.
pub(in crate::api) async fn put(context: &Context, mut call: Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let wanted = wanted(&call)?;
    let body = SyncIoBridge::new(Upload::new(call.take_body()));
    let name = wanted.text.clone();
    let unpacked = context
        .containers
        .with_root(&found.id, move |root| {
            let content = decompress(body).map_err(UnpackError::Read)?;
            unpack::unpack(root, &wanted, content)
        })
        .await?;
    unpacked.map_err(|error| refused(error, &name, &found.id))?;
    context
        .events
        .container(&context.state(), &found, "extract-to-dir");
    reply::empty(StatusCode::OK)
}

/// `GET /containers/{id}/changes` and `/checkpoints`
pub(in crate::api) fn no_changes(context: &Context, id: &str) -> Answer {
    lookup::container(&context.state(), id)?;
    Err(EngineError::NotImplemented(
        "what a container has changed in its image is not told by wharfie yet; `export` has its files".into(),
    ))
}

fn wanted(call: &Call) -> Result<Cleaned, EngineError> {
    let path = call.params.get("path");
    path.map(Cleaned::of)
        .ok_or_else(|| bad("bad parameter: path cannot be empty"))
}

async fn describe(
    context: &Context,
    id: &ContainerId,
    wanted: Cleaned,
) -> Result<Description, EngineError> {
    let text = wanted.text.clone();
    let looked = context
        .containers
        .with_root(id, move |root| wanted.describe(root));
    looked.await?.map_err(|errno| missing(errno, &text, id))
}

fn missing(errno: Errno, path: &str, id: &ContainerId) -> EngineError {
    match errno {
        Errno::ENOENT => {
            EngineError::NotFound(format!("Could not find the file {path} in container {id}"))
        }
        Errno::ENOTDIR => bad(format!("not a directory: {path}")),
        other => EngineError::Internal(format!("cannot look at {path}: {}", other.desc())),
    }
}

fn refused(error: UnpackError, path: &str, id: &ContainerId) -> EngineError {
    match &error {
        UnpackError::Destination(Errno::ENOTDIR) => {
            bad(format!("extraction point is not a directory: {path}"))
        }
        UnpackError::Destination(Errno::EROFS) => {
            EngineError::Forbidden("container rootfs is marked read-only".into())
        }
        UnpackError::Destination(errno) => missing(*errno, path, id),
        UnpackError::Entry { .. } | UnpackError::Tar(_) => bad(chain(&error)),
        UnpackError::Read(_) | UnpackError::Write { .. } => EngineError::internal(&error),
    }
}

/// An archive that is made while it is sent; one that breaks off ends without its end.
async fn packed(
    context: &Context,
    id: ContainerId,
    wanted: Cleaned,
    contents: Contents,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let containers = context.containers.clone();
    tokio::spawn(async move {
        let out = Pipe(sender.clone());
        let names = match contents {
            Contents::Mounts => Names::Docker,
            Contents::RootOnly => Names::Relative,
        };
        let work = containers.with_root(&id, move |root| {
            pack::pack(root, &wanted, names, contents, out)
        });
        let problem = match work.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        tracing::warn!(error = %problem, container = %id, "an archive broke off");
        // Nobody is told when the client has left.
        let _ = sender.send(Err(problem)).await;
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    reply::set_type(&mut response, "application/x-tar");
    response
}

fn set_stat(response: &mut Response<Body>, found: &Description) -> Result<(), EngineError> {
    let json = serde_json::to_vec(found).map_err(|error| EngineError::internal(&error))?;
    let value = HeaderValue::from_str(&STANDARD.encode(json));
    let value = value.map_err(|error| EngineError::internal(&error))?;
    response.headers_mut().insert(STAT, value);
    Ok(())
}

/// What is written goes to the client.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
