//! Why a node cannot enter, change or leave a cluster.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use scheduler::control_plane::Refusal;
use thiserror::Error;

use crate::identity::{IdentityError, StoreError, TokenError};
use crate::peer::{ListenError, PeerError};

/// See the module.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("this node is part of cluster {cluster} already")]
    AlreadyMember { cluster: String },
    #[error("this node is not part of a cluster")]
    NoMember,
    #[error("this node runs something of its own: {}", words(.stacks, *.containers))]
    Busy {
        stacks: Vec<String>,
        containers: usize,
    },
    #[error("`{text}` is no address: {why}")]
    Address { text: String, why: &'static str },
    #[error("no manager was named")]
    NoAddress,
    #[error("cannot find out the address of `{host}`")]
    Lookup { host: String, source: io::Error },
    #[error("this host has no address that others could reach")]
    NoCandidate,
    #[error("this host has several addresses: {}", list(.candidates))]
    Ambiguous { candidates: Vec<IpAddr> },
    #[error("an authority is a certificate and its private key")]
    HalfAuthority,
    #[error("the manager sent a certificate for somebody else")]
    WrongCertificate,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("no manager could be asked: {}", list(.tried))]
    NobodyAnswers { tried: Vec<PeerError> },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the other managers have not agreed in time that this node's vote no longer counts")]
    StillVotes,
    #[error("this node is a worker, which neither shows nor changes the cluster: ask a manager ({})", list(.managers))]
    Worker { managers: Vec<SocketAddr> },
}

impl ClusterError {
    /// What the user can do about it, as a sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyMember { .. } => {
                Some("Let it go first with `wharfie leave` (`--force` for a manager).".into())
            }
            Self::NoMember => Some(
                "Make this host a cluster with `wharfie cluster init`, or enter one with `wharfie join`."
                    .into(),
            ),
            Self::Busy { .. } => Some(
                "Take it down first (`wharfie down`, `docker rm -f`) and bring it up again in the cluster: a node that joins runs what the cluster decides.".into(),
            ),
            Self::Ambiguous { .. } => {
                Some("Choose the one that the other hosts can reach with `--advertise-addr`.".into())
            }
            Self::NoCandidate => Some("Name one with `--advertise-addr`.".into()),
            Self::StillVotes => {
                Some("It becomes a worker when they have: try again then.".into())
            }
            Self::Refused(refusal) => refusal.hint(),
            Self::Listen(_) => Some("Choose another one with `--listen-addr`.".into()),
            Self::Peer(error) => peer_hint(error),
            Self::NobodyAnswers { tried } => tried.iter().find_map(peer_hint),
            _ => None,
        }
    }
}

fn peer_hint(error: &PeerError) -> Option<String> {
    let hint = match error {
        PeerError::Refused { hint, .. } => return hint.clone(),
        PeerError::Unreachable { .. } | PeerError::TimedOut { .. } => {
            "Is a manager of the cluster running there, and does a firewall let TCP to this port through?"
        }
        PeerError::OtherCluster { .. } => {
            "It belongs to another cluster than the token, or its authority was rotated since (`wharfie cluster ca --rotate`): print the token again with `wharfie cluster join-token` on a manager."
        }
        PeerError::NotYetValid { .. } | PeerError::Expired { .. } => {
            "Set the clocks of both hosts right."
        }
        PeerError::NoManager { .. } => "Name a manager: workers do not let nodes in.",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn words(stacks: &[String], containers: usize) -> String {
    let stacks = match stacks {
        [] => String::new(),
        [one] => format!("stack {one}"),
        several => format!("stacks {}", several.join(", ")),
    };
    let containers = match containers {
        0 => String::new(),
        1 => "1 container".to_owned(),
        count => format!("{count} containers"),
    };
    match (stacks.is_empty(), containers.is_empty()) {
        (false, false) => format!("{stacks} and {containers}"),
        _ => format!("{stacks}{containers}"),
    }
}

fn list(items: &[impl ToString]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
