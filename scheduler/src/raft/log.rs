//! The log as the `raft` crate reads it: in memory, from the last snapshot on.
//!
//!     ── base ──┬── kept for members behind ──┬── since the last snapshot ──┐ last
//!               └ the state is sent to those that are further behind
//!
//! A newcomer never begins with the first entry, since nothing in the log says who founded the
//! group: it is sent the state, which does.

use std::cell::Cell;

use ::raft::eraftpb::{Entry as RaftEntry, HardState, Snapshot, SnapshotMetadata};
use ::raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::{Members, Position, RaftError, Restored, Vote};

/// How much of the log stays behind a snapshot, for members that are a little behind: the last
/// entries, as long as there are not too many of them and they do not take too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub entries: u64,
    pub bytes: usize,
}

/// Entries after the base, and who takes part.
#[derive(Debug)]
pub struct Log {
    vote: Vote,
    /// The entry before the first that is kept: its index and term.
    base: (u64, u64),
    /// Without gaps; the first follows on the base.
    entries: Vec<RaftEntry>,
    members: Members,
    /// The state, for members that are further behind than the log reaches.
    offered: Option<Snapshot>,
    wanted: Cell<bool>,
}

impl Log {
    pub(super) fn new(restored: Restored) -> Result<Self, RaftError> {
        let Restored {
            mut vote,
            snapshot,
            entries,
        } = restored;
        let mut expected = snapshot.index;
        for entry in &entries {
            expected += 1;
            if entry.index != expected {
                return Err(RaftError::Gap {
                    expected,
                    found: entry.index,
                });
            }
        }
        // What is in the snapshot was committed, and nothing can be that is not in the log.
        vote.commit = vote.commit.clamp(snapshot.index, expected);
        let last = entries.last().map_or(snapshot.term, |entry| entry.term);
        if last > vote.term {
            vote.term = last;
            vote.candidate = 0;
        }
        Ok(Self {
            vote,
            base: (snapshot.index, snapshot.term),
            entries: entries.into_iter().map(super::Entry::into_raft).collect(),
            members: snapshot.members,
            offered: None,
            wanted: Cell::new(false),
        })
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    pub(super) fn set_members(&mut self, members: Members) {
        self.members = members;
    }

    pub(super) fn append(&mut self, entries: &[RaftEntry], vote: Option<Vote>) {
        self.vote = vote.unwrap_or(self.vote);
        let Some(first) = entries.first() else {
            return;
        };
        let keep = first.index.saturating_sub(self.base.0 + 1);
        self.entries
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.entries.extend_from_slice(entries);
    }

    /// A state takes the place of everything.
    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Position {
        let about = snapshot.get_metadata();
        self.base = (about.index, about.term);
        self.entries.clear();
        self.members = Members::from_raft(about.get_conf_state());
        self.offered = None;
        self.position(about.index)
    }

    pub(super) fn wants_state(&self) -> bool {
        self.wanted.get()
    }

    pub(super) fn offer(&mut self, index: u64, state: Vec<u8>) {
        let mut about = SnapshotMetadata {
            index,
            term: self.term(index).unwrap_or(self.vote.term),
            ..SnapshotMetadata::default()
        };
        about.set_conf_state(self.members.to_raft());
        let mut snapshot = Snapshot {
            data: state.into(),
            ..Snapshot::default()
        };
        snapshot.set_metadata(about);
        self.offered = Some(snapshot);
        self.wanted.set(false);
    }

    /// Drops what is in a snapshot, but for the last entries: a member that was away for a moment need
    /// not be sent the whole state.
    pub(super) fn compact(&mut self, index: u64, keep: Keep) {
        let end = self.kept_from(index, keep);
        let (Some(last), Some(count)) = (self.at(end), end.checked_sub(self.base.0)) else {
            return;
        };
        self.base = (last.index, last.term);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.entries.drain(..count.min(self.entries.len()));
        // Whoever installs it would not find what follows.
        if self
            .offered
            .as_ref()
            .is_some_and(|it| it.get_metadata().index < end)
        {
            self.offered = None;
        }
    }

    /// Up to here the log may be dropped, when all up to `index` is in a snapshot.
    fn kept_from(&self, index: u64, keep: Keep) -> u64 {
        let (mut end, mut bytes) = (index, 0);
        while end > self.base.0 && index - end < keep.entries {
            bytes += self.at(end).map_or(0, |entry| entry.data.len());
            if bytes > keep.bytes {
                break;
            }
            end -= 1;
        }
        end
    }

    pub(super) fn position(&self, index: u64) -> Position {
        Position {
            index,
            term: self.term(index).unwrap_or(self.vote.term),
            members: self.members.clone(),
        }
    }

    fn at(&self, index: u64) -> Option<&RaftEntry> {
        let offset = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn last(&self) -> u64 {
        self.entries.last().map_or(self.base.0, |entry| entry.index)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> ::raft::Result<RaftState> {
        let hard = HardState {
            term: self.vote.term,
            vote: self.vote.candidate,
            commit: self.vote.commit,
            ..HardState::default()
        };
        Ok(RaftState::new(hard, self.members.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> ::raft::Result<Vec<RaftEntry>> {
        // Only what is read for sending may be answered later: the `raft` crate's way of saying
        // what it is for. See the module about the first entry.
        let for_newcomer = low == 1 && context.can_async();
        if low <= self.base.0 || for_newcomer {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0u64;
        let mut found = Vec::new();
        for index in low..high {
            let Some(entry) = self.at(index) else { break };
            size = size.saturating_add(entry.data.len() as u64 + 32);
            if !found.is_empty() && size > max {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> ::raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index < self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.at(index);
        entry
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> ::raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> ::raft::Result<u64> {
        Ok(self.last())
    }

    /// The state that was offered, if it is fresh enough and names its receiver as a member; else
    /// one is asked for, and the receiver is looked at again with its next sign of life.
    fn snapshot(&self, request_index: u64, to: u64) -> ::raft::Result<Snapshot> {
        let fits = |snapshot: &&Snapshot| {
            let about = snapshot.get_metadata();
            let members = Members::from_raft(about.get_conf_state());
            about.index >= request_index.max(self.base.0) && members.contains(to)
        };
        if let Some(snapshot) = self.offered.as_ref().filter(fits) {
            return Ok(snapshot.clone());
        }
        self.wanted.set(true);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
