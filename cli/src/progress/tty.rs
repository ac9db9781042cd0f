//! The board on a terminal: a header and one line for each resource, drawn over itself.
//!
//!     [+] Running 2/3
//!      ✔ Network shop_default     Created                                      0.1s
//!      ✔ Container shop-db-1      Healthy                                      2.3s
//!      ⠹ Container shop-web-1     Waiting  db: probe 1/5: connection refused   2.3s
//!
//! When it gets too narrow, details are cut first and names last; when it gets too low, the
//! lines that are done are left out first.

use std::io;
use std::time::Instant;

use super::{Event, Kind};
use crate::output::{self, Colour};
use crate::terminal;

pub(crate) struct Board {
    title: &'static str,
    colour: Colour,
    entries: Vec<Entry>,
    /// Lines that the last drawing took.
    drawn: usize,
}

struct Entry {
    event: Event,
    began: Instant,
    /// When it was done, so that its clock stands still.
    ended: Option<Instant>,
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const DEFAULT_SIZE: terminal::Size = terminal::Size {
    columns: 80,
    rows: 24,
};

impl Board {
    pub(super) fn new(title: &'static str, colour: Colour) -> Self {
        Self {
            title,
            colour,
            entries: Vec::new(),
            drawn: 0,
        }
    }

    pub(super) fn update(&mut self, event: Event, now: Instant) {
        let ended = (event.kind != Kind::Working).then_some(now);
        match self.entries.iter_mut().find(|it| it.event.id == event.id) {
            Some(entry) => {
                entry.ended = ended;
                entry.event = event;
            }
            None => self.entries.push(Entry {
                event,
                began: now,
                ended,
            }),
        }
    }

    pub(super) fn draw(&mut self, now: Instant) {
        let size = terminal::size(io::stderr()).unwrap_or(DEFAULT_SIZE);
        let lines = self.lines(size, now);
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the header, and everything below it away.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        self.drawn = lines.len();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        output::raw_stderr(text.as_bytes());
    }

    /// The board as lines for a terminal of this size. Empty when nothing has happened.
    pub(super) fn lines(&self, size: terminal::Size, now: Instant) -> Vec<String> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        let done = self
            .entries
            .iter()
            .filter(|it| it.event.kind == Kind::Done)
            .count();
        let mut lines = vec![format!("[+] {} {done}/{}", self.title, self.entries.len())];
        // The header, a line for `… more`, and one for the cursor.
        let room = usize::from(size.rows).saturating_sub(3).max(1);
        let shown = self.fitting(room);
        let width = shown
            .iter()
            .map(|it| it.event.id.chars().count())
            .max()
            .unwrap_or(0);
        lines.extend(
            shown
                .iter()
                .map(|it| self.line(it, width, size.columns, now)),
        );
        if shown.len() < self.entries.len() {
            lines.push(format!(" ... {} more", self.entries.len() - shown.len()));
        }
        lines
    }

    /// The entries that there is room for, in their order, those that are not done before the others.
    fn fitting(&self, room: usize) -> Vec<&Entry> {
        let mut spare = self.entries.len().saturating_sub(room);
        let mut keep = |entry: &&Entry| {
            let drop = spare > 0 && entry.event.kind == Kind::Done;
            spare -= usize::from(drop);
            !drop
        };
        let kept: Vec<&Entry> = self.entries.iter().filter(|it| keep(it)).collect();
        kept.into_iter().take(room).collect()
    }

    fn line(&self, entry: &Entry, id_width: usize, columns: u16, now: Instant) -> String {
        let elapsed = entry
            .ended
            .unwrap_or(now)
            .saturating_duration_since(entry.began);
        let clock = format!("{:.1}s", elapsed.as_secs_f32());
        let (mark, sgr) = match entry.event.kind {
            Kind::Working => {
                let turn = usize::try_from(elapsed.as_millis() / 100).unwrap_or(0);
                (
                    SPINNER.get(turn % SPINNER.len()).copied().unwrap_or(" "),
                    "36",
                )
            }
            Kind::Done => ("✔", "32"),
            Kind::Warning => ("!", "33"),
            Kind::Error => ("✘", "31"),
        };
        // One column stays free, so that no terminal wraps the line.
        let columns = usize::from(columns).saturating_sub(1);
        // Mark, word and clock always stay; details are cut first, the name last.
        let fixed = " ✔ ".chars().count() + 2 + entry.event.word.len() + 1 + clock.len();
        let id = format!("{:<id_width$}", entry.event.id);
        let id = output::ellipsis(&id, columns.saturating_sub(fixed).max(10));
        let room = columns.saturating_sub(fixed + id.chars().count() + 2);
        let details = entry.event.details.lines().next().unwrap_or_default();
        let details = match room {
            0..4 => String::new(),
            _ if details.is_empty() => String::new(),
            room => format!("  {}", output::ellipsis(details, room)),
        };
        let used = fixed - 1 + id.chars().count() + details.chars().count();
        format!(
            " {} {id}  {}{details}{}{}",
            self.colour.paint(sgr, mark),
            self.colour.paint(sgr, entry.event.word),
            " ".repeat(columns.saturating_sub(used).max(1)),
            self.colour.paint("34", &clock),
        )
    }
}
