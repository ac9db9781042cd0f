//! The thread that makes decisions durable, and what it finds at a start.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held for as long as we run |
//! | `snapshot` | the whole state at one point of the log; replaced as a whole |
//! | `wal` | what was decided since; see [`super::wal`] |
//!
//! A state that the leader has sent takes the place of both: the snapshot names the log that follows
//! on it by a number, and from the moment it is there an older log is void.
//!
//! Everything that waits is appended and then made durable with one `fdatasync`. After a snapshot
//! the log is written anew with what the snapshot does not contain, beside the old one, and takes
//! its place in one step: there is no moment without a complete log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use scheduler::raft::{Entry, Members, Position, Restored, Vote, Write};
use scheduler::state::State;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::wal::{self, Base, Records, Wal, WalError};
use super::{Beginning, ManagerError};
use crate::seal::{NodeKey, Salted};

/// How often a full disk is looked at again.
const FULL_DISK_RETRY: Duration = Duration::from_millis(500);

/// What the thread has done, in the order in which it was asked for.
#[derive(Debug)]
pub(super) enum Done {
    /// This write, and all before it.
    Written {
        number: u64,
    },
    Saved {
        index: u64,
    },
    /// There is no room: it tries again until there is, and nothing is written meanwhile.
    Full {
        reason: String,
    },
    /// It has stopped.
    Failed {
        reason: String,
    },
}

enum Job {
    Write(Write),
    Save {
        position: Position,
        state: Box<State>,
    },
    Install {
        position: Position,
        state: Box<State>,
    },
}

/// The way to the thread.
pub(super) struct Disk {
    jobs: Sender<Job>,
}

/// How a sealed snapshot file begins; the salt of its key follows, and then what is sealed.
const SEALED: &[u8; 8] = b"WHFSNAP1";

/// The first line of a snapshot; the state follows on the second.
#[derive(Debug, Serialize, Deserialize)]
struct SnapshotHeader {
    position: Position,
    vote: Vote,
    /// CRC-32 of the state's bytes.
    checksum: u32,
    /// The number of the log that follows; see [`Base`].
    #[serde(default)]
    log: u64,
}

impl Disk {
    pub(super) fn open(
        dir: &Path,
        key: &NodeKey,
        beginning: Beginning,
        done: UnboundedSender<Done>,
    ) -> Result<(Self, Restored, State), ManagerError> {
        let directory = |source| ManagerError::Directory {
            path: dir.to_owned(),
            source,
        };
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(directory)?;
        let lock = lock(dir)?;
        let (wal, records) = Wal::open(&dir.join("wal"), key)?;
        let path = dir.join("snapshot");
        let (found, in_clear) = match read_snapshot(&path, key)? {
            Some((header, state, lies)) => (Some((header, state)), lies == Lies::InClear),
            None => (None, false),
        };
        let log = records.base.number;
        let (base, restored, state) = restore(found, records, beginning);
        let is_void = base.number != log;
        let mut writer = Writer {
            dir: dir.to_owned(),
            key: key.clone(),
            wal,
            base,
            vote: restored.vote,
            entries: restored.entries.clone(),
            _lock: lock,
        };
        if in_clear {
            let log = writer.base.number;
            writer.write_snapshot(&restored.snapshot, &state, log)?;
        }
        // A void log, or one that does not say yet who founded the group, is not left there.
        match writer.rewrite() {
            // The log has room of its own beyond its end: with it, what fills the disk can be removed.
            Err(error) if error.is_full() && !is_void => {
                tracing::warn!(error = chain(&error), "going on with the log as it is");
            }
            rewritten => rewritten?,
        }
        let (jobs, queue) = channel();
        thread::Builder::new()
            .name("manager-disk".to_owned())
            .spawn(move || writer.run(&queue, &done))
            .map_err(|source| ManagerError::Thread { source })?;
        Ok((Self { jobs }, restored, state))
    }

    /// A thread that has stopped has said so, and why.
    pub(super) fn write(&self, write: Write) {
        let _ = self.jobs.send(Job::Write(write));
    }

    pub(super) fn save(&self, position: Position, state: State) {
        let state = Box::new(state);
        let _ = self.jobs.send(Job::Save { position, state });
    }

    /// The next write says when it is done.
    pub(super) fn install(&self, position: Position, state: Box<State>) {
        let _ = self.jobs.send(Job::Install { position, state });
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, ManagerError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| ManagerError::Directory {
            path: path.clone(),
            source,
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| ManagerError::Locked {
        path: dir.to_owned(),
    })
}

/// Owned by the thread.
struct Writer {
    dir: PathBuf,
    key: NodeKey,
    wal: Wal,
    base: Base,
    vote: Vote,
    /// The log since the last snapshot, to be written again after the next one.
    entries: Vec<Entry>,
    _lock: Flock<File>,
}

impl Writer {
    /// Until the manager is gone, or the disk fails: after a failed write nobody knows what is on
    /// it, so that only a new start can tell (fsync(2), "ERRORS").
    fn run(mut self, queue: &Receiver<Job>, done: &UnboundedSender<Done>) {
        while let Ok(job) = queue.recv() {
            let jobs: Vec<Job> = std::iter::once(job).chain(queue.try_iter()).collect();
            if let Err(error) = self.work(jobs, done) {
                let _ = done.send(Done::Failed {
                    reason: chain(&error),
                });
                return;
            }
        }
    }

    fn work(&mut self, jobs: Vec<Job>, done: &UnboundedSender<Done>) -> Result<(), WalError> {
        let mut last = None;
        for job in jobs {
            match job {
                Job::Write(write) => {
                    self.append(&write);
                    last = Some(write.number);
                }
                Job::Save { position, state } => {
                    self.flush(last.take(), done)?;
                    match self.save(&position, &state) {
                        Ok(()) => {
                            let index = position.index;
                            let _ = done.send(Done::Saved { index });
                        }
                        // The log has all of it; another snapshot will be asked for.
                        Err(error) if error.is_full() => {
                            tracing::warn!(error = chain(&error), "no snapshot on a full disk");
                        }
                        Err(error) => return Err(error),
                    }
                }
                Job::Install { position, state } => {
                    self.flush(last.take(), done)?;
                    self.install(&position, &state)?;
                }
            }
        }
        self.flush(last, done)
    }

    fn append(&mut self, write: &Write) {
        if let Some(vote) = write.vote {
            self.vote = vote;
            self.wal.append_vote(&vote);
        }
        for entry in write.entries.iter() {
            wal::replace_from(&mut self.entries, entry.clone());
            self.wal.append_entry(entry);
        }
    }

    fn flush(&mut self, last: Option<u64>, done: &UnboundedSender<Done>) -> Result<(), WalError> {
        let Some(number) = last else { return Ok(()) };
        let mut waiting = false;
        loop {
            match self.wal.sync() {
                Ok(()) => break,
                // The reserve is used up: what was decided waits until there is room.
                Err(error) if error.is_full() && !done.is_closed() => {
                    if !std::mem::replace(&mut waiting, true) {
                        let reason = chain(&error);
                        tracing::error!(reason, "waiting for room on the disk");
                        let _ = done.send(Done::Full { reason });
                    }
                    thread::sleep(FULL_DISK_RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        let _ = done.send(Done::Written { number });
        Ok(())
    }

    fn save(&mut self, position: &Position, state: &State) -> Result<(), WalError> {
        self.write_snapshot(position, state, self.base.number)?;
        self.entries.retain(|entry| entry.index > position.index);
        self.rewrite()
    }

    /// From the moment the snapshot is there, the log with the old number counts for nothing.
    fn install(&mut self, position: &Position, state: &State) -> Result<(), WalError> {
        self.write_snapshot(position, state, self.base.number + 1)?;
        self.base.number += 1;
        self.entries.clear();
        self.rewrite()
    }

    fn rewrite(&mut self) -> Result<(), WalError> {
        let path = self.dir.join("wal");
        self.wal = Wal::rewrite(&path, &self.key, &self.base, &self.vote, &self.entries)?;
        Ok(())
    }

    fn write_snapshot(&self, position: &Position, state: &State, log: u64) -> Result<(), WalError> {
        let path = self.dir.join("snapshot");
        let bytes = serde_json::to_vec(state).map_err(io::Error::from);
        let bytes = bytes.map_err(|source| WalError::io(&path, source))?;
        let header = SnapshotHeader {
            position: position.clone(),
            vote: self.vote,
            checksum: crc32fast::hash(&bytes),
            log,
        };
        let header = serde_json::to_vec(&header).map_err(io::Error::from);
        let header = header.map_err(|source| WalError::io(&path, source))?;
        let salt: Salted = rand::random();
        let plain = [header.as_slice(), b"\n", &bytes].concat();
        let sealer = self.key.sealer_of("snapshot", &salt);
        let sealed = sealer.and_then(|sealer| sealer.seal(&plain));
        let sealed = sealed.map_err(|source| WalError::Seal {
            path: path.clone(),
            source,
        })?;
        wal::replace_file(&path, |file| {
            file.write_all(SEALED)?;
            file.write_all(&salt)?;
            file.write_all(&sealed)
        })
    }
}

/// Puts together what the last run has left.
fn restore(
    snapshot: Option<(SnapshotHeader, State)>,
    mut records: Records,
    beginning: Beginning,
) -> (Base, Restored, State) {
    let mut base = std::mem::take(&mut records.base);
    let Some((header, state)) = snapshot else {
        if base.members.is_empty() {
            base.members = founders(&records, beginning);
        }
        let mut restored = Restored::default();
        restored.snapshot.members = base.members.clone();
        records.add_to(&mut restored);
        return (base, restored, State::default());
    };
    if base.number < header.log {
        records.entries.clear();
        base.number = header.log;
    }
    let mut restored = Restored {
        vote: header.vote,
        snapshot: header.position,
        entries: Vec::new(),
    };
    records.add_to(&mut restored);
    (base, restored, state)
}

/// A log that begins with its first entry was founded here: others are sent the state. Earlier ones
/// do not say so.
fn founders(records: &Records, beginning: Beginning) -> Members {
    match beginning {
        Beginning::Found { number } => Members::alone(number),
        Beginning::Join { number } if !records.entries.is_empty() => Members::alone(number),
        Beginning::Join { .. } => Members::default(),
    }
}

/// How a snapshot was found. Before there were seals it lay there for all to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    Sealed,
    InClear,
}

/// The header and the state of a snapshot file's bytes.
fn unseal(path: &Path, bytes: Vec<u8>, key: &NodeKey) -> Result<(Vec<u8>, Lies), WalError> {
    let Some(rest) = bytes.strip_prefix(SEALED) else {
        return Ok((bytes, Lies::InClear));
    };
    let Some((salt, sealed)) = rest.split_first_chunk() else {
        return Err(WalError::DamagedSnapshot {
            path: path.to_owned(),
            what: "it is too short",
        });
    };
    let sealer = key.sealer_of("snapshot", salt);
    let plain = sealer.and_then(|sealer| sealer.open(sealed));
    let plain = plain.map_err(|source| WalError::Seal {
        path: path.to_owned(),
        source,
    })?;
    Ok((plain, Lies::Sealed))
}

fn read_snapshot(
    path: &Path,
    key: &NodeKey,
) -> Result<Option<(SnapshotHeader, State, Lies)>, WalError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(WalError::io(path, source)),
    };
    let damaged = |what: &'static str| WalError::DamagedSnapshot {
        path: path.to_owned(),
        what,
    };
    let (bytes, lies) = unseal(path, bytes, key)?;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (header, body) = bytes.split_at(end.ok_or_else(|| damaged("it has no header"))?);
    let body = body.get(1..).unwrap_or_default();
    let header: SnapshotHeader =
        serde_json::from_slice(header).map_err(|_| damaged("its header cannot be read"))?;
    if crc32fast::hash(body) != header.checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let state = serde_json::from_slice(body).map_err(|_| damaged("its state cannot be read"))?;
    Ok(Some((header, state, lies)))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
