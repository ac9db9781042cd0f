//! Why a node could not be spoken with.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use scheduler::model::id::NodeId;
use thiserror::Error;

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
    #[error("{address} did not answer within {} s", .limit.as_secs_f32())]
    TimedOut {
        address: SocketAddr,
        limit: Duration,
    },
    #[error("{address} belongs to another cluster")]
    OtherCluster { address: SocketAddr },
    #[error("{address} is not node {expected}: another node has this address now")]
    OtherNode {
        address: SocketAddr,
        expected: NodeId,
    },
    #[error("the certificate of {address} is not valid yet: the clocks of the two hosts differ")]
    NotYetValid { address: SocketAddr },
    #[error("the certificate of {address} has expired")]
    Expired { address: SocketAddr },
    #[error("{address} does not accept our certificate ({reason})")]
    CertificateRefused {
        address: SocketAddr,
        reason: &'static str,
    },
    #[error("{address} refused: {message}")]
    Refused {
        address: SocketAddr,
        status: u16,
        message: String,
    },
    #[error("the connection with {address} broke")]
    Broken {
        address: SocketAddr,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
