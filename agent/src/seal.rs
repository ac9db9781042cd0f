//! What lies on this host's disk can be read on this host only.
//!
//!     DATA/node.key ──HKDF(purpose)──► Sealer ──► nonce │ ciphertext │ tag
//!
//! The key file is made at the first start and never leaves the host; without it a copy of the
//! log, of a snapshot or of the ledger is worthless. Each purpose has a key of its own, and what
//! was sealed for one does not open for another. Sealed is both hidden and proven: a bit that was
//! changed makes the whole unreadable (AES-256-GCM).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use thiserror::Error;

/// The first bytes of everything sealed: what was written before there were seals has others.
const MAGIC: &[u8; 8] = b"WHFSEAL1";
const KEY_LEN: usize = 32;
/// Bytes that sealing adds.
pub const OVERHEAD: usize = MAGIC.len() + NONCE_LEN + MAX_TAG_LEN;

/// What makes the key of one file; it stands in clear at the file's beginning.
pub type Salted = [u8; 32];

/// Why something could not be sealed or opened.
#[derive(Debug, Error)]
pub enum SealError {
    #[error("cannot use the node's key {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the node's key {path} is damaged: it has {length} bytes and not {KEY_LEN}")]
    Damaged { path: PathBuf, length: usize },
    #[error("the node's key {path} may be read by others (mode {mode:o})")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("it was sealed with another key, or changed since")]
    NotOurs,
    #[error("it is not sealed")]
    NotSealed,
    #[error("the cipher refused to work")]
    Cipher,
}

/// The key of this host. Cheap to clone.
#[derive(Clone)]
pub struct NodeKey(Prk);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

impl NodeKey {
    /// Reads the key of the host with this data root; the first time of all it is made.
    ///
    /// # Errors
    ///
    /// Returns [`SealError`] when the file cannot be read or written, is not a key, or may be read
    /// by others than its owner.
    pub fn open(data_root: &Path) -> Result<Self, SealError> {
        let path = data_root.join("node.key");
        let io = |source| SealError::Io {
            path: path.clone(),
            source,
        };
        let bytes = match File::open(&path) {
            Ok(mut file) => {
                let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SealError::Exposed { path, mode });
                }
                let mut bytes = Vec::with_capacity(KEY_LEN);
                file.read_to_end(&mut bytes).map_err(io)?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path).map_err(io)?,
            Err(source) => return Err(io(source)),
        };
        if bytes.len() != KEY_LEN {
            let length = bytes.len();
            return Err(SealError::Damaged { path, length });
        }
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self(Salt::new(HKDF_SHA256, b"wharfie node key").extract(bytes))
    }

    /// A key that opens nothing else, for tests of what seals.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::from_bytes(&[7; KEY_LEN])
    }

    /// The means to seal and open what belongs to one purpose, e.g. `ledger`.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::Cipher`] if the key cannot be derived, which has no known cause.
    pub fn sealer(&self, purpose: &'static str) -> Result<Sealer, SealError> {
        self.derive(&[purpose.as_bytes()])
    }

    /// The same for one file of many: each salt makes another key, so that none is used too often.
    ///
    /// # Errors
    ///
    /// As [`Self::sealer`].
    pub fn sealer_of(&self, purpose: &'static str, salt: &Salted) -> Result<Sealer, SealError> {
        self.derive(&[purpose.as_bytes(), salt])
    }

    fn derive(&self, info: &[&[u8]]) -> Result<Sealer, SealError> {
        let material = self.0.expand(info, &AES_256_GCM);
        let key = UnboundKey::from(material.map_err(|_| SealError::Cipher)?);
        Ok(Sealer(LessSafeKey::new(key)))
    }
}

/// Written beside its place and linked to it, so that two processes never have two keys.
fn make(path: &Path) -> io::Result<Vec<u8>> {
    let key: [u8; KEY_LEN] = rand::random();
    let fresh = path.with_extension(format!("key.{}", std::process::id()));
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&fresh, path);
    fs::remove_file(&fresh)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    match linked {
        Ok(()) => Ok(key.to_vec()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read(path),
        Err(error) => Err(error),
    }
}

/// Seals and opens for one purpose.
pub struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Hides and signs.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::Cipher`] for more than 64 GiB in one piece.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        // Random nonces of 96 bits: a key is good for 2^32 pieces (NIST SP 800-38D, 8.3).
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend(MAGIC);
        sealed.extend(nonce);
        let mut body = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce, Aad::from(MAGIC), &mut body)
            .map_err(|_| SealError::Cipher)?;
        sealed.extend(body);
        Ok(sealed)
    }

    /// Gives back what was sealed for the same purpose on the same host.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::NotSealed`] for what was never sealed, and [`SealError::NotOurs`] for
    /// what another key has sealed or somebody has changed.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::NotSealed)?;
        let (nonce, body) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::NotOurs)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::from(MAGIC), &mut body)
            .map_err(|_| SealError::NotOurs)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

/// Whether these bytes say of themselves that they are sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

#[cfg(test)]
mod tests;
