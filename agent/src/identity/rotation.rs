//! Another authority in the place of the cluster's, without a moment in which nodes do not believe
//! each other.
//!
//!     old ─┬─ signs ─► bridge (the new one's key and name)    new ── signs ─► certificates of nodes
//!          └─ trusted by nodes that have heard of nothing        └─ who trusts the old one believes
//!                                                                   them too: the bridge is sent along
//!
//! Bridges stay after the rotation, so that a node that was off all the time can still tell that the
//! managers are its own, and come back.

use std::time::SystemTime;

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use scheduler::model::cluster::{Authority, Secret};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::{IdentityError, certificates, digest_of};

/// So many authorities ago a node may have been switched off.
const MOST_BRIDGES: usize = 4;

/// An authority that people bring: PEM of its certificate and of its private key.
///
/// # Errors
///
/// Returns [`IdentityError`] when it cannot sign for others, is not valid, or the key is not its own.
pub fn given_authority(
    certificate: &str,
    private_key: &str,
    now: SystemTime,
) -> Result<Authority, IdentityError> {
    let wrong = |what| IdentityError::Certificate { what };
    let all = certificates(certificate)?;
    let [der] = all.as_slice() else {
        return Err(wrong("exactly one is needed, that of a root"));
    };
    let (_, parsed) =
        X509Certificate::from_der(der).map_err(|_| wrong("it is no X.509 certificate"))?;
    if !parsed.is_ca() {
        return Err(wrong("it is not one of an authority"));
    }
    if parsed.subject().as_raw() != parsed.issuer().as_raw() {
        return Err(wrong(
            "it is not one of a root: somebody else has signed it",
        ));
    }
    let usage = parsed.key_usage().map_err(|_| wrong("it is damaged"))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(wrong("its key must not sign certificates"));
    }
    let (from, until) = (parsed.validity().not_before, parsed.validity().not_after);
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |it| it.as_secs());
    if now < seconds(from) || now >= seconds(until) {
        return Err(wrong("it is not valid now"));
    }
    let key = KeyPair::from_pem(private_key).map_err(|_| IdentityError::Key)?;
    if key.subject_public_key_info() != parsed.public_key().raw {
        return Err(wrong("the private key is not its own"));
    }
    name_of(parsed.subject())?;
    let certificate = pem(der);
    Ok(Authority {
        id: digest_of(der),
        certificate,
        private_key: Secret::new(key.serialize_pem()),
        retiring: Vec::new(),
        bridges: Vec::new(),
    })
}

/// The new authority as the one that follows the old one: whoever believes the old one can believe it.
///
/// # Errors
///
/// Returns [`IdentityError`] when one of them cannot be read.
pub fn succeed(old: &Authority, new: Authority) -> Result<Authority, IdentityError> {
    let key = KeyPair::from_pem(old.private_key.reveal())?;
    let issuer = Issuer::from_ca_cert_pem(&old.certificate, key)?;
    let unread = || IdentityError::Certificate {
        what: "it is no X.509 certificate",
    };
    let chain = certificates(&new.certificate)?;
    let der = chain.first().ok_or_else(unread)?;
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| unread())?;
    let mut params = CertificateParams::default();
    params.not_before = parsed.validity().not_before.to_datetime();
    params.not_after = parsed.validity().not_after.to_datetime();
    params.distinguished_name = name_of(parsed.subject())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let own = KeyPair::from_pem(new.private_key.reveal())?;
    let bridge = params.signed_by(&own, &issuer)?;
    let (_, made) = X509Certificate::from_der(bridge.der()).map_err(|_| unread())?;
    if made.subject().as_raw() != parsed.subject().as_raw() {
        // Certificates are found by the bytes of their names.
        return Err(UNUSUAL);
    }
    let mut bridges = vec![bridge.pem()];
    bridges.extend(old.bridges.iter().take(MOST_BRIDGES - 1).cloned());
    Ok(Authority { bridges, ..new })
}

const UNUSUAL: IdentityError = IdentityError::Certificate {
    what: "its name is written in an unusual way, which the authority before it cannot repeat",
};

fn name_of(name: &X509Name<'_>) -> Result<DistinguishedName, IdentityError> {
    let mut copy = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let parts = attribute.attr_type().iter().ok_or(UNUSUAL)?;
        let kind = DnType::from_oid(&parts.collect::<Vec<u64>>());
        copy.push(kind, value_of(attribute.attr_value())?);
    }
    Ok(copy)
}

fn value_of(value: &Any<'_>) -> Result<DnValue, IdentityError> {
    let text = std::str::from_utf8(value.data).map_err(|_| UNUSUAL)?;
    match value.tag() {
        Tag::Utf8String => Ok(DnValue::Utf8String(text.to_owned())),
        Tag::PrintableString => {
            let text = PrintableString::try_from(text).map_err(|_| UNUSUAL)?;
            Ok(DnValue::PrintableString(text))
        }
        Tag::Ia5String => {
            let text = Ia5String::try_from(text).map_err(|_| UNUSUAL)?;
            Ok(DnValue::Ia5String(text))
        }
        _ => Err(UNUSUAL),
    }
}

/// RFC 7468, in lines of 64 characters.
fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;

    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base 64 is ASCII.
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines.push_str("-----END CERTIFICATE-----\n");
    lines
}
