//! How a registry is spoken to: in clear or by TLS, and whose certificates count.
//!
//! | a directory in `certs.d` | loopback, or named insecure | |
//! |---|---|---|
//! | yes | | TLS; its authorities count as well as the system's |
//! | no | yes | plain HTTP |
//! | no | no | TLS; the system's authorities |
//!
//! The directory is `/etc/wharfie/certs.d/HOST[:PORT]`, or Docker's in `/etc/docker` when there is
//! none. In it `*.crt` are authorities, and `NAME.cert` with `NAME.key` says who we are. It is read
//! for each pull: what is put there counts at once.
//!
//! Source: docs.docker.com, "Verify repository client with certificates".

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use super::super::reference::Reference;
use super::RegistryError;

/// Where certificates for registries are looked for, and who may be spoken to in clear.
#[derive(Clone, Debug)]
pub struct Trust {
    directories: Vec<PathBuf>,
    insecure: BTreeSet<String>,
}

/// How one registry is spoken to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    /// With certificates of this directory besides those of the system.
    Tls(Option<PathBuf>),
}

/// What a directory of certificates holds.
#[derive(Default)]
pub(super) struct Certificates {
    pub(super) authorities: Vec<Certificate>,
    pub(super) identity: Option<Identity>,
}

impl Trust {
    /// Of this machine; `insecure` are registries, `host` or `host:port`, that do not speak TLS.
    pub fn of_system(insecure: impl IntoIterator<Item = String>) -> Self {
        Self {
            directories: vec!["/etc/wharfie/certs.d".into(), "/etc/docker/certs.d".into()],
            insecure: insecure.into_iter().collect(),
        }
    }

    pub(super) fn transport(&self, reference: &Reference) -> Transport {
        let registry = reference.registry();
        let mut directories = self.directories.iter().map(|parent| parent.join(registry));
        match directories.find(|directory| directory.is_dir()) {
            Some(directory) => Transport::Tls(Some(directory)),
            None if reference.is_loopback() || self.insecure.contains(registry) => Transport::Plain,
            None => Transport::Tls(None),
        }
    }
}

impl Certificates {
    /// Reads all of a directory.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Certificate`] for a file that cannot be read or is none, and for a
    /// certificate of ours without its key: what somebody put there is meant to count.
    pub(super) fn read(directory: &Path) -> Result<Self, RegistryError> {
        let mut found = Self::default();
        let unreadable = |source: io::Error| refused(directory, source.to_string());
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.authorities.extend(authorities(&path)?),
                Some("cert") => found.identity = Some(identity(&path)?),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let found = Certificate::from_pem_bundle(&read(path)?)
        .map_err(|error| refused(path, error.to_string()))?;
    match found.is_empty() {
        true => Err(refused(path, "there is no certificate in it".to_owned())),
        false => Ok(found),
    }
}

fn identity(path: &Path) -> Result<Identity, RegistryError> {
    let mut pem = read(path)?;
    pem.push(b'\n');
    pem.extend(read(&path.with_extension("key"))?);
    Identity::from_pem(&pem).map_err(|error| refused(path, error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(path).map_err(|error| refused(path, error.to_string()))
}

fn refused(path: &Path, reason: String) -> RegistryError {
    RegistryError::Certificate {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_what_was_named_is_spoken_to_in_clear() {
        let scratch = tempfile::tempdir().unwrap();
        let (ours, dockers) = (scratch.path().join("ours"), scratch.path().join("dockers"));
        for directory in [
            "ours/both:5000",
            "dockers/both:5000",
            "dockers/127.0.0.1:5000",
        ] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        let trust = Trust {
            directories: vec![ours.clone(), dockers.clone()],
            insecure: ["lab.example.org:5000".to_owned()].into(),
        };
        let check = |image: &str, expected: Transport| {
            let found = trust.transport(&image.parse().unwrap());
            assert_eq!(found, expected, "{image}");
        };
        check("app", Transport::Tls(None));
        check("lab.example.org:5000/app", Transport::Plain);
        check("lab.example.org/app", Transport::Tls(None));
        check("sub.lab.example.org:5000/app", Transport::Tls(None));
        check("localhost:5000/app", Transport::Plain);
        check(
            "127.0.0.1:5000/app",
            Transport::Tls(Some(dockers.join("127.0.0.1:5000"))),
        );
        check(
            "both:5000/app",
            Transport::Tls(Some(ours.join("both:5000"))),
        );
    }

    #[test]
    fn a_certificate_that_is_none_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let check = |name: &str, content: &str, expected: &str| {
            let path = scratch.path().join(name);
            fs::write(&path, content).unwrap();
            let error = Certificates::read(scratch.path())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(expected), "{error}");
            fs::remove_file(path).unwrap();
        };
        assert!(
            Certificates::read(scratch.path())
                .unwrap()
                .authorities
                .is_empty()
        );
        check("ca.crt", "nonsense", "ca.crt");
        check("me.cert", "nonsense", "me.key");
    }
}
