//! What handlers have done to containers of other nodes: only the nodes themselves know it.
//!
//!     [`Others`] ◄─ a listener for each node ◄══ `GET /x/host/events` ══ that node's own events
//!                       └── ended? again, while the node is there
//!
//! What the state shows (created, started, died) every manager tells of all nodes by itself. On a node
//! that is no manager there are no others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use scheduler::model::id::NodeId;
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::reply::{self, Answer};
use crate::api::{Context, relay};
use crate::events::{Event, Source};

/// How long nodes have to tell of the past.
const PATIENCE: Duration = Duration::from_secs(2);
/// Before a node whose stream broke is asked again.
const PAUSE: Duration = Duration::from_secs(1);
const QUEUE: usize = 256;

/// Listens to the other nodes until it is dropped.
pub(super) struct Others {
    told: mpsc::Receiver<Told>,
    /// Nodes that have yet to tell of the past.
    owing: usize,
    /// Told while the past was waited for.
    early: VecDeque<Event>,
}

enum Told {
    Past(Vec<Event>),
    Now(Event),
}

impl Others {
    pub(super) fn of(context: &Arc<Context>) -> Self {
        let (sender, told) = mpsc::channel(QUEUE);
        let owing = reachable(context).len();
        tokio::spawn(listen(context.clone(), sender));
        Self {
            told,
            owing,
            early: VecDeque::new(),
        }
    }

    /// What they have done before now, as far as they say so soon.
    pub(super) async fn past(&mut self) -> Vec<Event> {
        let deadline = Instant::now() + PATIENCE;
        let mut past = Vec::new();
        while self.owing > 0 {
            match timeout_at(deadline, self.told.recv()).await {
                Ok(Some(Told::Past(events))) => {
                    self.owing -= 1;
                    past.extend(events);
                }
                Ok(Some(Told::Now(event))) => self.early.push_back(event),
                Ok(None) | Err(_) => break,
            }
        }
        past
    }

    /// What they do now. Never ends.
    pub(super) async fn next(&mut self) -> Event {
        if let Some(event) = self.early.pop_front() {
            return event;
        }
        loop {
            match self.told.recv().await {
                Some(Told::Now(event)) => return event,
                Some(Told::Past(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

fn reachable(context: &Context) -> Vec<NodeId> {
    let state = context.state();
    let others = state.nodes.keys();
    others
        .filter(|node| relay::node(context, &state, node).is_some())
        .cloned()
        .collect()
}

/// Keeps a listener for each node that can be reached.
async fn listen(context: Arc<Context>, sender: mpsc::Sender<Told>) {
    let mut states = context.watch();
    let mut heard = BTreeSet::new();
    let mut listeners = JoinSet::new();
    loop {
        states.mark_unchanged();
        for node in reachable(&context) {
            if heard.insert(node.clone()) {
                listeners.spawn(listen_to(context.clone(), node, sender.clone()));
            }
        }
        tokio::select! {
            () = sender.closed() => return,
            changed = states.changed() => if changed.is_err() { return },
            Some(ended) = listeners.join_next() => {
                if let Ok(node) = ended {
                    heard.remove(&node);
                }
            }
        }
    }
}

/// Returns when the node has nothing more to say.
async fn listen_to(context: Arc<Context>, node: NodeId, sender: mpsc::Sender<Told>) -> NodeId {
    if let Err(error) = hear(&context, &node, &sender).await {
        tracing::debug!(%node, error, "a node does not tell what it does");
    }
    sleep(PAUSE).await;
    node
}

async fn hear(
    context: &Arc<Context>,
    node: &NodeId,
    sender: &mpsc::Sender<Told>,
) -> Result<(), String> {
    let place = relay::node(context, &context.state(), node).ok_or("it is down")?;
    let stream = relay::stream(context, place, "/x/host/events").await;
    let mut lines = stream.map_err(|error| error.to_string())?.lines();
    let mut is_past = true;
    while let Some(line) = lines.next_line().await.map_err(|it| it.to_string())? {
        let told = match std::mem::take(&mut is_past) {
            true => serde_json::from_str(&line).map(Told::Past),
            false => serde_json::from_str(&line).map(Told::Now),
        };
        let told = told.map_err(|error| error.to_string())?;
        if sender.send(told).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// `GET /x/host/events`: for managers, what handlers of this node have done and do. The first line
/// is a list of what was before, each other line one event.
pub(in crate::api) fn host(context: &Context) -> Answer {
    let (past, mut live) = context.events.subscribe();
    let past: Vec<Event> = past
        .into_iter()
        .filter(|event| event.source == Source::Handler)
        .collect();
    let (sender, response) = reply::stream("application/x-ndjson");
    tokio::spawn(async move {
        if sender.send(reply::line(&past)).await.is_err() {
            return;
        }
        loop {
            let event = tokio::select! {
                event = live.recv() => event,
                () = sender.closed() => return,
            };
            match event {
                Ok(event) if event.source == Source::Handler => {
                    if sender.send(reply::line(&event)).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(response)
}
