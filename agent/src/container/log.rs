//! A container's log: files of lines that say when, where from, and what.
//!
//!     2026-11-22T03:04:05.000000000Z stdout F hello
//!     2026-11-22T03:04:05.000000000Z stderr P the first 16 KiB of a long line …
//!     └─ 30 characters ────────────┘ └─ 6 ┘ └ F: the line ends here, P: it goes on
//!
//! This is the format of CRI, so that log collectors read the files as they are. The current file
//! is `log`; older ones are `log.1` (the youngest) and so on. [`LogWriter`] is for the shim: one
//! thread, blocking, as fast as a pipe delivers. [`LogReader`] is for the agent, which may read while
//! others write.

mod files;
mod read;
mod write;

pub use read::{Follow, LogEnd, LogQuery, LogReader};
pub use write::LogWriter;

use scheduler::model::time::Timestamp;

/// A longer line is cut into parts. Source: containerd's CRI logger and Docker both cut at 16 KiB.
const MAX_PART: usize = 16 * 1024;

/// Length of a time in the files.
const TIME_LEN: usize = 30;
/// Where the tag `F` or `P` is, from the start of an entry.
const TAG_AT: usize = TIME_LEN + " stdout ".len();
/// Where the text begins.
const TEXT_AT: usize = TAG_AT + "F ".len();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub at: Timestamp,
    pub stream: Stream,
    /// Without the end of the line.
    pub bytes: Vec<u8>,
    pub part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole line, or the end of one: a line feed follows.
    End,
    /// The line goes on in the next entry of this stream, or was never ended.
    Begun,
}

/// Writes a time as the files have it. The end of time, for what lies beyond the year 9999.
fn format_time(at: Timestamp) -> String {
    let time =
        jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.9}")
}

/// Reads a time as [`format_time`] writes it.
fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(time.as_nanosecond())
        .ok()
        .map(Timestamp::from_nanos)
}

/// Reads an entry, given without its line feed; `None` when it is none (torn by a crash).
fn parse_entry(line: &[u8], time: &mut LastTime) -> Option<LogEntry> {
    let (head, text) = line.split_at_checked(TEXT_AT)?;
    let (stream, tag) = head[TIME_LEN..].split_at(" stdout ".len());
    Some(LogEntry {
        at: time.parse(&head[..TIME_LEN])?,
        stream: match stream {
            b" stdout " => Stream::Stdout,
            b" stderr " => Stream::Stderr,
            _ => return None,
        },
        part: match tag {
            b"F " => Part::End,
            b"P " => Part::Begun,
            _ => return None,
        },
        bytes: text.to_vec(),
    })
}

/// The time parsed last: lines that were read from the container together share one.
#[derive(Debug, Default)]
struct LastTime {
    text: Vec<u8>,
    at: Timestamp,
}

impl LastTime {
    fn parse(&mut self, text: &[u8]) -> Option<Timestamp> {
        if self.text != text {
            self.at = parse_time(text)?;
            self.text.clear();
            self.text.extend_from_slice(text);
        }
        Some(self.at)
    }
}
