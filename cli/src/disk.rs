//! The disk, as the loader of Compose files sees it: files of a bounded size, and what was fetched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use scheduler::compose::{FetchError, Fetched, Files, Remote};

use crate::remote;

/// Far above what the loader takes of anything: people name `/dev/zero` and films by mistake.
const MAX_BYTES: u64 = 16 << 20;

pub(crate) struct Disk {
    environment: BTreeMap<String, String>,
    /// Fetched by this command: what a branch means does not change on the way.
    known: Mutex<Vec<(Remote, Fetched)>>,
}

impl Disk {
    /// The environment says where the cache is, and what may be fetched.
    pub(crate) fn new(environment: BTreeMap<String, String>) -> Self {
        Self {
            environment,
            known: Mutex::default(),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if !remote::is_readable(path, &self.environment) {
            let why = "it is a link that leads out of what was fetched";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        read(File::open(path)?)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn fetch(&self, remote: &Remote) -> Result<Fetched, FetchError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fetched)) = known.iter().find(|(it, _)| it == remote) {
            return Ok(fetched.clone());
        }
        let fetched = remote::fetch(remote, &self.environment)?;
        known.push((remote.clone(), fetched.clone()));
        Ok(fetched)
    }
}

/// All that there is to read, if it is not too much.
pub(crate) fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("it is larger than {} MiB", MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn read_text(source: impl Read) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(source)?).map_err(not_text)
}
