//! The HTTP server on the node's socket: the Docker Engine API, and `/x/` for what Docker lacks.
//!
//!     client ─► server ─► call ─► route ─► docker::… or x::… ─► manager, drivers
//!                                             └─► EngineError ─► status and Docker's words
//!
//! | path | what |
//! |---|---|
//! | `/…`, `/v1.N/…` | [`docker`]: the Docker Engine API's shapes, one version for all |
//! | `/x/…` | [`x`]: stacks, their status and a watch |
//!
//! What needs the host of a container that is on another node goes there: [`relay`]. What is shown of
//! the cluster is what holds when it is asked for: [`fresh`].
//!
//! Docker's JSON lives in [`docker`] only; everything else speaks the scheduler's words. Handlers
//! keep nothing between requests but what [`Context`] holds: everything they say is read off the
//! state and the drivers.

use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

mod call;
mod context;
pub mod docker;
mod error;
mod filters;
mod frame;
mod fresh;
mod listen;
mod query;
pub mod relay;
mod reply;
mod route;
mod server;
pub(crate) mod time;
mod upload;
pub mod x;

pub use context::{Context, Parts};
pub use error::EngineError;
pub use fresh::HEADER as STALE;
pub use listen::{ListenError, listen};

/// Serves the sockets until told to stop; connections get a moment to end.
pub async fn serve(
    context: Arc<Context>,
    listeners: Vec<UnixListener>,
    shutdown: CancellationToken,
) {
    let events = tokio::spawn(
        context
            .events
            .clone()
            .follow(context.watch(), shutdown.clone()),
    );
    let servers = listeners
        .into_iter()
        .map(|listener| server::run(context.clone(), listener, shutdown.clone()));
    futures::future::join_all(servers).await;
    events.abort();
}
