//! What is written down about a container, so that a new agent finds what an old one left.
//!
//! | file | where | who writes it | says |
//! |---|---|---|---|
//! | `config.json` | container's directory | agent | the OCI configuration |
//! | `bundle.json` | container's directory | agent | layers, log, stdin |
//! | `run.json` | container's directory | agent, before it makes a shim | which task's run this is |
//! | `exit.json` | container's directory | shim, or the agent when the shim died | how it ended |
//! | `state.json` | exec directory (tmpfs) | shim | pids, phase, cgroup |

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use scheduler::model::id::TaskId;
use scheduler::model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use super::{Exit, LogOptions, Stdin};

pub(super) const CONFIG: &str = "config.json";
pub(super) const BUNDLE: &str = "bundle.json";
pub(super) const RUN: &str = "run.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const STATE: &str = "state.json";
pub(super) const SOCKET: &str = "shim.sock";

/// The part of a bundle that OCI has no words for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BundleRecord {
    pub(super) layers: Vec<PathBuf>,
    pub(super) init: bool,
    pub(super) log: LogOptions,
    pub(super) stdin: Stdin,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunRecord {
    pub(super) task: TaskId,
    pub(super) cgroup: PathBuf,
    /// The boot of the host in which it was begun.
    #[serde(default)]
    pub(super) boot: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExitRecord {
    pub(super) task: TaskId,
    pub(super) exit: Exit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StateRecord {
    pub(super) task: TaskId,
    pub(super) shim: ProcessId,
    pub(super) process: ProcessId,
    /// `None` while it waits at the gate.
    pub(super) started_at: Option<Timestamp>,
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Survives a power cut.
    Synced,
    /// Whole or absent for other processes; gone or old after a power cut.
    Atomic,
}

/// Reads a record; `None` if there is none or it cannot be understood.
pub(super) fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> Option<T> {
    let bytes = fs::read(directory.join(name)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

pub(super) fn write(
    directory: &Path,
    name: &str,
    record: &impl Serialize,
    durability: Durability,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    // One writer for each file at a time; whatever an earlier one left half-written is replaced.
    let new = directory.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    if durability == Durability::Synced {
        file.sync_data()?;
    }
    fs::rename(&new, directory.join(name))?;
    if durability == Durability::Synced {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Deletes a file that may be missing.
pub(super) fn delete(directory: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
