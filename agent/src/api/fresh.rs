//! What is shown of the cluster holds at the moment it is asked for, or the answer says that it may not.
//!
//!     request ─► [`Kind::of`] ─► local ────────────────────────────────────────► handler
//!                    ├─► acts: the state is brought up to date, if it can be ──► handler
//!                    └─► shows: the same ── agreed ────────────────────────────► handler
//!                                       └── not ─► client takes old news? ── yes ─► handler, [`HEADER`]
//!                                                                          └─ no ──► 503
//!
//! Any manager answers, also one that is behind, or that led until a moment ago: it first asks the
//! leader up to where everything is agreed on, and waits until it has that (ReadIndex; many who ask
//! at once are one question). So what one manager has confirmed every other one shows.
//!
//! Without a majority nobody knows what holds. Docker's clients cannot be told that an answer is old,
//! and are refused; wharfie's own say with [`HEADER`] that they can, get what this manager knew last,
//! and print the warning. What needs only this host (logs, programs in containers, files) goes on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};

use super::Context;
use super::call::{Call, Origin};
use super::error::EngineError;

/// In a request: old news are welcome. In an answer: why it is such.
pub const HEADER: &str = "wharfie-stale";

/// An election takes a second or two; on a busy machine a few.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long after waiting in vain nobody waits for the whole time again.
const IN_VAIN: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);

/// What a request is to the cluster's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is about this node alone, or says itself how it stands.
    Local,
    /// It finds things in the state and then does something; what it changes is agreed on anyway.
    Acts,
    /// Its answer is the state.
    Shows,
}

impl Kind {
    fn of(method: &str, path: &[&str]) -> Self {
        let reads = method == "GET" || method == "HEAD";
        match path {
            ["containers", "json"]
            | ["containers", _, "json"]
            | ["networks" | "volumes" | "secrets" | "configs", ..]
            | ["x", "stacks" | "nodes", ..]
            | ["x", "cluster", "ca"]
                if reads =>
            {
                Self::Shows
            }
            [
                "containers" | "exec" | "networks" | "volumes" | "secrets" | "configs",
                ..,
            ] => Self::Acts,
            ["x", "stacks" | "nodes", ..] => Self::Acts,
            ["x", "cluster", "tokens" | "ca" | "settings"] => Self::Acts,
            _ => Self::Local,
        }
    }
}

/// When waiting was in vain last.
#[derive(Debug, Default)]
pub(super) struct Vain(Mutex<Option<Instant>>);

impl Vain {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn patience(&self) -> Duration {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.is_some_and(|at| at.elapsed() < IN_VAIN) {
            true => SHORT,
            false => PATIENCE,
        }
    }
}

/// What is to be said of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Fresh,
    Stale,
}

/// Brings the state up to date for a request.
///
/// # Errors
///
/// Returns [`EngineError::Hinted`] when that cannot be done, and the client takes nothing older.
pub(super) async fn look(context: &Context, call: &Call) -> Result<News, EngineError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let kind = Kind::of(call.method().as_str(), &path);
    // What a manager carries here it has looked at already.
    if kind == Kind::Local || call.origin() == Origin::Manager {
        return Ok(News::Fresh);
    }
    let read = tokio::time::timeout(context.vain.patience(), context.manager.read());
    if matches!(read.await, Ok(Ok(()))) {
        context.vain.set(None);
        return Ok(News::Fresh);
    }
    context.vain.set(Some(Instant::now()));
    match kind {
        Kind::Local | Kind::Acts => Ok(News::Fresh),
        Kind::Shows if call.header(HEADER).is_some() => Ok(News::Stale),
        Kind::Shows => Err(EngineError::Hinted {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "no majority of the managers answers: nobody knows what holds now".to_owned(),
            hint: Some("wharfie's own commands show what this manager knew last.".to_owned()),
        }),
    }
}

/// Says so on an answer that may be out of date.
pub(super) fn mark(context: &Context, news: News, response: &mut Response<Body>) {
    if news == News::Fresh {
        return;
    }
    let state = context.state();
    let own = state.nodes.get(&context.node);
    let name = own.map_or(context.node.as_str(), |row| row.name());
    let text = format!(
        "no majority of the managers answers: this is what {name} knew last, and may not hold any more"
    );
    // A host name that no header can hold is left out.
    let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(
        "no majority of the managers answers: this is what was known last",
    ));
    response
        .headers_mut()
        .insert(HeaderName::from_static(HEADER), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, expected: Kind) {
        let (method, path) = request.split_once(" /").unwrap();
        let path: Vec<&str> = path.split('/').collect();
        assert_eq!(Kind::of(method, &path), expected, "{request}");
    }

    #[test]
    fn what_claims_to_be_the_clusters_state_is_that() {
        check("GET /containers/json", Kind::Shows);
        check("GET /containers/web/json", Kind::Shows);
        check("GET /networks/front", Kind::Shows);
        check("GET /volumes", Kind::Shows);
        check("GET /x/stacks/shop/why/web", Kind::Shows);
        check("GET /x/nodes", Kind::Shows);
    }

    #[test]
    fn what_is_done_goes_on_without_a_majority_where_it_needs_none() {
        check("GET /containers/web/logs", Kind::Acts);
        check("POST /containers/web/exec", Kind::Acts);
        check("GET /containers/web/archive", Kind::Acts);
        check("PUT /x/stacks/shop", Kind::Acts);
        check("DELETE /networks/front", Kind::Acts);
    }

    #[test]
    fn what_is_this_nodes_own_never_waits() {
        check("GET /_ping", Kind::Local);
        check("GET /images/json", Kind::Local);
        check("GET /x/cluster", Kind::Local);
        check("GET /x/host/containers", Kind::Local);
        check("POST /x/cluster/recover", Kind::Local);
    }
}
