//! A command that was given to a manager which does not lead.
//!
//!     command ─► own manager ──NotLeader──► the leader, over [`PATH`] ─► answer
//!        ▲            ▲                        │ Elsewhere, no answer          │
//!        │            └── a pause ─────────────┘                               ▼
//!        └──────────────────────────── once the own state has it too ◄─────────┘
//!
//! The request keeps its id on all its ways, so that it is carried out once, whoever's answer was
//! lost. Whoever has the answer reads what it did from the manager that he asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use scheduler::control_plane::{Answer, Command, Refusal, Standing};
use scheduler::model::id::NodeId;
use scheduler::raft::number_of;
use scheduler::state::RequestId;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ManagerHandle;
use crate::cluster::whereabouts::Whereabouts;
use crate::peer::{self, PeerAddress, Peers};

/// Where the leader takes the commands of other managers.
pub const PATH: &str = "/peer/command";
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A leader that is asked must have answered by then; another one may lead since.
const ANSWER: Duration = Duration::from_secs(12);
/// An election takes about a second.
const PAUSE: Duration = Duration::from_millis(100);
/// From one manager to the other that it names, before the own one is asked again.
const HOPS: u32 = 3;
/// A stack with all its configs and secrets.
const LARGEST: usize = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Sent {
    id: RequestId,
    command: Command,
}

/// The way from a manager to the one that leads.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    pub(super) own: NodeId,
    pub(super) peers: Peers,
    pub(super) whereabouts: Arc<Whereabouts>,
}

/// What came back from one try.
#[derive(Debug)]
enum Outcome {
    Answered(Result<Answer, Refusal>),
    Lost,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Done,
    Ask(NodeId),
    /// After a pause, from the beginning.
    Again,
}

impl Forward {
    pub(super) async fn carry_out(
        &self,
        manager: &ManagerHandle,
        id: RequestId,
        command: Command,
    ) -> Result<Answer, Refusal> {
        let deadline = Instant::now() + PATIENCE;
        let mut asked: Option<PeerAddress> = None;
        let mut hops = 0;
        loop {
            let outcome = match &asked {
                None => {
                    let answer = manager.command_as(id.clone(), command.clone());
                    match timeout_at(deadline, answer).await {
                        Ok(result) => Outcome::Answered(result),
                        Err(_) => return Err(Refusal::Unsettled),
                    }
                }
                Some(leader) => {
                    hops += 1;
                    tokio::select! {
                        outcome = self.ask(leader, &id, &command) => outcome,
                        () = followed(manager, &leader.node) => Outcome::Lost,
                    }
                }
            };
            let step = next(&outcome, &self.own, hops);
            if step == Next::Done
                && let Outcome::Answered(result) = outcome
            {
                let answer = result?;
                if asked.is_some() {
                    catch_up(manager, answer.revision, deadline).await;
                }
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return Err(last_word(outcome));
            }
            asked = match step {
                Next::Ask(node) => self.address(manager, node),
                Next::Done | Next::Again => None,
            };
            if asked.is_none() {
                hops = 0;
                sleep(PAUSE).await;
            }
        }
    }

    fn address(&self, manager: &ManagerHandle, node: NodeId) -> Option<PeerAddress> {
        let address = self.whereabouts.of(manager.state().nodes.get(&node)?)?;
        Some(PeerAddress { node, address })
    }

    async fn ask(&self, leader: &PeerAddress, id: &RequestId, command: &Command) -> Outcome {
        let sent = Sent {
            id: id.clone(),
            command: command.clone(),
        };
        let Ok(words) = serde_json::to_vec(&sent) else {
            return Outcome::Lost;
        };
        let request = Request::post(PATH).body(Body::from(words));
        let Ok(request) = request else {
            return Outcome::Lost;
        };
        let exchange = async {
            let response = self
                .peers
                .request_within(leader, request, ANSWER)
                .await
                .ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            let body = Limited::new(response.into_body(), LARGEST)
                .collect()
                .await
                .ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        match timeout(ANSWER, exchange).await {
            Ok(Some(result)) => Outcome::Answered(result),
            Ok(None) | Err(_) => Outcome::Lost,
        }
    }
}

fn next(outcome: &Outcome, own: &NodeId, hops: u32) -> Next {
    match outcome {
        // A leader without room makes way for another one.
        Outcome::Answered(Err(Refusal::NoRoom { .. })) if hops > 0 => Next::Again,
        Outcome::Answered(Err(Refusal::NotLeader {
            leader: Some(leader),
        })) if leader != own && hops < HOPS => Next::Ask(leader.clone()),
        Outcome::Lost
        | Outcome::Answered(Err(Refusal::NotLeader { .. } | Refusal::Stale | Refusal::Unsettled)) => {
            Next::Again
        }
        Outcome::Answered(_) => Next::Done,
    }
}

/// What is known when no time is left.
fn last_word(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Answered(Err(Refusal::NotLeader { leader: None })) => Refusal::NoMajority,
        Outcome::Answered(Err(refusal)) => refusal,
        Outcome::Answered(Ok(_)) | Outcome::Lost => Refusal::Unsettled,
    }
}

/// Until another one leads than the one that is asked, who may never answer.
async fn followed(manager: &ManagerHandle, asked: &NodeId) {
    let mut standing = manager.standing();
    let (asked, term) = (number_of(asked), standing.borrow().term);
    let follows = |it: &Arc<Standing>| it.term > term && it.leader.is_some_and(|it| it != asked);
    if standing.wait_for(follows).await.is_err() {
        // The manager has ended: the answer may still come.
        std::future::pending::<()>().await;
    }
}

/// Whoever has an answer reads what it did.
async fn catch_up(manager: &ManagerHandle, revision: u64, deadline: Instant) {
    let mut states = manager.states();
    let reached = states.wait_for(|state| state.version >= revision);
    // What was carried out stays so, whether it can be seen here yet or not.
    let _ = timeout_at(deadline, reached).await;
}

/// Serves [`PATH`]: commands that other managers were given.
pub fn handler(manager: ManagerHandle) -> peer::Handler {
    Arc::new(move |_caller, request| {
        let manager = manager.clone();
        Box::pin(async move { answer(&manager, request).await })
    })
}

async fn answer(manager: &ManagerHandle, request: Request<Incoming>) -> Response<Body> {
    let refused = |status: StatusCode, reason: String| {
        let mut response = Response::new(Body::from(reason));
        *response.status_mut() = status;
        response
    };
    let body = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let sent: Sent = match serde_json::from_slice(&body) {
        Ok(sent) => sent,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let result = manager.command_as(sent.id, sent.command).await;
    match serde_json::to_vec(&result) {
        Ok(words) => Response::new(Body::from(words)),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
