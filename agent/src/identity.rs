//! Who this node is to the others: a key that never leaves the host, and a certificate over it.
//!
//!     cluster init ─► Authority ─► own certificate
//!     join TOKEN ─► key ─► request ─► a manager signs ─► certificate ─► renewed at 50–80 % of its life
//!
//! The certificate says node, role and cluster; addresses are not in it. Everything lies in one
//! sealed file that is replaced as a whole, so that there is never a certificate without its key.

mod authority;
mod certificate;
mod rotation;
mod store;
mod tls;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::authority::{Request, new_authority, new_cluster_id, new_secret, request, sign};
pub use self::certificate::Facts;
pub use self::rotation::{given_authority, succeed};
pub use self::store::{Store, StoreError};
pub(crate) use self::tls::{Pin, joining_client, server_name};
pub use self::token::{JoinToken, TokenError, digest_of, digest_of_pem};

/// Why a certificate, a key or a request for one cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot make a key or a certificate")]
    Make(#[from] rcgen::Error),
    #[error("the certificate cannot be read: {what}")]
    Certificate { what: &'static str },
    #[error("the private key cannot be read")]
    Key,
    #[error("the key and the certificate cannot be used for TLS")]
    Tls(#[from] rustls::Error),
    #[error("the certificates that are trusted cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What is kept on disk of an identity.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// PEM: the node's certificate, the one of its authority, and those that lead there from the
    /// authorities before.
    pub certificate: String,
    /// PEM (PKCS #8).
    pub private_key: String,
    /// PEM: who is trusted to have signed the certificates of others.
    pub authorities: Vec<String>,
    /// Epoch and version of the state that they were read from.
    #[serde(default)]
    pub told: (u64, u64),
    /// Where the node listens.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Where that address was seen on this host; `None` when it never was.
    #[serde(default)]
    pub interface: Option<String>,
    /// It came into a cluster that existed, and so must never found one of its own.
    pub joined: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (listen, advertise) = (self.listen, self.advertise);
        write!(f, "Credentials({advertise}, listening on {listen})")
    }
}

/// Who this node is, ready to be shown and to check others by.
pub struct Identity {
    pub facts: Facts,
    /// Digest of the authority that signed the certificate.
    pub authority: String,
    pub credentials: Credentials,
    /// To begin asking for another certificate.
    pub renew_at: SystemTime,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { node, role, .. } = &self.facts;
        write!(f, "Identity({role} {node:?})")
    }
}

impl Identity {
    /// Checks that everything fits together.
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError`] when something cannot be read, or the key is not the certificate's.
    pub fn new(credentials: Credentials) -> Result<Self, IdentityError> {
        let chain = certificates(&credentials.certificate)?;
        let own = chain.first().ok_or(IdentityError::Certificate {
            what: "there is none",
        })?;
        let facts = Facts::of(own)?;
        let key = PrivateKeyDer::from_pem_slice(credentials.private_key.as_bytes())
            .map_err(|_| IdentityError::Key)?;
        let trusted = credentials.authorities.iter();
        let trusted = trusted.map(|pem| certificates(pem));
        let trusted: Vec<_> = trusted.collect::<Result<Vec<_>, _>>()?.concat();
        let signer = chain.get(1).ok_or(IdentityError::Certificate {
            what: "its authority's is missing",
        })?;
        Ok(Self {
            authority: digest_of(signer),
            renew_at: renewal(&facts, rand::random()),
            server: Arc::new(tls::server(&trusted, chain.clone(), key.clone_key())?),
            client: Arc::new(tls::client(&trusted, chain, key)?),
            facts,
            credentials,
        })
    }

    /// Somebody else signs certificates by now.
    pub fn is_outdated(&self) -> bool {
        let signer = self.credentials.authorities.first();
        signer.is_some_and(|signer| digest_of_pem(signer) != self.authority)
    }

    pub fn node(&self) -> &NodeId {
        &self.facts.node
    }

    /// Who is trusted to have signed the certificates of others.
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError::Certificate`] for what is none.
    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let all = self.credentials.authorities.iter();
        let all: Result<Vec<_>, _> = all.map(|pem| certificates(pem)).collect();
        Ok(all?.concat())
    }

    /// The private key, to ask for another certificate over it.
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError::Make`] when it cannot be read.
    pub(crate) fn key(&self) -> Result<KeyPair, IdentityError> {
        Ok(KeyPair::from_pem(&self.credentials.private_key)?)
    }

    pub fn role(&self) -> Role {
        self.facts.role
    }
}

/// A new key for a node.
///
/// # Errors
///
/// Returns [`IdentityError::Make`] when there is no randomness.
pub fn new_key() -> Result<KeyPair, IdentityError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Somewhere between 50 and 80 % of the certificate's life, so that not all nodes ask at once.
fn renewal(facts: &Facts, chance: u8) -> SystemTime {
    let life = facts.not_after.duration_since(facts.not_before);
    let life = life.unwrap_or(Duration::ZERO);
    let share = 0.5 + 0.3 * f64::from(chance) / 255.0;
    facts.not_before + life.mul_f64(share)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.map_err(|_| IdentityError::Certificate {
        what: "it is no PEM",
    })
}

#[cfg(test)]
pub(crate) mod tests;
