//! A container's log files.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scheduler::model::time::Timestamp;

use super::LogFiles;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Writes a container's output; for one thread that may block.
#[derive(Debug)]
pub struct LogWriter {
    _path: PathBuf,
}

impl LogWriter {
    /// Opens the current file `path` for appending (older ones are `path.1`, `path.2`, …).
    pub fn open(_path: &Path, _limits: &LogFiles) -> io::Result<Self> {
        todo!()
    }
    /// Writes what was read from the container in one read; an unfinished line is kept until its
    /// end comes, 16 KiB are together, or `finish`. One write(2) for each call.
    pub fn write(&mut self, _stream: Stream, _bytes: &[u8], _at: Timestamp) -> io::Result<()> {
        todo!()
    }
    /// Writes unfinished lines. Call it when the streams have ended.
    pub fn finish(&mut self, _at: Timestamp) -> io::Result<()> {
        todo!()
    }
}

/// One line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub at: Timestamp,
    pub stream: Stream,
    /// Without the line's end.
    pub bytes: Vec<u8>,
    /// The line goes on in the next entry of the same stream.
    pub partial: bool,
}

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Goes on after the end of the file until [`LogReader::ended`] was called and everything is read.
    pub follow: Follow,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    #[default]
    No,
    Yes,
}

/// Tells followers of a log that nothing more will be written.
#[derive(Clone, Debug, Default)]
pub struct LogEnd(Arc<tokio_util::sync::CancellationToken>);
impl LogEnd {
    pub fn new() -> Self {
        Self::default()
    }
    /// Followers read what is there and stop.
    pub fn ended(&self) {
        self.0.cancel()
    }
}

/// Reads a log, oldest entry first.
#[derive(Debug)]
pub struct LogReader {
    _path: PathBuf,
}

impl LogReader {
    pub async fn open(_path: &Path, _query: LogQuery, _end: LogEnd) -> io::Result<Self> {
        todo!()
    }
    /// The next entries (never an empty list); `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Vec<LogEntry>>> {
        todo!()
    }
}
