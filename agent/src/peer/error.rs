//! Why a node could not be spoken with, in the words of what can be done about it.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use scheduler::model::id::NodeId;
use thiserror::Error;

use super::PeerAddress;

/// What went wrong between two nodes. Nothing is known of whether a request was carried out.
#[derive(Debug, Error)]
pub enum PeerError {
    #[error("this host is not part of a cluster")]
    NotJoined,
    #[error("nobody answers at {address}")]
    Unreachable {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{address} did not answer within {} s", .limit.as_secs())]
    TimedOut {
        address: SocketAddr,
        limit: Duration,
    },
    #[error("{address} does not speak the protocol of a wharfie node")]
    OtherProtocol { address: SocketAddr },
    #[error("{address} has a certificate of another authority")]
    OtherCluster { address: SocketAddr },
    #[error("{address} is not node {expected}: another node has this address now")]
    OtherNode {
        address: SocketAddr,
        expected: NodeId,
    },
    #[error("{address} is not a manager")]
    NoManager { address: SocketAddr },
    #[error("the certificate of {address} is not valid yet: the clocks of the two hosts differ")]
    NotYetValid { address: SocketAddr },
    #[error("the certificate of {address} has expired, or the clocks of the two hosts differ")]
    Expired { address: SocketAddr },
    #[error("{address} does not accept this node's certificate: {reason}")]
    CertificateRefused {
        address: SocketAddr,
        reason: &'static str,
    },
    #[error("{address} refused: {message}")]
    Refused {
        address: SocketAddr,
        status: u16,
        message: String,
        hint: Option<String>,
    },
    #[error("the connection with {address} broke")]
    Broken {
        address: SocketAddr,
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// Why there was no handshake.
pub(super) fn handshake(to: &PeerAddress, error: io::Error) -> PeerError {
    let address = to.address;
    match tls(&error) {
        Some(rustls::Error::InvalidCertificate(found)) => match found {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                PeerError::Expired { address }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                PeerError::NotYetValid { address }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                PeerError::OtherNode {
                    address,
                    expected: to.node.clone(),
                }
            }
            CertificateError::ApplicationVerificationFailure => PeerError::NoManager { address },
            _ => PeerError::OtherCluster { address },
        },
        Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_)) => {
            PeerError::OtherProtocol { address }
        }
        _ => broken_by(address, error),
    }
}

/// Why a connection ended before the answer. A certificate is refused only after the handshake, as
/// TLS 1.3 is made.
pub(super) fn broken(address: SocketAddr, error: hyper::Error) -> PeerError {
    broken_by(address, error)
}

fn broken_by(address: SocketAddr, error: impl StdError + Send + Sync + 'static) -> PeerError {
    let reason = match tls(&error) {
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateExpired => {
                Some("it has expired, or is not valid yet by its clock")
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                Some("another authority has signed it")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => Some("it is none for a node"),
            _ => None,
        },
        _ => None,
    };
    match reason {
        Some(reason) => PeerError::CertificateRefused { address, reason },
        None => PeerError::Broken {
            address,
            source: error.into(),
        },
    }
}

/// What TLS said, however deep it is wrapped.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // `io::Error` does not name what it holds as its source, but the source of that.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
