//! What members of the consensus group say to each other, between nodes.
//!
//!     queue of a member ─► one stream (`/peer/raft`) ─► frames: length (u32, big end first), message
//!                      └─► a state goes on a connection of its own (`/peer/raft/state`)
//!
//! A message that cannot be sent now is dropped, and the group is told: it sends what is right later.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use scheduler::model::id::NodeId;
use scheduler::raft::{Delivery, Message, number_of, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Membership;
use crate::manager::ManagerHandle;
use crate::manager::peers::{Links, Notices};
use crate::peer::{
    Caller, Handler, PeerAddress, Raw, RoleNeeded, Router, accept_upgrade, answer, refuse,
};
use scheduler::state::State;

/// A message has at most 1 MiB of entries, and a little around them; one entry may be larger.
const LONGEST: usize = 64 << 20;
/// A state of a million tasks is some hundred megabytes.
const LONGEST_STATE: usize = 1 << 30;
/// A write that takes longer will not arrive in time to be worth anything.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
const STATE_LIMIT: Duration = Duration::from_secs(120);
/// Between two attempts to connect with a member that cannot be reached.
const PAUSE: Duration = Duration::from_millis(250);

/// The states of a manager; `None` until it runs.
type States = Option<watch::Receiver<Arc<State>>>;

/// Takes the messages of this node's member to the others.
pub struct MemberLinks {
    membership: Arc<Membership>,
    state: watch::Receiver<States>,
}

impl MemberLinks {
    /// The state, where the addresses of the members are, is known once the manager runs: it is
    /// given to what is returned.
    pub fn new(membership: Arc<Membership>) -> (Arc<Self>, watch::Sender<States>) {
        let (sender, state) = watch::channel(None);
        (Arc::new(Self { membership, state }), sender)
    }

    fn find(&self, member: u64) -> Option<PeerAddress> {
        let is = |node: &NodeId| number_of(node) == member;
        let state = self.state.borrow().as_ref().map(|it| it.borrow().clone());
        let row = state.and_then(|state| {
            let row = state.nodes.values().find(|row| is(&row.id))?.clone();
            let address = self.membership.whereabouts().of(&row)?;
            Some(PeerAddress {
                node: row.id.clone(),
                address,
            })
        });
        row.or_else(|| {
            let known = self.membership.managers();
            known.into_iter().find(|manager| is(&manager.node))
        })
    }
}

impl Links for MemberLinks {
    fn open(&self, member: u64, queue: mpsc::Receiver<Message>, notices: Notices) {
        let links = Self {
            membership: self.membership.clone(),
            state: self.state.clone(),
        };
        tokio::spawn(async move { links.carry(member, queue, notices).await });
    }
}

impl MemberLinks {
    async fn carry(self, member: u64, mut queue: mpsc::Receiver<Message>, notices: Notices) {
        let mut stream: Option<(PeerAddress, Raw)> = None;
        let mut not_before = Instant::now();
        let mut look_at = Instant::now() + PAUSE;
        loop {
            let message = tokio::select! {
                biased;
                // What is written into it would be lost without a word. Members that do not lead are
                // silent to each other until one asks for votes: that would be the word.
                () = end_of(&mut stream) => {
                    stream = None;
                    continue;
                }
                message = queue.recv() => message,
            };
            let Some(message) = message else { return };
            if wire::carries_state(&message) {
                self.send_state(member, message, notices.clone());
                continue;
            }
            if let Some((to, _)) = &stream
                && Instant::now() >= look_at
            {
                look_at = Instant::now() + PAUSE;
                if self.find(member).is_some_and(|now| now != *to) {
                    // It has moved: what is sent to where it was is lost without a word.
                    stream = None;
                }
            }
            if stream.is_none() && Instant::now() >= not_before {
                stream = self.connect(member).await;
                not_before = Instant::now() + PAUSE;
            }
            let Some((_, open)) = &mut stream else {
                notices.lost(&message);
                continue;
            };
            let written = timeout(WRITE_LIMIT, write(open, &message)).await;
            if !matches!(written, Ok(Ok(()))) {
                stream = None;
                notices.lost(&message);
            }
        }
    }

    async fn connect(&self, member: u64) -> Option<(PeerAddress, Raw)> {
        let to = self.find(member)?;
        match self.membership.peers().upgrade(&to, "/peer/raft").await {
            Ok(stream) => Some((to, stream)),
            Err(error) => {
                tracing::debug!(node = %to.node, %error, "a manager cannot be reached");
                None
            }
        }
    }

    /// On a connection of its own: what is small must not wait behind it.
    fn send_state(&self, member: u64, message: Message, notices: Notices) {
        let to = self.find(member);
        let peers = self.membership.peers().clone();
        tokio::spawn(async move {
            let sent = async {
                let to = to?;
                let mut request = Request::new(Body::from(wire::encode(&message).ok()?));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = hyper::Uri::from_static("/peer/raft/state");
                let response = peers.request_within(&to, request, STATE_LIMIT).await;
                response.ok().filter(|it| it.status().is_success())
            };
            match sent.await {
                Some(_) => notices.state_sent(Delivery::Done),
                None => notices.state_sent(Delivery::Failed),
            }
        });
    }
}

/// Until the other side has closed it: nothing ever comes back on it.
async fn end_of(stream: &mut Option<(PeerAddress, Raw)>) {
    match stream {
        // A byte would be as wrong as an error.
        Some((_, open)) => drop(open.read_u8().await),
        None => std::future::pending().await,
    }
}

async fn write(stream: &mut Raw, message: &Message) -> std::io::Result<()> {
    let bytes = wire::encode(message).map_err(std::io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let mut frame = Vec::with_capacity(4 + bytes.len());
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// What a manager hears from the other members.
#[must_use]
pub fn raft_routes(router: Router, node: &NodeId, manager: &ManagerHandle) -> Router {
    let own = number_of(node);
    let streams: Handler = {
        let manager = manager.clone();
        Arc::new(move |caller, request| {
            let manager = manager.clone();
            Box::pin(async move { stream(manager, own, caller, request) })
        })
    };
    let states: Handler = {
        let manager = manager.clone();
        Arc::new(move |caller, request| {
            let manager = manager.clone();
            Box::pin(async move { state(&manager, own, &caller, request).await })
        })
    };
    router
        .route("/peer/raft", RoleNeeded::Voter, streams)
        .route("/peer/raft/state", RoleNeeded::Voter, states)
}

fn stream(
    manager: ManagerHandle,
    own: u64,
    caller: Caller,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let Some((upgrading, response)) = accept_upgrade(&mut request) else {
        return refuse(StatusCode::BAD_REQUEST, "a stream was not asked for");
    };
    tokio::spawn(async move {
        let Some(mut stream) = upgrading.connection().await else {
            return;
        };
        while let Some(message) = read(&mut stream).await {
            if !belongs(&message, own, &caller) {
                return tracing::warn!(node = %caller.node, "a message for or of somebody else");
            }
            manager.deliver(message).await;
        }
    });
    response
}

/// `None` at the end, or when it is not a message.
async fn read(stream: &mut Raw) -> Option<Message> {
    let length = usize::try_from(stream.read_u32().await.ok()?).ok()?;
    if length > LONGEST {
        return None;
    }
    let mut bytes = Vec::new();
    // What was announced is not believed before it is there.
    let mut limited = (&mut *stream).take(u64::try_from(length).ok()?);
    limited.read_to_end(&mut bytes).await.ok()?;
    if bytes.len() < length {
        return None;
    }
    wire::decode(&bytes).ok()
}

async fn state(
    manager: &ManagerHandle,
    own: u64,
    caller: &Caller,
    request: Request<Incoming>,
) -> Response<Body> {
    let whole = Limited::new(request.into_body(), LONGEST_STATE)
        .collect()
        .await;
    let message = whole.ok().and_then(|it| wire::decode(&it.to_bytes()).ok());
    let Some(message) = message.filter(|it| belongs(it, own, caller)) else {
        return refuse(StatusCode::BAD_REQUEST, "this is no state for this manager");
    };
    manager.deliver(message).await;
    answer(&())
}

/// It is from who sent it, and for us.
fn belongs(message: &Message, own: u64, caller: &Caller) -> bool {
    message.to == own && message.from == number_of(&caller.node)
}
