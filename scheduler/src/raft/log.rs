//! The log as the `raft` crate reads it: in memory, from the last snapshot on.

use ::raft::eraftpb::{ConfState, Entry as RaftEntry, HardState, Snapshot};
use ::raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::{Position, RaftError, Restored, Vote};

/// Entries after the snapshot, and who votes.
#[derive(Debug)]
pub struct Log {
    vote: Vote,
    snapshot: Position,
    voters: Vec<u64>,
    /// Without gaps; the first follows on the snapshot.
    entries: Vec<RaftEntry>,
}

impl Log {
    pub(super) fn new(id: u64, restored: Restored) -> Result<Self, RaftError> {
        let mut expected = restored.snapshot.index;
        for entry in &restored.entries {
            expected += 1;
            if entry.index != expected {
                return Err(RaftError::Gap {
                    expected,
                    found: entry.index,
                });
            }
        }
        let mut vote = restored.vote;
        // What is in the snapshot was committed, and nothing can be that is not in the log.
        vote.commit = vote.commit.clamp(restored.snapshot.index, expected);
        let last = restored
            .entries
            .last()
            .map_or(restored.snapshot.term, |entry| entry.term);
        vote.term = vote.term.max(last);
        let mut voters = restored.snapshot.voters.clone();
        if voters.is_empty() {
            voters.push(id);
        }
        Ok(Self {
            vote,
            snapshot: restored.snapshot,
            voters,
            entries: restored
                .entries
                .into_iter()
                .map(super::Entry::into_raft)
                .collect(),
        })
    }

    pub(super) fn is_only_voter(&self, id: u64) -> bool {
        self.voters == [id]
    }

    pub(super) fn append(&mut self, entries: &[RaftEntry], vote: Option<Vote>) {
        self.vote = vote.unwrap_or(self.vote);
        let Some(first) = entries.first() else {
            return;
        };
        let keep = first.index.saturating_sub(self.snapshot.index + 1);
        self.entries
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.entries.extend_from_slice(entries);
    }

    pub(super) fn compact(&mut self, index: u64) {
        if index <= self.snapshot.index {
            return;
        }
        let position = self.position(index);
        let drop = usize::try_from(index - self.snapshot.index).unwrap_or(usize::MAX);
        self.entries.drain(..drop.min(self.entries.len()));
        self.snapshot = position;
    }

    pub(super) fn position(&self, index: u64) -> Position {
        Position {
            index,
            term: self.term(index).unwrap_or(self.vote.term),
            voters: self.voters.clone(),
        }
    }

    fn at(&self, index: u64) -> Option<&RaftEntry> {
        let offset = index.checked_sub(self.snapshot.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn last(&self) -> u64 {
        self.entries
            .last()
            .map_or(self.snapshot.index, |entry| entry.index)
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
        let members = ConfState {
            voters: self.voters.clone(),
            ..ConfState::default()
        };
        Ok(RaftState::new(hard, members))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> ::raft::Result<Vec<RaftEntry>> {
        if low <= self.snapshot.index {
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
        if index == self.snapshot.index {
            return Ok(self.snapshot.term);
        }
        if index < self.snapshot.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.at(index);
        entry
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> ::raft::Result<u64> {
        Ok(self.snapshot.index + 1)
    }

    fn last_index(&self) -> ::raft::Result<u64> {
        Ok(self.last())
    }

    /// Sending the state to a member that is far behind is not done yet: it is told to wait.
    fn snapshot(&self, _request_index: u64, _to: u64) -> ::raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
