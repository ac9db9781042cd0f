//! The log of decisions on disk: frames one after the other, each with its length and checksum.
//!
//!     frame:  ┌────────┬────────┬─────────────────┐     record: ┌────────┬──────┬─────────┐
//!             │ length │ crc-32 │ record, record… │             │ length │ kind │ payload │
//!             │ u32    │ u32    │                 │             │ u32    │ u8   │         │
//!             └────────┴────────┴─────────────────┘             └────────┴──────┴─────────┘
//!
//! The first frame holds the salt of the log's key, in clear. The records of all that follow are
//! sealed ([`crate::seal`]): the log holds everything, secrets too. Logs of a time before that are
//! read, and written anew.
//!
//! Numbers are little-endian. A frame is what was made durable in one go, and the next one is not
//! begun before it is: a write that a power cut has torn can only be the last frame, and nobody was
//! told that it was done. It is cut off. A frame that is wrong in any other way is damage, and an
//! error: going on without it would silently take back decisions.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::fcntl::{FallocateFlags, fallocate};
use scheduler::raft::{Entry, EntryKind, Members, Restored, Vote};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::seal::{NodeKey, Salted, SealError, Sealer, is_sealed};

/// Bytes before a frame's records.
const HEADER: usize = 8;
/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// Larger frames are never written: a command is at most some megabytes.
const LONGEST: usize = 256 << 20;

/// Room that the log keeps for itself beyond its end: on a full disk what fails can still be
/// decided, told, and taken back.
const RESERVE: u64 = 1 << 20;

const VOTE: u8 = 1;
const BATCH: u8 = 2;
const MEMBERS: u8 = 3;
const MEMBERS_V2: u8 = 4;
const BASE: u8 = 5;
const SALT: u8 = 6;

/// What the log's key is for.
const PURPOSE: &str = "log";

/// Why the log cannot be read or written.
#[derive(Debug, Error)]
pub enum WalError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged at byte {offset}: {what}")]
    Damaged {
        path: PathBuf,
        offset: usize,
        what: &'static str,
    },
    #[error("cannot seal or open {path}")]
    Seal { path: PathBuf, source: SealError },
    #[error("{path} is damaged: {what}")]
    DamagedSnapshot { path: PathBuf, what: &'static str },
}

impl WalError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// The disk is full: nothing is lost, and the same can be tried again.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// The log, open for appending.
pub(super) struct Wal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Up to here the disk's blocks are ours.
    reserved: u64,
    /// `None` for a log of the time before there were seals, until it is rewritten.
    sealer: Option<Sealer>,
    /// Records that have not been handed to the kernel yet.
    pending: Vec<u8>,
}

/// What a log stands on; its first record. Logs of a time without it have the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Base {
    /// Goes up when a state that was sent takes the place of the log: what an older one contains
    /// is void.
    pub(super) number: u64,
    /// Who takes part where the log begins at its first entry.
    pub(super) members: Members,
}

/// What a log contains, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Records {
    pub(super) base: Base,
    pub(super) vote: Option<Vote>,
    pub(super) entries: Vec<Entry>,
    salt: Option<Salted>,
}

impl Records {
    /// What the snapshot contains already is passed over: the log may reach back behind it.
    pub(super) fn add_to(self, restored: &mut Restored) {
        if let Some(vote) = self.vote
            && vote.term >= restored.vote.term
        {
            restored.vote = vote;
        }
        let after = restored.snapshot.index;
        restored.entries = self
            .entries
            .into_iter()
            .filter(|entry| entry.index > after)
            .collect();
    }
}

impl Wal {
    /// Opens the log, cuts off a torn tail, and returns what is in it.
    pub(super) fn open(path: &Path, key: &NodeKey) -> Result<(Self, Records), WalError> {
        let io = |source| WalError::io(path, source);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let wal = Self::rewrite(path, key, &Base::default(), &Vote::default(), &[])?;
                return Ok((wal, Records::default()));
            }
            Err(source) => return Err(io(source)),
        };
        let (records, good, sealer) = read(path, &bytes, key)?;
        let file = File::options().write(true).open(path).map_err(io)?;
        if good < bytes.len() {
            tracing::warn!(path = %path.display(), offset = good, "cut off an unfinished write");
            file.set_len(good as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        Ok((Self::on(path, file, good as u64, sealer), records))
    }

    /// Replaces the log by one with just these.
    pub(super) fn rewrite(
        path: &Path,
        key: &NodeKey,
        base: &Base,
        vote: &Vote,
        entries: &[Entry],
    ) -> Result<Self, WalError> {
        let mut bytes = Vec::new();
        put_base(&mut bytes, base).map_err(|source| WalError::io(path, source))?;
        put_vote(&mut bytes, vote);
        for entry in entries {
            put_entry(&mut bytes, entry);
        }
        let salt: Salted = rand::random();
        let sealer = sealer(path, key, &salt)?;
        let sealed = sealer.seal(&bytes).map_err(|source| WalError::Seal {
            path: path.to_owned(),
            source,
        })?;
        let mut first = Vec::new();
        put(&mut first, SALT, &salt);
        let mut whole = frame(&first).map_err(|source| WalError::io(path, source))?;
        whole.extend(frame(&sealed).map_err(|source| WalError::io(path, source))?);
        replace_file(path, |file| file.write_all(&whole))?;
        let file = File::options().write(true).open(path);
        let file = file.map_err(|source| WalError::io(path, source))?;
        Ok(Self::on(path, file, whole.len() as u64, Some(sealer)))
    }

    fn on(path: &Path, file: File, length: u64, sealer: Option<Sealer>) -> Self {
        let mut wal = Self {
            path: path.to_owned(),
            file,
            length,
            reserved: length,
            sealer,
            pending: Vec::new(),
        };
        wal.reserve();
        wal
    }

    /// Takes blocks beyond the end, whose length stays as it is. Where that cannot be had the log
    /// is written all the same, for as long as there is room.
    fn reserve(&mut self) {
        let (Ok(from), Ok(length)) = (i64::try_from(self.length), i64::try_from(RESERVE)) else {
            return;
        };
        let taken = fallocate(
            &self.file,
            FallocateFlags::FALLOC_FL_KEEP_SIZE,
            from,
            length,
        );
        if taken.is_ok() {
            self.reserved = self.length + RESERVE;
        }
    }

    pub(super) fn append_vote(&mut self, vote: &Vote) {
        put_vote(&mut self.pending, vote);
    }

    pub(super) fn append_entry(&mut self, entry: &Entry) {
        put_entry(&mut self.pending, entry);
    }

    /// Everything appended so far is on disk when this returns.
    pub(super) fn sync(&mut self) -> Result<(), WalError> {
        let io = |source| WalError::io(&self.path, source);
        let frame = match &self.sealer {
            Some(sealer) => {
                let sealed = sealer.seal(&self.pending);
                let sealed = sealed.map_err(|source| WalError::Seal {
                    path: self.path.clone(),
                    source,
                })?;
                frame(&sealed)
            }
            None => frame(&self.pending),
        };
        let frame = frame.map_err(io)?;
        self.file.write_all_at(&frame, self.length).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.length += frame.len() as u64;
        self.pending.clear();
        if self.reserved < self.length + RESERVE / 2 {
            self.reserve();
        }
        Ok(())
    }
}

/// Adds an entry; the one with its index, and all that follow, were never agreed on.
pub(super) fn replace_from(entries: &mut Vec<Entry>, entry: Entry) {
    while entries.last().is_some_and(|last| last.index >= entry.index) {
        entries.pop();
    }
    entries.push(entry);
}

/// Writes a file beside the old one and puts it in its place, so that there is always one of both
/// and it is whole.
pub(super) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), WalError> {
    let fresh = path.with_extension("new");
    let io = |source| WalError::io(path, source);
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io)?;
    if let Err(source) = write(&mut file).and_then(|()| file.sync_all()) {
        // On a full disk each block counts.
        let _ = fs::remove_file(&fresh);
        return Err(io(source));
    }
    fs::rename(&fresh, path).map_err(io)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

fn put_base(out: &mut Vec<u8>, base: &Base) -> io::Result<()> {
    put(out, BASE, &serde_json::to_vec(base)?);
    Ok(())
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    let numbers = [vote.term, vote.candidate, vote.commit];
    put(out, VOTE, &numbers.map(u64::to_le_bytes).concat());
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let kind = match entry.kind {
        EntryKind::Batch => BATCH,
        EntryKind::Members => MEMBERS,
        EntryKind::MembersV2 => MEMBERS_V2,
    };
    let mut payload = Vec::with_capacity(16 + entry.data.len());
    payload.extend(entry.index.to_le_bytes());
    payload.extend(entry.term.to_le_bytes());
    payload.extend(&entry.data);
    put(out, kind, &payload);
}

fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    // Bounded by `LONGEST`, which the frame checks.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.push(kind);
    out.extend(payload);
}

fn frame(records: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(records.len()).ok();
    let length = length.filter(|_| records.len() <= LONGEST);
    let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
    let mut frame = Vec::with_capacity(HEADER + records.len());
    frame.extend(length.to_le_bytes());
    frame.extend(crc32fast::hash(records).to_le_bytes());
    frame.extend(records);
    Ok(frame)
}

/// The key of the log with this salt.
fn sealer(path: &Path, key: &NodeKey, salt: &Salted) -> Result<Sealer, WalError> {
    let sealer = key.sealer_of(PURPOSE, salt);
    sealer.map_err(|source| WalError::Seal {
        path: path.to_owned(),
        source,
    })
}

/// Reads frames up to the end, or to a torn one. Returns the records, where the good part ends, and
/// what it is sealed with.
fn read(
    path: &Path,
    bytes: &[u8],
    key: &NodeKey,
) -> Result<(Records, usize, Option<Sealer>), WalError> {
    let mut records = Records::default();
    let mut used = None;
    let mut at = 0;
    while at < bytes.len() {
        let Some(content) = content(&bytes[at..]) else {
            if is_torn(bytes, at) {
                break;
            }
            return Err(damaged(path, at, "the checksum is wrong"));
        };
        let plain = opened(content, used.as_ref())
            .ok_or_else(|| damaged(path, at, "it was not sealed with this node's key"))?;
        let unknown = || damaged(path, at, "a record that this version does not know");
        take_all(&mut records, &plain).ok_or_else(unknown)?;
        if let Some(salt) = records.salt.take() {
            used = Some(sealer(path, key, &salt)?);
        }
        at += HEADER + content.len();
    }
    Ok((records, at, used))
}

/// The records of a frame. In a log that is sealed, what is not sealed is nobody's.
fn opened<'a>(content: &'a [u8], sealer: Option<&Sealer>) -> Option<Cow<'a, [u8]>> {
    match sealer {
        Some(sealer) => Some(Cow::Owned(sealer.open(content).ok()?)),
        None => Some(Cow::Borrowed(content)),
    }
}

fn damaged(path: &Path, offset: usize, what: &'static str) -> WalError {
    WalError::Damaged {
        path: path.to_owned(),
        offset,
        what,
    }
}

/// The records of the frame at the beginning, if it is whole and right.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let length = length(bytes)?;
    let checksum = number(bytes.get(4..)?)?;
    let content = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    (crc32fast::hash(content) == checksum).then_some(content)
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(number(bytes)?).ok()?;
    (1..=LONGEST).contains(&length).then_some(length)
}

fn number(bytes: &[u8]) -> Option<u32> {
    let bytes = bytes.get(..4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Whether the bad frame at `at` is the end of an unfinished write.
///
/// Then nothing good follows it, and it is too short, or some of its sectors were never written
/// and read as zeroes. One that is all there and wrong was told to be done, and was damaged later.
/// The length may itself be what is wrong, so that a good frame is looked for at every byte.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let followed = (1..rest.len()).any(|skip| {
        // What is sealed need not be opened: its beginning and its checksum are no accident.
        content(&rest[skip..]).is_some_and(|found| {
            is_sealed(found) || take_all(&mut Records::default(), found).is_some()
        })
    });
    if followed {
        return false;
    }
    let end = length(rest).map_or(rest.len(), |length| HEADER + length);
    rest.len() < HEADER || end > rest.len() || has_hole(bytes, at)
}

/// Whether a sector, or the part of one at either end, is all zeroes.
fn has_hole(bytes: &[u8], at: usize) -> bool {
    let first = at - at % SECTOR;
    (first..bytes.len()).step_by(SECTOR).any(|sector| {
        let end = (sector + SECTOR).min(bytes.len());
        let part = bytes.get(sector.max(at)..end).unwrap_or_default();
        part.len() >= HEADER && part.iter().all(|byte| *byte == 0)
    })
}

fn take_all(records: &mut Records, mut content: &[u8]) -> Option<()> {
    while !content.is_empty() {
        let length = usize::try_from(number(content)?).ok()?;
        let end = 5usize.checked_add(length)?;
        take(records, content.get(4..end)?)?;
        content = content.get(end..)?;
    }
    Some(())
}

fn take(records: &mut Records, content: &[u8]) -> Option<()> {
    let (kind, payload) = content.split_first()?;
    let long = |at: usize| {
        Some(u64::from_le_bytes(
            payload.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    let kind = match *kind {
        VOTE => {
            records.vote = Some(Vote {
                term: long(0)?,
                candidate: long(8)?,
                commit: long(16)?,
            });
            return Some(());
        }
        SALT => {
            records.salt = Some(payload.try_into().ok()?);
            return Some(());
        }
        BASE => {
            records.base = serde_json::from_slice(payload).ok()?;
            return Some(());
        }
        BATCH => EntryKind::Batch,
        MEMBERS => EntryKind::Members,
        MEMBERS_V2 => EntryKind::MembersV2,
        _ => return None,
    };
    let entry = Entry {
        index: long(0)?,
        term: long(8)?,
        kind,
        data: Bytes::copy_from_slice(payload.get(16..)?),
    };
    replace_from(&mut records.entries, entry);
    Some(())
}

#[cfg(test)]
mod tests;
