//! What handlers have done to containers of other nodes: only the nodes themselves know it.
//!
//! What the state shows (created, started, died) every manager tells of all nodes by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use scheduler::model::id::NodeId;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::api::Context;
use crate::api::relay::{self, Inquiry, Said};
use crate::api::reply::{self, Answer};
use crate::events::{Event, Source};

/// How long nodes have to tell of the past.
const PATIENCE: Duration = Duration::from_secs(2);

/// Listens to the other nodes until it is dropped.
pub(super) struct Others {
    told: mpsc::Receiver<(NodeId, Said)>,
    /// Nodes that have yet to tell of the past.
    owing: usize,
    /// Told while the past was waited for.
    early: VecDeque<Event>,
}

impl Others {
    pub(super) fn of(context: &Arc<Context>) -> Self {
        let all = context.state().nodes.keys().cloned().collect();
        let inquiry = Inquiry {
            path: "/x/host/events".to_owned(),
            concerns: |state, _| state.nodes.keys().cloned().collect(),
            subject: String::new(),
        };
        Self {
            owing: relay::reachable(context, &all).len(),
            told: relay::listen(context, inquiry),
            early: VecDeque::new(),
        }
    }

    /// What they have done before now, as far as they say so soon.
    pub(super) async fn past(&mut self) -> Vec<Event> {
        let deadline = Instant::now() + PATIENCE;
        let mut past = Vec::new();
        while self.owing > 0 {
            match timeout_at(deadline, self.told.recv()).await {
                Ok(Some((node, Said::First(line)))) => {
                    self.owing -= 1;
                    let events: Option<Vec<Event>> = read(&node, &line);
                    past.extend(events.unwrap_or_default());
                }
                Ok(Some((node, Said::Next(line)))) => self.early.extend(read(&node, &line)),
                Ok(Some((_, Said::Ended))) => {}
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
                Some((node, Said::Next(line))) => {
                    if let Some(event) = read(&node, &line) {
                        return event;
                    }
                }
                Some((_, Said::First(_) | Said::Ended)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

fn read<T: DeserializeOwned>(node: &NodeId, line: &str) -> Option<T> {
    let read = serde_json::from_str(line);
    read.inspect_err(|error| tracing::debug!(%node, %error, "a node's event cannot be read"))
        .ok()
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
