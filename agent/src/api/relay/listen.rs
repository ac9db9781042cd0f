//! What other nodes say line by line, heard for as long as somebody listens.
//!
//!     receiver ◄─ a listener for each node that concerns ◄══ `GET path` ══ that node
//!                    └── ended? again, while the node concerns and can be reached
//!
//! On a node that is no manager there are no others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use scheduler::model::id::NodeId;
use scheduler::state::State;
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::place::{self, Place};
use crate::api::Context;

/// Before a node whose stream broke is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines that a slow listener may fall behind; after that the nodes wait for it.
const QUEUE: usize = 256;

/// What was heard of a node.
#[derive(Debug)]
pub(in crate::api) enum Said {
    /// The first line since it was asked.
    First(String),
    Next(String),
    /// Its stream has ended; it is asked again.
    Ended,
}

/// What is asked, and of whom.
pub(in crate::api) struct Inquiry {
    pub(in crate::api) path: String,
    pub(in crate::api) concerns: fn(&State, &str) -> BTreeSet<NodeId>,
    /// What `concerns` is about.
    pub(in crate::api) subject: String,
}

/// Listens until the receiver is dropped. A node that was asked is heard to its end, also when it
/// no longer concerns.
pub(in crate::api) fn listen(
    context: &Arc<Context>,
    inquiry: Inquiry,
) -> mpsc::Receiver<(NodeId, Said)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(keep(context.clone(), inquiry, sender));
    receiver
}

/// The other nodes that can be reached now, of these.
pub(in crate::api) fn reachable(context: &Context, nodes: &BTreeSet<NodeId>) -> Vec<Place> {
    let state = context.state();
    let places = nodes.iter();
    places
        .filter_map(|node| place::node(context, &state, node))
        .collect()
}

/// Keeps a listener for each node that concerns.
async fn keep(context: Arc<Context>, inquiry: Inquiry, sender: mpsc::Sender<(NodeId, Said)>) {
    let mut states = context.watch();
    let mut heard = BTreeSet::new();
    let mut listeners = JoinSet::new();
    loop {
        let nodes = (inquiry.concerns)(&states.borrow_and_update(), &inquiry.subject);
        for place in reachable(&context, &nodes) {
            if heard.insert(place.node.id.clone()) {
                let path = inquiry.path.clone();
                listeners.spawn(listen_to(context.clone(), place, path, sender.clone()));
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
async fn listen_to(
    context: Arc<Context>,
    place: Place,
    path: String,
    sender: mpsc::Sender<(NodeId, Said)>,
) -> NodeId {
    let node = place.node.id.clone();
    if let Err(error) = hear(&context, place, &path, &sender).await {
        tracing::debug!(%node, path, error, "a node does not tell what it does");
    }
    // Nobody may be listening any more.
    let _ = sender.send((node.clone(), Said::Ended)).await;
    sleep(PAUSE).await;
    node
}

async fn hear(
    context: &Arc<Context>,
    place: Place,
    path: &str,
    sender: &mpsc::Sender<(NodeId, Said)>,
) -> Result<(), String> {
    let node = place.node.id.clone();
    let stream = super::stream(context, place, path).await;
    let mut lines = stream.map_err(|error| error.to_string())?.lines();
    let mut is_first = true;
    while let Some(line) = lines.next_line().await.map_err(|it| it.to_string())? {
        let said = match std::mem::take(&mut is_first) {
            true => Said::First(line),
            false => Said::Next(line),
        };
        if sender.send((node.clone(), said)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
