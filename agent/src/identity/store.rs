//! The directory `DATA/cluster`: what a node that belongs to a cluster keeps of it.
//!
//! | file | what |
//! |---|---|
//! | `identity` | key, certificate, trusted authorities, addresses; sealed, replaced as a whole |
//! | `joining.key` | the key of an attempt to join, so that the next one is the same node; sealed |
//! | `managers.json` | whom to ask, as last heard |

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use scheduler::model::id::NodeId;
use thiserror::Error;

use super::{Credentials, Identity, IdentityError, new_key};
use crate::seal::{NodeKey, SealError, Sealer};

/// Why what is kept of the cluster cannot be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot open {path}")]
    Seal { path: PathBuf, source: SealError },
    #[error("{path} is damaged")]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the identity in {path} cannot be used")]
    Identity {
        path: PathBuf,
        source: IdentityError,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    sealer: Sealer,
}

impl Store {
    /// Makes nothing: a host that stands alone has no such directory.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Seal`] if the host's key cannot be used.
    pub fn new(data_root: &Path, key: &NodeKey) -> Result<Self, StoreError> {
        let dir = data_root.join("cluster");
        match key.sealer("identity") {
            Ok(sealer) => Ok(Self { dir, sealer }),
            Err(source) => Err(StoreError::Seal { path: dir, source }),
        }
    }

    /// Who this node is; `None` on a host that stands alone.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when there is an identity and it cannot be used.
    pub fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let path = self.dir.join("identity");
        let Some(plain) = self.read_sealed(&path)? else {
            return Ok(None);
        };
        let credentials: Credentials =
            serde_json::from_slice(&plain).map_err(|source| StoreError::Damaged {
                path: path.clone(),
                source,
            })?;
        let identity = Identity::new(credentials);
        identity
            .map(Some)
            .map_err(|source| StoreError::Identity { path, source })
    }

    /// # Errors
    ///
    /// Returns [`StoreError`] when it could not be made durable.
    pub fn save(&self, credentials: &Credentials) -> Result<(), StoreError> {
        let path = self.dir.join("identity");
        let plain = serde_json::to_vec(credentials);
        let plain = plain.map_err(|source| StoreError::Damaged {
            path: path.clone(),
            source,
        })?;
        self.write_sealed(&path, &plain)
    }

    /// The key to join with. An attempt whose answer was lost is repeated with the same one.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when it can neither be read nor written.
    pub fn joining_key(&self) -> Result<KeyPair, StoreError> {
        let path = self.dir.join("joining.key");
        let bad = |source| StoreError::Identity {
            path: path.clone(),
            source,
        };
        if let Some(plain) = self.read_sealed(&path)? {
            let pem = String::from_utf8(plain).map_err(|_| bad(IdentityError::Key))?;
            return KeyPair::from_pem(&pem).map_err(|error| bad(error.into()));
        }
        let key = new_key().map_err(bad)?;
        self.write_sealed(&path, key.serialize_pem().as_bytes())?;
        Ok(key)
    }

    /// The managers, as last heard; empty when there is nothing to be read.
    pub fn managers(&self) -> Vec<(NodeId, SocketAddr)> {
        let bytes = fs::read(self.dir.join("managers.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// # Errors
    ///
    /// Returns [`StoreError`] when it could not be made durable.
    pub fn save_managers(&self, managers: &[(NodeId, SocketAddr)]) -> Result<(), StoreError> {
        let path = self.dir.join("managers.json");
        let bytes = serde_json::to_vec(managers);
        let bytes = bytes.map_err(|source| StoreError::Damaged {
            path: path.clone(),
            source,
        })?;
        self.write(&path, &bytes)
    }

    /// The node belongs to no cluster any more.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when something could not be removed.
    pub fn forget(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io {
                path: self.dir.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    fn read_sealed(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = match fs::read(path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(StoreError::Io { path, source });
            }
        };
        let opened = self.sealer.open(&sealed);
        opened.map(Some).map_err(|source| StoreError::Seal {
            path: path.to_owned(),
            source,
        })
    }

    fn write_sealed(&self, path: &Path, plain: &[u8]) -> Result<(), StoreError> {
        let sealed = self.sealer.seal(plain);
        let sealed = sealed.map_err(|source| StoreError::Seal {
            path: path.to_owned(),
            source,
        })?;
        self.write(path, &sealed)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let replace = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.dir)?;
            let fresh = path.with_extension("new");
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            File::open(&self.dir)?.sync_all()
        };
        replace().map_err(|source| StoreError::Io {
            path: path.to_owned(),
            source,
        })
    }
}
