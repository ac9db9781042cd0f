//! The leader's end of the sessions: one for each node, the newest.
//!
//!     Hello ─► [`admit`] ─► Welcome ─► Beat, Report ─► control plane
//!                              └─────◄ Assign, as often as it changes
//!
//! A session ends when the node opens another one, when this manager no longer leads, when the node
//! is removed, or when nothing was heard for long. That a node is silent is not decided here but by
//! the control plane, which is told of each sign of life.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use scheduler::control_plane::{self, Command};
use scheduler::model::id::NodeId;
use scheduler::model::node::{NodeDescription, Role};
use scheduler::raft;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::admit::{Standing, objection};
use super::frame::{FromNode, Hello, ToNode, Welcome};
use super::pipe::{self, Pipe};
use crate::cluster::whereabouts::Whereabouts;
use crate::manager::ManagerHandle;
use crate::peer::{self, Caller};

/// Whoever knocks says who he is by then.
const GREETING: Duration = Duration::from_secs(5);
/// What was said last is read by then.
const FAREWELL: Duration = Duration::from_secs(2);
/// A connection on which nothing came for so long is closed; the node counts as down long before.
const ABANDONED: Duration = Duration::from_secs(30);
/// A manager's new address is tried so often, each time for at most so long, before it is believed:
/// the others depend on it.
const TRIES: u32 = 5;
const TRY: Duration = Duration::from_secs(3);
/// Between such tries.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at a session in which nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// Opens sessions on behalf of a manager. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leader {
    manager: ManagerHandle,
    sessions: Arc<Sessions>,
    whereabouts: Arc<Whereabouts>,
}

/// The newest session of each node, and the number of the last one of all.
#[derive(Debug, Default)]
struct Sessions {
    last: AtomicU64,
    newest: Mutex<BTreeMap<NodeId, (u64, CancellationToken)>>,
}

impl Sessions {
    /// Closes the node's session before, if there is one.
    fn open(&self, node: &NodeId) -> (u64, CancellationToken) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let replaced = CancellationToken::new();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, older)) = newest.insert(node.clone(), (number, replaced.clone())) {
            older.cancel();
        }
        (number, replaced)
    }

    fn close(&self, node: &NodeId, number: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest
            .get(node)
            .is_some_and(|(newest, _)| *newest == number)
        {
            newest.remove(node);
        }
    }
}

impl Leader {
    pub fn new(manager: ManagerHandle, whereabouts: Arc<Whereabouts>) -> Self {
        Self {
            manager,
            whereabouts,
            sessions: Arc::default(),
        }
    }

    pub(super) fn standing(&self) -> watch::Receiver<Arc<control_plane::Standing>> {
        self.manager.standing()
    }

    /// Serves [`PATH`](super::PATH).
    pub fn handler(&self) -> peer::Handler {
        let leader = self.clone();
        Arc::new(move |caller, request| {
            let leader = leader.clone();
            Box::pin(async move { leader.answer(caller, request) })
        })
    }

    fn answer(self, caller: Caller, mut request: Request<Incoming>) -> Response<Body> {
        let Some((upgrading, response)) = peer::accept_upgrade(&mut request) else {
            let mut refused = Response::new(Body::from("a session needs a connection of its own"));
            *refused.status_mut() = StatusCode::UPGRADE_REQUIRED;
            return refused;
        };
        tokio::spawn(async move {
            if let Some(connection) = upgrading.connection().await {
                self.serve(caller.node, pipe::over(connection)).await;
            }
        });
        response
    }

    /// Serves a session until it ends.
    pub async fn serve(self, caller: NodeId, mut pipe: Pipe<ToNode, FromNode>) {
        let hello = match timeout(GREETING, pipe.receive.recv()).await {
            Ok(Some(FromNode::Hello(hello))) => hello,
            Ok(Some(FromNode::Beat | FromNode::Report(_)) | None) | Err(_) => return,
        };
        self.note(&caller, hello.address);
        let farewell = match objection(&hello, &caller, &self.stands(&caller)) {
            Some(objection) => Some(objection),
            None => {
                let (number, replaced) = self.sessions.open(&caller);
                let session = Session {
                    leader: &self,
                    node: &caller,
                    number,
                };
                let farewell = session.hold(&hello, &mut pipe, replaced).await;
                self.sessions.close(&caller, number);
                farewell
            }
        };
        if let Some(farewell) = farewell
            && pipe.urgent.send(farewell).await.is_ok()
        {
            // The node hangs up when it has read it.
            let read = async { while pipe.receive.recv().await.is_some() {} };
            let _ = timeout(FAREWELL, read).await;
        }
    }

    /// Also a manager that does not lead needs to know where another one is.
    fn note(&self, caller: &NodeId, address: Option<SocketAddr>) {
        if let Some(row) = self.manager.state().nodes.get(caller)
            && let Some(address) = address
        {
            self.whereabouts.note(row, address);
        }
    }

    /// How the manager stands, as far as this node is concerned.
    fn stands(&self, node: &NodeId) -> Standing {
        let (group, state) = (
            self.manager.standing().borrow().clone(),
            self.manager.state(),
        );
        let mut nodes = state.nodes.values();
        let leader = group.leader.and_then(|number| {
            let row = nodes.find(|row| raft::number_of(&row.id) == number)?;
            Some((row.id.clone(), self.whereabouts.of(row)?))
        });
        Standing {
            leads: group.leads,
            leader: leader.filter(|_| !group.leads),
            epoch: state.cluster.as_ref().map_or(0, |cluster| cluster.epoch),
            knows: state.nodes.contains_key(node),
        }
    }

    /// A host that stands alone needs no signs of life.
    fn welcome(&self, has_connection: bool) -> Welcome {
        let state = self.manager.state();
        let settings = state.cluster.as_ref().map(|it| it.settings.clone());
        let settings = settings.unwrap_or_default();
        Welcome {
            heartbeat_millis: if has_connection {
                settings.heartbeat_millis
            } else {
                0
            },
            suspect_after_millis: settings.suspect_after_millis,
        }
    }
}

/// One session that is open.
struct Session<'a> {
    leader: &'a Leader,
    node: &'a NodeId,
    number: u64,
}

impl Session<'_> {
    /// Until it ends; returns what is to be said then.
    async fn hold(
        &self,
        hello: &Hello,
        pipe: &mut Pipe<ToNode, FromNode>,
        replaced: CancellationToken,
    ) -> Option<ToNode> {
        let manager = &self.leader.manager;
        let mut welcome = self.leader.welcome(pipe.heard.is_some());
        pipe.urgent.send(ToNode::Welcome(welcome)).await.ok()?;
        info!(node = %self.node, session = self.number, "its session is open");
        manager.heard(self.node.clone(), self.number).await;
        let mut describing = self.describe(&hello.description);
        let mut locating = self.locate(hello.address);
        let mut standing = manager.standing();
        let mut announced = manager.announced();
        let mut told: Option<(u64, u64)> = None;
        let mut wanted = announced.borrow_and_update().number(self.node);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_sign = Instant::now();
        loop {
            let has_news = wanted.is_some() && wanted != told;
            tokio::select! {
                () = replaced.cancelled() => return None,
                frame = pipe.receive.recv() => match frame {
                    Some(FromNode::Beat) => {
                        last_sign = Instant::now();
                        manager.heard(self.node.clone(), self.number).await;
                    }
                    Some(FromNode::Report(report)) => {
                        last_sign = Instant::now();
                        manager.heard(self.node.clone(), self.number).await;
                        manager.report(self.node.clone(), *report).await;
                    }
                    Some(FromNode::Hello(_)) => return None,
                    None => {
                        debug!(node = %self.node, session = self.number, "its session has ended");
                        return None;
                    }
                },
                Ok(()) = announced.changed() => wanted = announced.borrow_and_update().number(self.node),
                permit = pipe.bulk.reserve(), if has_news => {
                    // Nobody waits for this while it is put together.
                    let latest = announced.borrow_and_update().clone();
                    let assignment = latest.assignment(self.node);
                    wanted = assignment.as_ref().map(|it| it.number());
                    told = wanted;
                    let permit = permit.ok()?;
                    if let Some(assignment) = assignment {
                        permit.send(ToNode::Assign(assignment));
                    }
                }
                Ok(()) = standing.changed() => {
                    if !standing.borrow_and_update().leads {
                        let leader = self.leader.stands(self.node).leader;
                        return Some(ToNode::Elsewhere { leader });
                    }
                }
                _ = look.tick() => {
                    // What was refused, or has been overtaken by what an older session had to say.
                    if is_over(describing.as_ref()) {
                        describing = self.describe(&hello.description);
                    }
                    if is_over(locating.as_ref()) {
                        locating = self.locate(hello.address);
                    }
                    let Some(heard) = pipe.heard.as_ref().map(|heard| *heard.borrow()) else {
                        continue;
                    };
                    if !self.leader.stands(self.node).knows {
                        let reason = "it was removed from the cluster".to_owned();
                        return Some(ToNode::Refused { reason });
                    }
                    let fresh = self.leader.welcome(true);
                    let word = if fresh == welcome { ToNode::Beat } else { ToNode::Welcome(fresh) };
                    welcome = fresh;
                    // When the lane is full, other signs of life are on their way.
                    let _ = pipe.urgent.try_send(word);
                    if heard > last_sign {
                        // A part of a long report, which is not complete yet, is a sign as well.
                        last_sign = heard;
                        manager.heard(self.node.clone(), self.number).await;
                    }
                    if heard.elapsed() > ABANDONED {
                        warn!(node = %self.node, session = self.number, "its session is dead");
                        return None;
                    }
                }
            }
        }
    }

    /// Writes down what the node says of itself, if that is news.
    fn describe(&self, description: &NodeDescription) -> Option<JoinHandle<()>> {
        let state = self.leader.manager.state();
        let known = state.nodes.get(self.node);
        if known.is_some_and(|row| row.description == *description) {
            return None;
        }
        let (manager, node) = (self.leader.manager.clone(), self.node.clone());
        let description = description.clone();
        Some(tokio::spawn(async move {
            let command = Command::RegisterNode {
                node: node.clone(),
                description,
            };
            if let Err(refusal) = manager.command(command).await {
                debug!(%node, %refusal, "its description was not taken over");
            }
        }))
    }

    /// Writes down where the node is, if that is news.
    fn locate(&self, address: Option<SocketAddr>) -> Option<JoinHandle<()>> {
        let state = self.leader.manager.state();
        let (row, address) = (state.nodes.get(self.node)?, address?);
        if row.address == Some(address) || state.cluster.is_none() {
            return None;
        }
        let (manager, node, role) = (self.leader.manager.clone(), self.node.clone(), row.role);
        Some(tokio::spawn(async move {
            if role == Role::Manager && !is_reached(address).await {
                warn!(%node, %address, "a manager says that it is there, but cannot be reached: its address before stays");
                return tokio::time::sleep(TRY_AGAIN).await;
            }
            info!(%node, %address, "it has another address");
            let command = Command::SetNodeAddress { node, address };
            if let Err(refusal) = manager.command(command).await {
                warn!(%refusal, "its address was not taken over");
            }
        }))
    }
}

fn is_over(task: Option<&JoinHandle<()>>) -> bool {
    task.is_none_or(JoinHandle::is_finished)
}

async fn is_reached(address: SocketAddr) -> bool {
    for _ in 0..TRIES {
        if let Ok(Ok(_)) = timeout(TRY, TcpStream::connect(address)).await {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}
