//! How far a pull, load or import has come, for any number of onlookers.
//!
//!     pull ──writes──► Board { notes, layers } ──changed──► reader ──► events ──► JSON lines, bars
//!
//! The board holds the present state, not a queue: an onlooker who comes late or reads slowly gets
//! what is true now, nothing waits for it, and no memory grows with the number of bytes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

/// How often a reader is told of bytes that went by.
const BYTES_INTERVAL: Duration = Duration::from_millis(100);

/// The writing end; clones write to the same board.
///
/// When the last clone is dropped, readers come to their end.
#[derive(Clone, Debug)]
pub struct Progress {
    board: Arc<watch::Sender<Board>>,
}

#[derive(Clone, Debug, Default)]
struct Board {
    notes: Vec<Event>,
    /// In order of first mention.
    layers: Vec<(String, LayerState)>,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `Pulling from library/busybox`, with the tag as id; or a closing line without id.
    Status { id: Option<String>, text: String },
    /// Text as it is, e.g. `Loaded image: busybox:latest\n`.
    Stream(String),
    /// Where one layer stands; `id` has 12 digits.
    Layer { id: String, state: LayerState },
    /// The operation failed; the last event.
    Error(String),
}

/// Where one layer stands. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    Waiting,
    AlreadyExists,
    Downloading { current: u64, total: u64 },
    Retrying { after: Duration },
    Verifying,
    Downloaded,
    Extracting { current: u64, total: u64 },
    Complete,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    pub fn new() -> Self {
        Self {
            board: Arc::new(watch::Sender::new(Board::default())),
        }
    }

    /// A reader that starts with all that is on the board now.
    pub fn reader(&self) -> ProgressReader {
        let mut board = self.board.subscribe();
        // What is there already is news to this reader.
        board.mark_changed();
        ProgressReader {
            board,
            seen: Board::default(),
            last: None,
        }
    }

    /// Puts down a line that stays, e.g. the reason of a failure.
    pub fn note(&self, event: Event) {
        self.board.send_modify(|board| match event {
            Event::Layer { id, state } => board.set(&id, state),
            Event::Status { .. } | Event::Stream(_) | Event::Error(_) => board.notes.push(event),
        });
    }

    pub(crate) fn status(&self, id: Option<&str>, text: impl Into<String>) {
        self.note(Event::Status {
            id: id.map(str::to_owned),
            text: text.into(),
        });
    }

    pub(crate) fn layer(&self, id: &str, state: LayerState) {
        self.board.send_modify(|board| board.set(id, state));
    }

    /// Shows here what happens there, until `other` ends.
    pub(crate) async fn follow(&self, mut other: ProgressReader) {
        while let Some(events) = other.next().await {
            events.into_iter().for_each(|event| self.note(event));
        }
    }
}

impl Board {
    fn set(&mut self, id: &str, state: LayerState) {
        match self.layers.iter_mut().find(|(known, _)| known == id) {
            Some((_, known)) => *known = state,
            None => self.layers.push((id.to_owned(), state)),
        }
    }

    /// What is here and was not in `seen`.
    fn since(&self, seen: &Self) -> Vec<Event> {
        let mut notes = self.notes.iter().skip(seen.notes.len()).cloned();
        let layers = self
            .layers
            .iter()
            .enumerate()
            .filter(|(at, layer)| seen.layers.get(*at) != Some(layer));
        let layers = layers.map(|(_, (id, state))| Event::Layer {
            id: id.clone(),
            state: state.clone(),
        });
        // The first note introduces the layers, the later ones close the account.
        let introduction = usize::from(seen.notes.is_empty());
        let mut news: Vec<_> = notes.by_ref().take(introduction).collect();
        news.extend(layers);
        news.extend(notes);
        news
    }
}

/// The reading end.
#[derive(Clone, Debug)]
pub struct ProgressReader {
    board: watch::Receiver<Board>,
    seen: Board,
    last: Option<tokio::time::Instant>,
}

impl ProgressReader {
    /// Waits for news, at most ten times a second; `None` when there will be no more.
    ///
    /// Layers that went through several states since the last call are told in their present one.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            if let Some(last) = self.last {
                // The end need not wait.
                let closed = tokio::time::timeout_at(last + BYTES_INTERVAL, self.closed());
                let _ = closed.await;
            }
            let changed = self.board.changed().await;
            let board = self.board.borrow_and_update().clone();
            let news = board.since(&self.seen);
            self.seen = board;
            self.last = Some(tokio::time::Instant::now());
            match (news.is_empty(), changed) {
                (false, _) => return Some(news),
                (true, Ok(())) => {}
                (true, Err(_)) => return None,
            }
        }
    }

    async fn closed(&self) {
        let mut other = self.board.clone();
        while other.changed().await.is_ok() {}
    }
}

impl Event {
    /// One object of Docker's progress stream, without the line end.
    ///
    /// Source: github.com/moby/moby, `pkg/jsonmessage/jsonmessage.go`.
    pub fn docker_json(&self) -> Value {
        match self {
            Self::Status { id: Some(id), text } => json!({ "status": text, "id": id }),
            Self::Status { id: None, text } => json!({ "status": text }),
            Self::Stream(text) => json!({ "stream": text }),
            Self::Error(text) => json!({ "errorDetail": { "message": text }, "error": text }),
            Self::Layer { id, state } => layer_json(id, state),
        }
    }
}

fn layer_json(id: &str, state: &LayerState) -> Value {
    let plain = |status: &str| json!({ "status": status, "progressDetail": {}, "id": id });
    let bar = |status: &str, current: u64, total: u64| {
        let detail = json!({ "current": current, "total": total });
        json!({ "status": status, "progressDetail": detail, "progress": bar(current, total), "id": id })
    };
    match *state {
        LayerState::Waiting => plain("Pulling fs layer"),
        LayerState::AlreadyExists => plain("Already exists"),
        LayerState::Downloading { current, total } => bar("Downloading", current, total),
        LayerState::Retrying { after } => {
            plain(&format!("Retrying in {} seconds", after.as_secs().max(1)))
        }
        LayerState::Verifying => plain("Verifying Checksum"),
        LayerState::Downloaded => plain("Download complete"),
        LayerState::Extracting { current, total } => bar("Extracting", current, total),
        LayerState::Complete => plain("Pull complete"),
    }
}

/// `[=====>     ]  1.5MB/3MB`, 50 characters wide.
fn bar(current: u64, total: u64) -> String {
    if total == 0 || current > total {
        return bytes(current);
    }
    let done = usize::try_from(current.saturating_mul(50) / total)
        .unwrap_or(50)
        .min(50);
    let arrow = if done == 50 { "" } else { ">" };
    let rest = 50 - done - arrow.len();
    format!(
        "[{}{arrow}{}] {}/{}",
        "=".repeat(done),
        " ".repeat(rest),
        bytes(current),
        bytes(total)
    )
}

/// Four significant digits in decimal units, e.g. `1.234MB`, as Docker's `units.HumanSize`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[allow(clippy::cast_precision_loss)]
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = match size {
        s if s >= 1000.0 || unit == 0 => 0,
        s if s >= 100.0 => 1,
        s if s >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.decimals$}");
    let text = if decimals > 0 {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests;
