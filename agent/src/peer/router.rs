//! Which handler serves which path, for whom.

use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::{Caller, Rank, refuse};

/// What a caller must be for a path to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleNeeded {
    /// Any node of the cluster.
    Member,
    /// A manager, or one that was demoted and still votes.
    Voter,
    Manager,
}

impl RoleNeeded {
    fn rank(self) -> Rank {
        match self {
            Self::Member => Rank::Worker,
            Self::Voter => Rank::Voter,
            Self::Manager => Rank::Manager,
        }
    }
}

/// Answers a request of a node. It is dropped when the caller goes away.
pub type Handler =
    Arc<dyn Fn(Caller, Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Answers a request of anybody at all, with or without a certificate.
pub type OpenHandler =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// The table of paths. Each owner registers its own.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
    open: Vec<(&'static str, OpenHandler)>,
}

#[derive(Clone)]
struct Route {
    path: &'static str,
    needed: RoleNeeded,
    handler: Handler,
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a path, or with a slash at its end everything below it. The longest one wins.
    #[must_use]
    pub fn route(mut self, path: &'static str, needed: RoleNeeded, handler: Handler) -> Self {
        self.routes.push(Route {
            path,
            needed,
            handler,
        });
        self
    }

    /// Serves a path to whoever asks: who wants to join has no certificate yet.
    #[must_use]
    pub fn open(mut self, path: &'static str, handler: OpenHandler) -> Self {
        self.open.push((path, handler));
        self
    }

    /// `caller` is `None` without a certificate.
    pub(super) async fn answer(
        &self,
        caller: Option<Caller>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let path = request.uri().path();
        if let Some((_, handler)) = self.open.iter().find(|(open, _)| *open == path) {
            return handler(request).await;
        }
        let Some(caller) = caller else {
            return refuse(StatusCode::UNAUTHORIZED, "a node's certificate is needed");
        };
        let Some(route) = self.find(path) else {
            return refuse(StatusCode::NOT_FOUND, "there is no such path between nodes");
        };
        if caller.rank < route.needed.rank() {
            return refuse(StatusCode::FORBIDDEN, "only a manager may ask for this");
        }
        (route.handler)(caller, request).await
    }

    fn find(&self, path: &str) -> Option<&Route> {
        let fits = |route: &&Route| match route.path.ends_with('/') {
            true => path.starts_with(route.path),
            false => path == route.path,
        };
        let fitting = self.routes.iter().filter(fits);
        fitting.max_by_key(|route| route.path.len())
    }
}
