//! Secrets and configs as files in memory, ready to be bound into a container.

use std::io;
use std::path::{Path, PathBuf};

use scheduler::model::id::ContainerId;

/// One file to make.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    pub content: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, e.g. `0o400`.
    pub mode: u32,
}

/// The files of all containers, below one directory of the node.
pub struct Secrets {
    exec_root: PathBuf,
}

impl Secrets {
    pub fn new(exec_root: &Path) -> Self {
        Self {
            exec_root: exec_root.to_owned(),
        }
    }

    /// Writes the container's files to memory and gives their paths, in the same order.
    ///
    /// They are to be bound read-only at their targets. What an earlier call wrote is replaced.
    pub async fn prepare(
        &self,
        container: &ContainerId,
        files: &[SecretFile],
    ) -> Result<Vec<PathBuf>, SecretError> {
        let _ = (container, files, &self.exec_root);
        Err(SecretError::Unfinished)
    }

    /// Wipes the container's files; nothing happens when there are none.
    pub async fn remove(&self, container: &ContainerId) -> Result<(), SecretError> {
        let _ = container;
        Err(SecretError::Unfinished)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("secrets are not finished")]
    Unfinished,
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}
