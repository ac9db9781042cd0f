//! What happened, in Docker's words: read off the difference of two states, one after the other.
//!
//!     State ─► State ─► …      diff ─► create · start · health_status · die · stop · destroy · …
//!     handlers ─► kill · pause · exec_… · pull · tag · …
//!
//! Nothing is stored: a start of the node begins with what is there, and tells none of it as news.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scheduler::model::time::Timestamp;
use scheduler::state::State;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::api::docker::lookup::Found;
use crate::clock::wall_time;

mod diff;

pub use diff::diff;

/// Events that are kept for `since`; as many as Docker keeps. Each takes half a kilobyte.
const PAST: usize = 256;

/// Events that a slow client may fall behind; after that it misses some.
const BACKLOG: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub source: Source,
    pub at: Timestamp,
    pub kind: Kind,
    /// `start`, `health_status: healthy`, `exec_start: ls`.
    pub action: String,
    /// Identifier; the name of a volume.
    pub actor: String,
    /// The labels of a container among them.
    pub attributes: BTreeMap<String, String>,
}

/// Who knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Everybody who has the state.
    State,
    /// The node whose handler did it.
    Handler,
}

/// What it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

/// Everybody who listens, and what was said last.
#[derive(Debug)]
pub struct Events {
    /// Written down as JSON: the labels of a container are many small pieces, and seldom asked for.
    past: Mutex<VecDeque<Box<str>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            live: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Events {
    /// Tells what changes from now on, until told to stop.
    pub async fn follow(
        self: Arc<Self>,
        mut states: watch::Receiver<Arc<State>>,
        shutdown: CancellationToken,
    ) {
        let mut before = states.borrow_and_update().clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
            }
            let after = states.borrow_and_update().clone();
            for event in diff(&before, &after) {
                self.tell(event);
            }
            before = after;
        }
    }

    fn past(&self) -> MutexGuard<'_, VecDeque<Box<str>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said last, oldest first, and everything from now on; nothing is in both.
    pub fn subscribe(&self) -> (Vec<Event>, broadcast::Receiver<Arc<Event>>) {
        let past = self.past();
        // All of them were written by `tell`.
        let read = past.iter().filter_map(|it| serde_json::from_str(it).ok());
        (read.collect(), self.live.subscribe())
    }

    /// Says it to everybody.
    pub fn tell(&self, event: Event) {
        let written = serde_json::to_string(&event);
        let mut past = self.past();
        if past.len() >= PAST {
            past.pop_front();
        }
        // It has nothing in it that JSON has not.
        past.extend(written.map(String::into_boxed_str));
        // Nobody may be listening.
        let _ = self.live.send(Arc::new(event));
    }

    /// Something was done to a container that its state does not show.
    pub(crate) fn container(&self, state: &State, found: &Found, action: &str) {
        self.with(state, found, action, []);
    }

    pub(crate) fn kill(&self, state: &State, found: &Found, signal: i32) {
        self.with(state, found, "kill", [("signal", signal.to_string())]);
    }

    pub(crate) fn exec_died(&self, state: &State, found: &Found, exec: &str, code: i32) {
        let more = [("execID", exec.to_owned()), ("exitCode", code.to_string())];
        self.with(state, found, "exec_die", more);
    }

    fn with<const N: usize>(
        &self,
        state: &State,
        found: &Found,
        action: &str,
        more: [(&str, String); N],
    ) {
        let mut attributes = diff::attributes(state, &found.task, &found.service);
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        self.tell(Event {
            source: Source::Handler,
            at: wall_time(),
            kind: Kind::Container,
            action: action.to_owned(),
            actor: found.id.to_string(),
            attributes,
        });
    }

    pub(crate) fn image(&self, id: &crate::image::ImageId, name: &str, action: &str) {
        self.tell(Event {
            source: Source::Handler,
            at: wall_time(),
            kind: Kind::Image,
            action: action.to_owned(),
            actor: id.to_string(),
            attributes: BTreeMap::from([("name".to_owned(), name.to_owned())]),
        });
    }

    /// For a name that no longer says which image it was.
    pub(crate) fn image_named(&self, name: &str, action: &str) {
        self.tell(Event {
            source: Source::Handler,
            at: wall_time(),
            kind: Kind::Image,
            action: action.to_owned(),
            actor: name.to_owned(),
            attributes: BTreeMap::from([("name".to_owned(), name.to_owned())]),
        });
    }
}
