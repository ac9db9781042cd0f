//! What a certificate says: CN is the node, OU its role, O its cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::IdentityError;

/// The facts of a node's certificate. Whether it is to be believed is TLS's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub node: NodeId,
    pub role: Role,
    pub cluster: String,
    /// Hex SHA-256 of the SubjectPublicKeyInfo, as in the node's row.
    pub public_key: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Facts {
    /// # Errors
    ///
    /// Returns [`IdentityError::Certificate`] for anything but a node's certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let damaged = |what| IdentityError::Certificate { what };
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| damaged("it is no X.509 certificate"))?;
        let subject = parsed.subject();
        let text = |value: Option<String>, what| value.ok_or(damaged(what));
        let role = text(unit(subject), "it names no role")?;
        let validity = parsed.validity();
        Ok(Self {
            node: NodeId::new(text(common_name(subject), "it names no node")?),
            role: match role.as_str() {
                "worker" => Role::Worker,
                "manager" => Role::Manager,
                _ => return Err(damaged("its role is unknown")),
            },
            cluster: text(organization(subject), "it names no cluster")?,
            public_key: key_digest(parsed.public_key().raw),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }
}

/// Hex SHA-256 of a public key as it stands in certificates and requests.
pub(super) fn key_digest(spki: &[u8]) -> String {
    hex::encode(Sha256::digest(spki))
}

fn time(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let found = name.iter_common_name().next()?;
    Some(found.as_str().ok()?.to_owned())
}

fn unit(name: &X509Name<'_>) -> Option<String> {
    let found = name.iter_organizational_unit().next()?;
    Some(found.as_str().ok()?.to_owned())
}

fn organization(name: &X509Name<'_>) -> Option<String> {
    let found = name.iter_organization().next()?;
    Some(found.as_str().ok()?.to_owned())
}
