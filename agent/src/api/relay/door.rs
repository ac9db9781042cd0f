//! Where the requests that managers carry here come in.

use std::sync::{Arc, OnceLock, Weak};

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::PREFIX;
use crate::api::call::Origin;
use crate::api::{Context, server};
use crate::peer::{self, refuse};

/// The port opens before there is an API to serve, so this is opened later. It does not keep the
/// API alive.
#[derive(Clone, Default)]
pub struct Door(Arc<OnceLock<Weak<Context>>>);

impl Door {
    /// From now on requests are answered. Only the first call counts.
    pub fn open(&self, context: &Arc<Context>) {
        let _ = self.0.set(Arc::downgrade(context));
    }

    /// Serves [`PREFIX`].
    pub fn handler(&self) -> peer::Handler {
        let door = self.clone();
        Arc::new(move |_caller, request| {
            let door = door.clone();
            Box::pin(async move { door.answer(request).await })
        })
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(context) = self.0.get().and_then(Weak::upgrade) else {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "this node is about to answer",
            );
        };
        let Some(uri) = own(request.uri()) else {
            return refuse(StatusCode::NOT_FOUND, "managers ask for no such thing");
        };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Origin::Manager);
        server::answer(context, request.map(Body::new)).await
    }
}

/// The path in the node's own API, if it is one of those that need its host.
fn own(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_prefix(PREFIX)?;
    let first = path.split('/').next()?;
    if !matches!(first, "containers" | "exec" | "x") {
        return None;
    }
    if first == "x" && !path.starts_with("x/host/") {
        return None;
    }
    let query = uri.query().map(|it| format!("?{it}")).unwrap_or_default();
    let path: PathAndQuery = format!("/{path}{query}").parse().ok()?;
    Some(Uri::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &str, expected: Option<&str>) {
        let own = own(&asked.parse().unwrap());
        assert_eq!(own.map(|uri| uri.to_string()).as_deref(), expected);
    }

    #[test]
    fn managers_ask_for_what_needs_the_host_and_for_nothing_else() {
        check(
            "/peer/api/containers/1f/logs?follow=1&tail=all",
            Some("/containers/1f/logs?follow=1&tail=all"),
        );
        check("/peer/api/exec/1f/start", Some("/exec/1f/start"));
        check("/peer/api/x/host/containers", Some("/x/host/containers"));
        check("/peer/api/x/cluster/leave", None);
        check("/peer/api/images/json", None);
        check("/peer/api/", None);
        check("/containers/1f/logs", None);
    }
}
