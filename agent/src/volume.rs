//! Named volumes: directories with data that outlive containers.
//!
//!     root/<name>/volume.json    what it is
//!     root/<name>/_data/         its data; what `driver_opts` say is mounted here
//!     root/<name>/subpaths/…     parts of it, mounted for containers that asked for a part
//!     root/<name>/filling        it is being filled from an image
//!     root/.removing-<name>/     it is being deleted
//!
//! | module | what it does | pure |
//! |---|---|---|
//! | [`options`] | `driver_opts` → what mount(2) takes | yes |
//! | [`mounts`] | mounts, and finds them again | |
//! | [`populate`] | fills a new volume from an image | |
//!
//! Who uses a volume is the caller's knowledge: nothing here counts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scheduler::model::id::ContainerId;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use options::MountOptions;

mod mounts;
mod options;
mod populate;

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
#[derive(Clone)]
pub struct Volumes {
    root: Arc<Path>,
    /// One change at a time: they are rare, and most take no time.
    changing: Arc<Mutex<()>>,
}

impl Volumes {
    /// Opens the directory, and finishes removals that were interrupted.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        // Its users pass through, and see nothing (the data's own modes decide further down).
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(root);
        made.map_err(io_error("create", root))?;
        for entry in fs::read_dir(root)
            .map_err(io_error("read", root))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(REMOVING) {
                delete(&entry.path())?;
            }
        }
        Ok(Self {
            root: root.into(),
            changing: Arc::default(),
        })
    }

    /// Makes the volume if it does not exist; its data directory.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Differs`] when it exists with other `driver_opts`; other labels are taken over.
    pub async fn ensure(&self, spec: &VolumeSpec, now: Timestamp) -> Result<PathBuf, VolumeError> {
        let stored = StoredVolume {
            spec: spec.clone(),
            anonymous: None,
            created_at: now,
        };
        self.change(move |volumes| volumes.make(stored)).await
    }

    /// Makes the volume that a container has at `target` without a name; its name.
    ///
    /// A repeated call finds the same one. With `inherit`, the volume of the container that it
    /// replaces is taken over, data and all.
    pub async fn anonymous(
        &self,
        container: &ContainerId,
        target: &str,
        inherit: Option<&ContainerId>,
        now: Timestamp,
    ) -> Result<String, VolumeError> {
        let anonymous = Anonymous {
            container: container.clone(),
            target: target.to_owned(),
        };
        let inherit = inherit.cloned();
        self.change(move |volumes| volumes.make_anonymous(anonymous, inherit, now))
            .await
    }

    /// Mounts what `driver_opts` say, if anything, and gives the directory to bind into the container.
    ///
    /// `subpath` must exist in the volume, and no link in it may lead out.
    pub async fn attach(&self, name: &str, subpath: Option<&str>) -> Result<PathBuf, VolumeError> {
        let (name, subpath) = (name.to_owned(), subpath.map(str::to_owned));
        self.change(move |volumes| {
            let stored = volumes.read(&name)?;
            let data = volumes.data_path(&name);
            if let Some(options) = MountOptions::parse(&stored.spec)? {
                mounts::mount(&options, &data)?;
            }
            match subpath {
                None => Ok(data),
                Some(subpath) => mounts::part(&volumes.root.join(&name), &data, &subpath),
            }
        })
        .await
    }

    /// Unmounts what `attach` mounted; call it when no container uses the volume any more.
    pub async fn detach(&self, name: &str) -> Result<(), VolumeError> {
        let name = checked(name)?.to_owned();
        self.change(move |volumes| mounts::unmount_below(&volumes.root.join(&name)))
            .await
    }

    /// Fills an empty volume with what the image has at `target`: contents, owner, mode, attributes.
    ///
    /// `layers` are the image's unpacked layers, the uppermost first; the volume is attached.
    /// Nothing happens when the volume has something in it already, or the image has no directory
    /// there. A volume whose filling was interrupted is filled again from the start.
    pub async fn populate(
        &self,
        name: &str,
        layers: &[PathBuf],
        target: &str,
    ) -> Result<(), VolumeError> {
        let (name, layers, target) = (name.to_owned(), layers.to_vec(), target.to_owned());
        self.change(move |volumes| {
            volumes.read(&name)?;
            populate::populate(
                &volumes.root.join(&name),
                &volumes.data_path(&name),
                &layers,
                &target,
            )
        })
        .await
    }

    /// Deletes the volume with its data; nothing happens when it does not exist.
    ///
    /// What was mounted there by `driver_opts` is unmounted first, and stays.
    pub async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        let name = checked(name)?.to_owned();
        self.change(move |volumes| {
            let path = volumes.root.join(&name);
            mounts::unmount_below(&path)?;
            let removing = volumes.root.join(format!("{REMOVING}{name}"));
            // An attempt that failed half way is no success the next time.
            if removing.exists() {
                delete(&removing)?;
            }
            match fs::rename(&path, &removing) {
                Ok(()) => delete(&removing),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(io_error("remove", &path)(error)),
            }
        })
        .await
    }

    /// All volumes, by name.
    pub async fn list(&self) -> Result<BTreeMap<String, StoredVolume>, VolumeError> {
        let volumes = self.clone();
        blocking(move || volumes.read_all()).await
    }

    pub async fn inspect(&self, name: &str) -> Result<StoredVolume, VolumeError> {
        let (volumes, name) = (self.clone(), name.to_owned());
        blocking(move || volumes.read(&name)).await
    }

    /// The volume's data directory (Docker's `Mountpoint`), whether it exists or not.
    pub fn data_path(&self, name: &str) -> PathBuf {
        self.root.join(name).join("_data")
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let _changing = self.changing.lock().await;
        let volumes = self.clone();
        blocking(move || work(&volumes)).await
    }

    fn make(&self, mut stored: StoredVolume) -> Result<PathBuf, VolumeError> {
        let name = checked(&stored.spec.name)?.to_owned();
        if !matches!(stored.spec.driver.as_str(), "" | "local") {
            return Err(VolumeError::Driver {
                name,
                driver: stored.spec.driver,
            });
        }
        MountOptions::parse(&stored.spec)?;
        match self.read(&name) {
            Ok(existing) if existing.spec.driver_opts != stored.spec.driver_opts => {
                return Err(VolumeError::Differs { name });
            }
            Ok(existing) => {
                stored.created_at = existing.created_at;
                if existing != stored {
                    self.write(&stored)?;
                }
            }
            Err(VolumeError::Unknown { .. }) => {
                let data = self.data_path(&name);
                fs::create_dir_all(&data).map_err(io_error("create", &data))?;
                self.write(&stored)?;
            }
            Err(error) => return Err(error),
        }
        Ok(self.data_path(&name))
    }

    fn make_anonymous(
        &self,
        anonymous: Anonymous,
        inherit: Option<ContainerId>,
        now: Timestamp,
    ) -> Result<String, VolumeError> {
        let all = self.read_all()?;
        let of = |container: &ContainerId| {
            all.values().find(|stored| {
                stored.anonymous.as_ref().is_some_and(|found| {
                    found.container == *container && found.target == anonymous.target
                })
            })
        };
        if let Some(own) = of(&anonymous.container) {
            return Ok(own.spec.name.clone());
        }
        if let Some(inherited) = inherit.as_ref().and_then(of) {
            let stored = StoredVolume {
                anonymous: Some(anonymous.clone()),
                ..inherited.clone()
            };
            self.write(&stored)?;
            return Ok(stored.spec.name);
        }
        let mut hash = Sha256::new();
        hash.update(anonymous.container.as_str());
        hash.update([0]);
        hash.update(&anonymous.target);
        let name = hex::encode(hash.finalize());
        let spec = VolumeSpec {
            name: name.clone(),
            driver: "local".to_owned(),
            ..VolumeSpec::default()
        };
        self.make(StoredVolume {
            spec,
            anonymous: Some(anonymous),
            created_at: now,
        })?;
        Ok(name)
    }

    fn read(&self, name: &str) -> Result<StoredVolume, VolumeError> {
        let path = self.root.join(checked(name)?).join("volume.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| io_error("read", &path)(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(VolumeError::Unknown {
                name: name.to_owned(),
            }),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn read_all(&self) -> Result<BTreeMap<String, StoredVolume>, VolumeError> {
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(&self.root)
            .map_err(io_error("read", &self.root))?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            match self.read(&name) {
                Ok(stored) => drop(volumes.insert(name, stored)),
                // Half made, or not ours.
                Err(VolumeError::Unknown { .. } | VolumeError::InvalidName { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// Survives a power cut whole: old or new.
    fn write(&self, stored: &StoredVolume) -> Result<(), VolumeError> {
        let directory = self.root.join(&stored.spec.name);
        let path = directory.join("volume.json");
        let write = || {
            let temporary = directory.join("volume.json.new");
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec(stored)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&directory)?.sync_all()?;
            fs::File::open(&self.root)?.sync_all()
        };
        write().map_err(io_error("write", &path))
    }
}

const REMOVING: &str = ".removing-";

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(VolumeError::Interrupted))
}

/// A name that is one component of a path, as Docker defines it.
fn checked(name: &str) -> Result<&str, VolumeError> {
    let fits = (1..=255 - REMOVING.len()).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    match fits {
        true => Ok(name),
        false => Err(VolumeError::InvalidName {
            name: name.to_owned(),
        }),
    }
}

/// Deletes a directory in which nothing is mounted.
fn delete(path: &Path) -> Result<(), VolumeError> {
    mounts::unmount_below(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io {
        action,
        path,
        source,
    }
}

/// Why a volume could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("volume `{name}` does not exist")]
    Unknown { name: String },
    #[error(
        "`{name}` is no volume name: a letter or digit, then letters, digits, `_`, `.` and `-`"
    )]
    InvalidName { name: String },
    #[error("volume `{name}` wants driver `{driver}`: there is only `local`")]
    Driver { name: String, driver: String },
    #[error("volume `{name}` exists with other driver options")]
    Differs { name: String },
    #[error("driver options of volume `{name}`: {reason}")]
    Options { name: String, reason: String },
    #[error("`{subpath}` does not lead to a place in the volume")]
    Subpath { subpath: String, source: io::Error },
    #[error("{path} is in use")]
    Busy { path: PathBuf },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the node is ending")]
    Interrupted,
}

#[cfg(test)]
mod tests;
