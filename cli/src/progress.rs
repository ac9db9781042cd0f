//! What a person sees while something happens: one line for each container, network, volume, image.
//!
//!     StackStatus ─► Differ ─► Event ─► Progress (terminal, plain lines, JSON or nothing)
//!
//! [`Differ`] is pure. It compares with how things were before the command, so that a container that
//! has been running all along is `Running` and a new one is `Started`.

mod differ;
mod tty;

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

pub(crate) use differ::{Differ, Intent};

use crate::args::ProgressMode;
use crate::output::{self, Colour};
use tty::Board;

/// Letters of an error in a line of progress: about what a line has room for.
const LONGEST_ERROR: usize = 100;

/// How a resource is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Working,
    Done,
    Warning,
    Error,
}

/// A resource has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// `Container shop-web-1`
    pub(crate) id: String,
    /// Compose's word, e.g. `Started`.
    pub(crate) word: &'static str,
    pub(crate) kind: Kind,
    /// Why, or how far; empty when there is nothing to say.
    pub(crate) details: String,
    /// Bytes done and bytes in all, of a pull.
    pub(crate) bytes: Option<(u64, u64)>,
}

/// Shows events on standard error in the way that was asked for.
pub(crate) enum Progress {
    Tty(Board),
    /// What was said of images.
    Plain(BTreeSet<String>),
    Json,
    Quiet,
}

impl Progress {
    /// `title` is the verb of the header, e.g. `Running`.
    pub(crate) fn new(mode: ProgressMode, title: &'static str, colour: Colour) -> Self {
        match mode {
            ProgressMode::Auto if output::stderr_is_terminal() => {
                Self::Tty(Board::new(title, colour))
            }
            ProgressMode::Tty => Self::Tty(Board::new(title, colour)),
            ProgressMode::Auto | ProgressMode::Plain => Self::plain(),
            ProgressMode::Json => Self::Json,
            ProgressMode::Quiet => Self::Quiet,
        }
    }

    /// A line for each event.
    pub(crate) fn plain() -> Self {
        Self::Plain(BTreeSet::new())
    }

    pub(crate) fn show(&mut self, event: Event) {
        match self {
            Self::Tty(board) => board.update(event, Instant::now()),
            // A pull's numbers change all the time, and one node begins when another has ended.
            Self::Plain(said) if event.id.starts_with("Image ") => {
                let line = match (event.bytes, event.kind) {
                    (Some(_), Kind::Working) => format!(" {} {}", event.id, event.word),
                    _ => plain(&event),
                };
                if said.insert(line.clone()) {
                    output::note(line);
                }
            }
            Self::Plain(_) => output::note(plain(&event)),
            Self::Json => output::note(machine(&event)),
            Self::Quiet => {}
        }
    }

    /// Draws anew; called ten times a second and at the end.
    pub(crate) fn redraw(&mut self) {
        if let Self::Tty(board) = self {
            board.draw(Instant::now());
        }
    }
}

/// ` Container shop-web-1 Started`
fn plain(event: &Event) -> String {
    let mut line = format!(" {} {}", event.id, event.word);
    if !event.details.is_empty() {
        line.push(' ');
        line.push_str(&brief(event));
    }
    line
}

/// What went wrong is told whole when the command ends.
fn brief(event: &Event) -> String {
    let mut letters = event.details.chars();
    let mut text: String = letters.by_ref().take(LONGEST_ERROR).collect();
    if event.kind != Kind::Error || letters.next().is_none() {
        return event.details.clone();
    }
    text.truncate(text.trim_end().len());
    text.push('…');
    text
}

fn machine(event: &Event) -> String {
    let status = match event.kind {
        Kind::Working => "Working",
        Kind::Done => "Done",
        Kind::Warning => "Warning",
        Kind::Error => "Error",
    };
    let mut object = json!({"id": event.id, "status": status, "text": event.word});
    if !event.details.is_empty() {
        object["details"] = json!(event.details);
    }
    if let Some((current, total)) = event.bytes {
        object["current"] = json!(current);
        object["total"] = json!(total);
        if let Some(percent) = (current * 100).checked_div(total) {
            object["percent"] = json!(percent);
        }
    }
    object.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
