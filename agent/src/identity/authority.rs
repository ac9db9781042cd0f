//! The cluster's own certificate authority: made once, kept in the replicated state, so that any
//! manager can sign.
//!
//! What a request says of its sender is not believed: only its public key goes into the
//! certificate, the rest is what the cluster knows.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType,
};
use rustls::pki_types::CertificateSigningRequestDer;
use scheduler::model::cluster::{Authority, Secret};
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;

use super::certificate::key_digest;
use super::{IdentityError, digest_of, new_key, tls, token};

/// Swarm's: a cluster outlives its machines.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates are good since an hour before they were made: clocks differ.
const BACKDATE: Duration = Duration::from_secs(3600);
/// An empty request is some 300 bytes; a larger one is not from a node.
const LONGEST_REQUEST: usize = 4096;

/// A new authority for a cluster.
///
/// # Errors
///
/// Returns [`IdentityError::Make`] when there is no randomness.
pub fn new_authority(cluster: &str, now: SystemTime) -> Result<Authority, IdentityError> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "wharfie");
    params
        .distinguished_name
        .push(DnType::OrganizationName, cluster);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Authority {
        id: digest_of(certificate.der()),
        certificate: certificate.pem(),
        private_key: Secret::new(key.serialize_pem()),
        retiring: Vec::new(),
        bridges: Vec::new(),
    })
}

/// A request for a certificate over this key, DER.
///
/// # Errors
///
/// Returns [`IdentityError::Make`] when the key cannot sign.
pub fn request(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// What a node asked to have signed: it has proven that the private half is its own.
pub struct Request(CertificateSigningRequestParams);

impl Request {
    /// # Errors
    ///
    /// Returns [`IdentityError`] for anything that is no request, or is not signed with its key.
    pub fn parse(der: &[u8]) -> Result<Self, IdentityError> {
        if der.len() > LONGEST_REQUEST {
            return Err(IdentityError::Certificate {
                what: "the request is too long",
            });
        }
        let der = CertificateSigningRequestDer::from(der);
        Ok(Self(CertificateSigningRequestParams::from_der(&der)?))
    }

    /// As in the node's row.
    pub fn public_key(&self) -> String {
        key_digest(&self.0.public_key.subject_public_key_info())
    }
}

/// Signs a certificate. Returns PEM: the node's, the authority's, and what leads there from the
/// authorities before.
///
/// # Errors
///
/// Returns [`IdentityError`] when the authority's own key cannot be used.
pub fn sign(
    authority: &Authority,
    request: Request,
    node: &NodeId,
    role: Role,
    cluster: &str,
    times: (SystemTime, Duration),
) -> Result<String, IdentityError> {
    let key = KeyPair::from_pem(authority.private_key.reveal())?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key)?;
    let (now, life) = times;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + life).into();
    params.distinguished_name = DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, node.as_str());
    name.push(DnType::OrganizationalUnitName, role.word());
    name.push(DnType::OrganizationName, cluster);
    let host = Ia5String::try_from(tls::host_name(node))?;
    params.subject_alt_names = vec![SanType::DnsName(host)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let mut request = request.0;
    request.params = params;
    let certificate = request.signed_by(&issuer)?;
    let bridges = authority.bridges.concat();
    let (own, signer) = (certificate.pem(), &authority.certificate);
    Ok(format!("{own}{signer}{bridges}"))
}

/// 25 letters and digits, as Swarm's.
pub fn new_cluster_id() -> String {
    token::base36(&rand::random::<[u8; 16]>(), token::SECRET_DIGITS)
}

/// A secret of 128 bits that lets a node join.
pub fn new_secret() -> Secret {
    Secret::new(token::base36(
        &rand::random::<[u8; 16]>(),
        token::SECRET_DIGITS,
    ))
}
