//! The leader goes to nodes that are down and says where the managers are.
//!
//! A node that was away while the managers moved knows only where they were, and would look for them
//! there for ever. The leader knows where the node was.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeStatus;
use scheduler::state::State;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Membership;
use super::enrol;
use super::leave::Shared;
use crate::manager::ManagerHandle;
use crate::peer::{Handler, PeerAddress, RoleNeeded, Router, answer, read_json, refuse};

const PATH: &str = "/peer/managers";
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(5);
/// Most of them are switched off, and do not even refuse.
const LIMIT: Duration = Duration::from_secs(3);
const AT_A_TIME: usize = 32;

/// Goes on its rounds while this manager leads; runs for as long as the node does.
pub async fn visit(membership: Shared, manager: ManagerHandle) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if !manager.standing().borrow().leads {
            continue;
        }
        let state = manager.state();
        let managers = enrol::managers(&state);
        let lost = lost(&state, &membership.node);
        let visits = futures::stream::iter(lost).for_each_concurrent(AT_A_TIME, |node| {
            let (membership, managers) = (&membership, &managers);
            async move {
                let said = membership.peers().call::<()>(&node, PATH, managers);
                if let Ok(Ok(())) = timeout(LIMIT, said).await {
                    tracing::debug!(node = %node.node, "it was told where the managers are");
                }
            }
        });
        visits.await;
    }
}

fn lost(state: &State, own: &NodeId) -> Vec<PeerAddress> {
    let nodes = state.nodes.values();
    nodes
        .filter(|row| row.status == NodeStatus::Down && row.id != *own)
        .filter_map(|row| {
            Some(PeerAddress {
                node: row.id.clone(),
                address: row.address?,
            })
        })
        .collect()
}

/// What every node hears from managers.
#[must_use]
pub fn visitor_routes(router: Router, membership: &Shared) -> Router {
    let membership = membership.clone();
    let handler: Handler = std::sync::Arc::new(move |_caller, request| {
        let membership = membership.clone();
        Box::pin(async move { told(&membership, request).await })
    });
    router.route(PATH, RoleNeeded::Manager, handler)
}

async fn told(membership: &Membership, request: Request<Incoming>) -> Response<Body> {
    match read_json::<Vec<(NodeId, SocketAddr)>>(request.into_body()).await {
        Ok(managers) => {
            membership.remember_managers(&managers);
            membership.found.send_replace(membership.managers());
            answer(&())
        }
        Err(message) => refuse(StatusCode::BAD_REQUEST, message),
    }
}
