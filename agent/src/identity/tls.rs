//! TLS as nodes speak it: 1.3 only, on `ring`, certificates on both sides, no resumption (a session
//! that is resumed would not look at the certificate again).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use scheduler::model::id::NodeId;
use scheduler::model::node::Role;

use super::{Facts, IdentityError, digest_of};

/// The name of a node in its certificate.
pub(super) fn host_name(node: &NodeId) -> String {
    format!("{node}.node.wharfie")
}

/// The same, for a handshake.
pub(crate) fn server_name(node: &NodeId) -> Result<ServerName<'static>, IdentityError> {
    let name = ServerName::try_from(host_name(node));
    name.map_err(|_| IdentityError::Certificate {
        what: "the node's id cannot be a name in it",
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(trusted: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.clone())?;
    }
    Ok(Arc::new(roots))
}

/// Asks callers for a certificate. One without may still ask to join.
pub(super) fn server(
    trusted: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(trusted)?, provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(super) fn client(
    trusted: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(trusted)?)
        .with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whom a node without a certificate believes.
#[derive(Clone, Debug)]
pub(crate) enum Pin {
    /// The authority whose certificate has this digest.
    Digest(String),
    /// One of these authorities: the node's own certificate has expired.
    Authorities(Vec<CertificateDer<'static>>),
}

/// For a node that has no certificate yet, or no more: it speaks with a manager of the pinned
/// cluster only.
pub(crate) fn joining_client(pin: Pin) -> Result<ClientConfig, IdentityError> {
    let verifier = PinnedVerifier {
        pin,
        provider: provider(),
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Believes a certificate that says manager and is signed by the pinned authority, which the other
/// side sends along. Which node it is does not matter.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    fn trusted(&self, sent: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
        match &self.pin {
            Pin::Authorities(known) => known.clone(),
            Pin::Digest(digest) => {
                let pinned = sent.iter().filter(|it| digest_of(it) == *digest);
                pinned.map(|it| it.clone().into_owned()).collect()
            }
        }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trusted = self.trusted(intermediates);
        if trusted.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let facts = Facts::of(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if facts.role != Role::Manager {
            // A worker must not collect the tokens of others.
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let name = server_name(&facts.node).map_err(|_| CertificateError::BadEncoding)?;
        WebPkiServerVerifier::builder_with_provider(roots(&trusted)?, self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
