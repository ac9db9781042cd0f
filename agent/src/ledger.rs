//! The last assignment that the node has accepted, on disk: what it goes by when no manager answers.
//!
//!     assignment ─► [`Ledger::write`] ─► the node acts ─► …power cut… ─► [`Ledger::read`] ─► the node acts
//!
//! | file | what |
//! |---|---|
//! | `assignment` | a line that says what follows and its checksum, then the whole assignment, sealed: secrets are in it |
//! | `reruns` | how often each task was restarted while nobody could be told |
//!
//! Both are replaced as a whole: there is no moment without a complete one. A page that cannot be
//! read is as good as none; the node then waits for a manager.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::model::id::TaskId;
use scheduler::report::Tally;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;
use tracing::warn;

use crate::seal::{SealError, Sealer};

const ASSIGNMENT: &str = "assignment";
const RERUNS: &str = "reruns";
/// Of the form of the pages.
const VERSION: u32 = 1;

/// Why the ledger could not be written or read.
#[derive(Debug, Error)]
pub enum LedgerError {
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot {action} {path}")]
    Seal {
        action: &'static str,
        path: PathBuf,
        source: SealError,
    },
}

/// What a node knows when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// `None` when it was never told anything.
    pub assignment: Option<Arc<Assignment>>,
    pub reruns: Reruns,
}

/// Restarts that the node made by itself, by task.
pub type Reruns = BTreeMap<TaskId, Tally>;

/// Before the sealed page.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// CRC-32 of what follows.
    checksum: u32,
}

/// The two files, in a directory of their own.
#[derive(Clone)]
pub struct Ledger {
    directory: PathBuf,
    sealer: Arc<Sealer>,
}

impl Ledger {
    /// # Errors
    ///
    /// Returns [`LedgerError::Io`] when the directory cannot be made.
    pub fn open(directory: &Path, sealer: Arc<Sealer>) -> Result<Self, LedgerError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|source| LedgerError::Io {
            action: "make",
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            sealer,
        })
    }

    /// What was written last.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError`] when there is something that cannot be read.
    pub fn read(&self) -> Result<Remembered, LedgerError> {
        let assignment = match self.page(ASSIGNMENT)? {
            None => None,
            Some(page) => Some(Arc::new(self.parse(ASSIGNMENT, &self.unseal(&page)?)?)),
        };
        let reruns = match self.page(RERUNS)? {
            None => Reruns::new(),
            Some(page) => self.parse(RERUNS, &page)?,
        };
        Ok(Remembered { assignment, reruns })
    }

    /// Returns when the assignment is safe on disk.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Io`]; what was there before is still there.
    pub fn write(&self, assignment: &Assignment) -> Result<(), LedgerError> {
        let plain = self.text(ASSIGNMENT, assignment)?;
        let sealed = self.sealer.seal(&plain).map_err(self.sealing("seal"))?;
        let header = Header {
            version: VERSION,
            checksum: crc32fast::hash(&sealed),
        };
        let mut page = self.text(ASSIGNMENT, &header)?;
        page.push(b'\n');
        page.extend(sealed);
        self.replace(ASSIGNMENT, &page)
    }

    /// Returns when the restarts are safe on disk.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Io`]; what was there before is still there.
    pub fn write_reruns(&self, reruns: &Reruns) -> Result<(), LedgerError> {
        self.replace(RERUNS, &self.text(RERUNS, reruns)?)
    }

    /// For a node that belongs to no cluster any longer, or to another one.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Io`] when something is left.
    pub fn forget(&self) -> Result<(), LedgerError> {
        for name in [ASSIGNMENT, RERUNS] {
            let path = self.directory.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::Io {
                        action: "remove",
                        path,
                        source,
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn page(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let path = self.directory.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LedgerError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    fn unseal(&self, page: &[u8]) -> Result<Vec<u8>, LedgerError> {
        let damaged = |reason: &str| self.damaged(ASSIGNMENT, reason);
        let end = page.iter().position(|byte| *byte == b'\n');
        let (header, sealed) = page.split_at(end.ok_or_else(|| damaged("it ends too early"))?);
        let sealed = sealed.get(1..).unwrap_or_default();
        let header: Header = self.parse(ASSIGNMENT, header)?;
        if header.version != VERSION {
            return Err(damaged("it was written by another version of wharfie"));
        }
        if header.checksum != crc32fast::hash(sealed) {
            return Err(damaged("its checksum is wrong"));
        }
        self.sealer.open(sealed).map_err(self.sealing("open"))
    }

    fn sealing(&self, action: &'static str) -> impl FnOnce(SealError) -> LedgerError {
        let path = self.directory.join(ASSIGNMENT);
        move |source| LedgerError::Seal {
            action,
            path,
            source,
        }
    }

    fn parse<T: for<'a> Deserialize<'a>>(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<T, LedgerError> {
        serde_json::from_slice(bytes).map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn text<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, LedgerError> {
        serde_json::to_vec(value).map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn damaged(&self, name: &str, reason: &str) -> LedgerError {
        LedgerError::Damaged {
            path: self.directory.join(name),
            reason: reason.to_owned(),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.directory.join(name);
        let io = |source| LedgerError::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        // Made for its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory).map_err(io)?;
        file.write_all(bytes).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        fs::File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io)
    }
}

/// Assignments on their way from the session to those who go by them.
pub struct Kept {
    /// What was told in this run of the process, and is written down.
    pub told: watch::Receiver<Arc<Assignment>>,
    /// The same; before, what is remembered.
    pub known: watch::Receiver<Arc<Assignment>>,
}

/// Passes assignments on as soon as they are written down; of those that come meanwhile only the
/// last one. A host that stands alone has a log of decisions, and needs no ledger.
///
/// A disk that is full keeps nobody from being told: what was not written is told again by a manager.
pub fn keep(
    ledger: Ledger,
    remembered: Option<Arc<Assignment>>,
    mut told: watch::Receiver<Arc<Assignment>>,
) -> Kept {
    let (pass_on, kept) = watch::channel(Arc::<Assignment>::default());
    let (show, known) = watch::channel(remembered.unwrap_or_default());
    tokio::spawn(async move {
        loop {
            let assignment = told.borrow_and_update().clone();
            if assignment.generation > 0 {
                if !assignment.managers.is_empty() {
                    write(&ledger, &assignment).await;
                }
                show.send_replace(assignment.clone());
                pass_on.send_replace(assignment);
            }
            if told.changed().await.is_err() {
                return;
            }
        }
    });
    Kept { told: kept, known }
}

async fn write(ledger: &Ledger, assignment: &Arc<Assignment>) {
    let (ledger, assignment) = (ledger.clone(), assignment.clone());
    let written = tokio::task::spawn_blocking(move || ledger.write(&assignment)).await;
    if let Ok(Err(error)) = written {
        warn!(error = %crate::host::OpError::because(&error), "an assignment could not be written down");
    }
}

/// Writes down the restarts, each time they change.
pub async fn keep_reruns(ledger: Ledger, mut reruns: watch::Receiver<Reruns>) {
    while reruns.changed().await.is_ok() {
        let (ledger, reruns) = (ledger.clone(), reruns.borrow_and_update().clone());
        let written = tokio::task::spawn_blocking(move || ledger.write_reruns(&reruns)).await;
        if let Ok(Err(error)) = written {
            warn!(error = %crate::host::OpError::because(&error), "restarts could not be written down");
        }
    }
}

#[cfg(test)]
mod tests;
