//! Reads a container's log: from where the query says, through all files, and on as they grow.
//!
//!     log.2 ─► log.1 ─► log ─► (end: wait for more, or for the container's end)
//!
//! Files stay open while they are read, so that a rotation takes nothing away. At the end of the
//! youngest file the names are looked at again: if a younger file has appeared, the one at hand is
//! complete, is read once more to its end, and the next is begun.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use scheduler::model::time::Timestamp;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::files::{self, OpenFile};
use super::{LastTime, LogEntry, TAG_AT, TEXT_AT, parse_entry};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// More without a line feed is not a log of ours.
const MAX_FRAGMENT: usize = 1 << 20;

/// Between looks at a file that cannot be watched (inotify instances are few: 128 for a user).
const POLL: Duration = Duration::from_millis(200);

/// What of a log is wanted; by default all that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub follow: Follow,
}

/// Whether to go on when all that is there has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    #[default]
    No,
    /// Until the container has ended, see [`LogEnd`].
    Yes,
}

/// Tells those who follow a log that nothing more will be written.
#[derive(Clone, Debug, Default)]
pub struct LogEnd(CancellationToken);

impl LogEnd {
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything has been written: followers read it and stop.
    pub fn ended(&self) {
        self.0.cancel();
    }
}

/// Reads a log, the oldest entry first.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    query: LogQuery,
    end: LogEnd,
    /// The file at hand, and those that come after it.
    files: VecDeque<Arc<OpenFile>>,
    /// Where to go on in the file at hand.
    offset: u64,
    /// The beginning of an entry whose end has not been read.
    fragment: Vec<u8>,
    time: LastTime,
    changes: Changes,
    finished: bool,
}

impl LogReader {
    /// Opens the log whose current file is `path`. A log that is not there (yet) is empty.
    ///
    /// # Errors
    ///
    /// Returns the error of a file that is there and cannot be read.
    pub async fn open(path: &Path, query: LogQuery, end: LogEnd) -> io::Result<Self> {
        // Before the files are looked at, so that no change falls in between.
        let changes = match query.follow {
            Follow::Yes => Changes::of_directory(path),
            Follow::No => Changes::Unwatched,
        };
        let (tail, since) = (query.tail, query.since);
        let owned = path.to_owned();
        let (files, offset) = blocking(move || {
            let files = files::open_all(&owned)?;
            let (index, offset) = match tail {
                Some(lines) => start_of_tail(&files, lines)?,
                None => (0, 0),
            };
            let (index, offset) = match since {
                Some(since) => first_with(&files, since)?.max((index, offset)),
                None => (index, offset),
            };
            Ok((
                files.into_iter().skip(index).map(Arc::new).collect(),
                offset,
            ))
        })
        .await?;
        Ok(Self {
            path: path.to_owned(),
            query,
            end,
            files,
            offset,
            fragment: Vec::new(),
            time: LastTime::default(),
            changes,
            finished: false,
        })
    }

    /// The next entries, at least one; `None` at the end.
    ///
    /// Dropping the future loses nothing that the next call would not read again.
    pub async fn next(&mut self) -> io::Result<Option<Vec<LogEntry>>> {
        while !self.finished {
            // Asked before reading: what was written before the end was announced is then seen.
            let ended = self.end.0.is_cancelled();
            let chunk = self.read_chunk().await?;
            let entries = if chunk.is_empty() {
                self.go_on(ended).await?
            } else {
                self.offset += chunk.len() as u64;
                self.take_entries(&chunk)
            };
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    async fn read_chunk(&self) -> io::Result<Vec<u8>> {
        let Some(current) = self.files.front().cloned() else {
            return Ok(Vec::new());
        };
        let offset = self.offset;
        blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let length = current.file.read_at(&mut chunk, offset)?;
            chunk.truncate(length);
            Ok(chunk)
        })
        .await
    }

    /// At the end of the file at hand: turns to the next, or waits for more, or finishes.
    async fn go_on(&mut self, ended: bool) -> io::Result<Vec<LogEntry>> {
        if self.files.len() > 1 {
            self.files.pop_front();
            self.offset = 0;
            return Ok(self.take_fragment());
        }
        let younger = self.younger_files().await?;
        if !younger.is_empty() {
            self.files.extend(younger);
        } else if self.query.follow == Follow::No || ended {
            self.finished = true;
            return Ok(self.take_fragment());
        } else {
            tokio::select! {
                changed = self.changes.wait() => changed?,
                () = self.end.0.cancelled() => {}
            }
        }
        Ok(Vec::new())
    }

    async fn younger_files(&self) -> io::Result<Vec<Arc<OpenFile>>> {
        let path = self.path.clone();
        let current = self.files.front().map(|current| current.inode);
        blocking(move || {
            let all = files::open_all(&path)?;
            // A file at hand that has been deleted is older than all that are there.
            let known = all.iter().position(|file| Some(file.inode) == current);
            Ok(all
                .into_iter()
                .skip(known.map_or(0, |at| at + 1))
                .map(Arc::new)
                .collect())
        })
        .await
    }

    fn take_entries(&mut self, chunk: &[u8]) -> Vec<LogEntry> {
        self.fragment.extend_from_slice(chunk);
        let bytes = std::mem::take(&mut self.fragment);
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !self.finished {
            let mut behind = rest;
            // Reading from memory cannot fail.
            let Ok(length) = behind.skip_until(b'\n') else {
                break;
            };
            let Some(line) = rest[..length].strip_suffix(b"\n") else {
                break;
            };
            entries.extend(self.wanted(line));
            rest = behind;
        }
        if rest.len() <= MAX_FRAGMENT {
            self.fragment = rest.to_vec();
        }
        entries
    }

    /// What is left at the end of a file: part of an entry if the writer was cut off.
    fn take_fragment(&mut self) -> Vec<LogEntry> {
        let fragment = std::mem::take(&mut self.fragment);
        self.wanted(&fragment).into_iter().collect()
    }

    fn wanted(&mut self, line: &[u8]) -> Option<LogEntry> {
        let entry = parse_entry(line, &mut self.time)?;
        if self.query.until.is_some_and(|until| entry.at > until) {
            self.finished = true;
            return None;
        }
        self.query
            .since
            .is_none_or(|since| entry.at >= since)
            .then_some(entry)
    }
}

/// Finds file and offset where the last `lines` lines begin, reading backwards no more than needed.
///
/// The parts of a long line count as one; so does a last line that has not ended.
fn start_of_tail(files: &[OpenFile], lines: u64) -> io::Result<(usize, u64)> {
    let mut remaining = lines;
    let mut start = (files.len(), 0);
    let mut at_end = true;
    for (index, file) in files.iter().enumerate().rev() {
        let length = file.file.metadata()?.len();
        if at_end {
            start = (index, length);
        }
        let mut end = length;
        while end > 0 {
            let begin = end.saturating_sub(CHUNK as u64);
            // Reaches beyond `end` for the tag of the entry that begins there.
            let block = read_range(file, begin, length.min(end + TEXT_AT as u64))?;
            for entry in starts_in(&block, begin, end).filter(|entry| *entry < length) {
                // Fits: `entry - begin` is at most the length of a block.
                let tag = block.get((entry - begin) as usize + TAG_AT);
                if at_end || tag == Some(&b'F') {
                    if remaining == 0 {
                        return Ok(start);
                    }
                    remaining -= 1;
                }
                at_end = false;
                start = (index, entry);
            }
            end = begin;
        }
    }
    Ok(start)
}

/// Offsets of the entries that a line feed between `begin` and `end` precedes, the last first; the
/// start of the file counts as well.
fn starts_in(block: &[u8], begin: u64, end: u64) -> impl Iterator<Item = u64> {
    let within = block.len().min((end - begin) as usize);
    let behind_line_feeds = (0..within).rev().filter(|at| block[*at] == b'\n');
    behind_line_feeds
        .map(move |at| begin + at as u64 + 1)
        .chain((begin == 0).then_some(0))
}

fn read_range(file: &OpenFile, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; (end - begin) as usize];
    file.file.read_exact_at(&mut block, begin)?;
    Ok(block)
}

/// The first file that can have entries of `since` or later.
fn first_with(files: &[OpenFile], since: Timestamp) -> io::Result<(usize, u64)> {
    // File times come from a coarser clock than entries' times: allow a second.
    let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(since.as_nanos());
    for (index, file) in files.iter().enumerate() {
        if file.file.metadata()?.modified()? + Duration::from_secs(1) >= since {
            return Ok((index, 0));
        }
    }
    Ok((files.len().saturating_sub(1), 0))
}

/// How a follower learns that something was written.
#[derive(Debug)]
enum Changes {
    /// The directory of the log is watched.
    Watched(AsyncFd<OwnedFd>),
    Unwatched,
}

impl Changes {
    fn of_directory(log: &Path) -> Self {
        let Some(directory) = log.parent() else {
            return Self::Unwatched;
        };
        let watch = || -> io::Result<AsyncFd<OwnedFd>> {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            let flags =
                AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(directory, flags)?;
            let inotify = OwnedFd::from(inotify);
            // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives.
            #[expect(unsafe_code, reason = "tokio has no safe way for other descriptors")]
            unsafe { AsyncFd::register(inotify) }.map_err(io::Error::other)
        };
        watch().map_or(Self::Unwatched, Self::Watched)
    }

    async fn wait(&self) -> io::Result<()> {
        let Self::Watched(inotify) = self else {
            tokio::time::sleep(POLL).await;
            return Ok(());
        };
        let mut ready = inotify.readable().await?;
        // What happened does not matter; only that the queue is emptied.
        let mut events = [0; 4096];
        while nix::unistd::read(ready.get_inner(), &mut events).is_ok_and(|length| length > 0) {}
        ready.clear_ready();
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
