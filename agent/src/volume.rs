//! Named volumes: directories with data that outlive containers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use scheduler::model::id::ContainerId;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;
use serde::{Deserialize, Serialize};

/// A volume as found on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredVolume {
    pub spec: VolumeSpec,
    /// The container that an anonymous volume belongs to.
    pub anonymous: Option<Anonymous>,
    pub created_at: Timestamp,
}

/// Whose an anonymous volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anonymous {
    pub container: ContainerId,
    /// Absolute path in the container.
    pub target: String,
}

/// The volumes below one root directory.
pub struct Volumes {
    root: PathBuf,
}

impl Volumes {
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Makes the volume if it does not exist; its data directory.
    pub async fn ensure(&self, spec: &VolumeSpec, now: Timestamp) -> Result<PathBuf, VolumeError> {
        let _ = now;
        Err(VolumeError::Unknown {
            name: spec.name.clone(),
        })
    }

    /// Makes the volume that a container has at `target` without a name; its name.
    ///
    /// The name follows from the two, so that a repeated call finds the same one. With `inherit`
    /// the volume of the container that it replaces is taken over, data and all.
    pub async fn anonymous(
        &self,
        container: &ContainerId,
        target: &str,
        inherit: Option<&ContainerId>,
        now: Timestamp,
    ) -> Result<String, VolumeError> {
        let _ = (container, inherit, now);
        Err(VolumeError::Unknown {
            name: target.to_owned(),
        })
    }

    /// Mounts what `driver_opts` say, if anything, and gives the directory to bind into the container.
    ///
    /// `subpath` is resolved beneath the volume; leaving it by a link is an error.
    pub async fn attach(&self, name: &str, subpath: Option<&str>) -> Result<PathBuf, VolumeError> {
        let _ = subpath;
        Err(VolumeError::Unknown {
            name: name.to_owned(),
        })
    }

    /// Unmounts what `attach` mounted; call it when no container uses the volume any more.
    pub async fn detach(&self, name: &str) -> Result<(), VolumeError> {
        Err(VolumeError::Unknown {
            name: name.to_owned(),
        })
    }

    /// Fills an empty volume with what the image has at `target`: contents, owner, mode, attributes.
    ///
    /// `layers` are the image's unpacked layers, the uppermost first. Nothing happens when the
    /// volume has something in it already, or the image has no directory there.
    pub async fn populate(
        &self,
        name: &str,
        layers: &[PathBuf],
        target: &str,
    ) -> Result<(), VolumeError> {
        let _ = (layers, target);
        Err(VolumeError::Unknown {
            name: name.to_owned(),
        })
    }

    /// Deletes the volume with its data; nothing happens when it does not exist.
    pub async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        Err(VolumeError::Unknown {
            name: name.to_owned(),
        })
    }

    /// All volumes, by name.
    pub async fn list(&self) -> Result<BTreeMap<String, StoredVolume>, VolumeError> {
        Ok(BTreeMap::new())
    }

    pub async fn inspect(&self, name: &str) -> Result<StoredVolume, VolumeError> {
        Err(VolumeError::Unknown {
            name: name.to_owned(),
        })
    }

    /// The volume's data directory (Docker's `Mountpoint`), whether it exists or not.
    pub fn data_path(&self, name: &str) -> PathBuf {
        self.root.join(name).join("_data")
    }
}

/// Why a volume could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("volume `{name}` does not exist")]
    Unknown { name: String },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}
