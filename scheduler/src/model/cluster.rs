//! The cluster itself: who signs its certificates, what lets a node in, how patient it is.
//!
//! There is none on a host that stands alone: `cluster init` writes the row, and from then on the
//! state holds everything that another manager needs to take over, the private key of the authority
//! included. The state is encrypted wherever it lies on a disk.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::node::Role;
use super::time::Timestamp;

/// The row of a cluster that more than one node may join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// 25 letters and digits, as Swarm's.
    pub id: String,
    /// Goes up by one with each `cluster recover`: what an older epoch says is not obeyed.
    #[serde(default)]
    pub epoch: u64,
    pub certificate_authority: Authority,
    pub worker_token: Secret,
    pub manager_token: Secret,
    #[serde(default)]
    pub settings: ClusterSettings,
    #[serde(default)]
    pub created: Timestamp,
}

impl Cluster {
    /// The secret that lets a node in with this role.
    pub fn token(&self, role: Role) -> &Secret {
        match role {
            Role::Worker => &self.worker_token,
            Role::Manager => &self.manager_token,
        }
    }

    /// What a secret lets a node join as, if anything.
    pub fn role_of(&self, secret: &Secret) -> Option<Role> {
        // Both are compared, whichever it is, so that time tells nothing.
        let manager = self.manager_token.matches(secret);
        let worker = self.worker_token.matches(secret);
        match (manager, worker) {
            (true, _) => Some(Role::Manager),
            (false, true) => Some(Role::Worker),
            (false, false) => None,
        }
    }
}

/// Bounds of the time between two heartbeats: a session in which nothing is heard for half a minute is
/// closed.
pub const FASTEST_MILLIS: u64 = 200;
pub const SLOWEST_MILLIS: u64 = 10_000;

/// Who signs the certificates of the nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    /// Digest of the certificate, as in the tokens that pin it.
    #[serde(default)]
    pub id: String,
    /// PEM.
    pub certificate: String,
    /// PEM (PKCS #8).
    pub private_key: Secret,
    /// PEM of the authorities before this one, trusted until every node has a certificate of the
    /// new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<String>,
    /// PEM: this authority certified by the one before it, that one by the one before, and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<String>,
}

impl Authority {
    /// PEM of those whose certificates are believed, this one first.
    pub fn trusted(&self) -> Vec<String> {
        let own = std::iter::once(&self.certificate);
        own.chain(&self.retiring).cloned().collect()
    }
}

/// What can be set for a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSettings {
    /// A node says this often that it lives.
    pub heartbeat_millis: u64,
    /// A node that is silent for so long gets nothing new.
    pub suspect_after_millis: u64,
    /// A node that is silent for so long is down, unless its own row says otherwise.
    pub down_after_millis: u64,
    /// A node's certificate is good for so many hours.
    pub certificate_hours: u64,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            heartbeat_millis: 1000,
            suspect_after_millis: 2500,
            down_after_millis: 5000,
            certificate_hours: 90 * 24,
        }
    }
}

impl ClusterSettings {
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_millis)
    }

    pub fn suspect_after(&self) -> Duration {
        Duration::from_millis(self.suspect_after_millis)
    }

    pub fn down_after(&self) -> Duration {
        Duration::from_millis(self.down_after_millis)
    }

    /// A node is suspected and given up after as many beats as before, within bounds that make sense.
    #[must_use]
    pub fn with_heartbeat(&self, millis: u64) -> Self {
        let millis = millis.clamp(FASTEST_MILLIS, SLOWEST_MILLIS);
        Self {
            heartbeat_millis: millis,
            suspect_after_millis: millis * 5 / 2,
            down_after_millis: millis * 5,
            ..self.clone()
        }
    }

    pub fn certificate_validity(&self) -> Duration {
        Duration::from_secs(self.certificate_hours.saturating_mul(3600))
    }
}

/// Text that opens something. It is never shown, and compared in a time that tells nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether both are the same text.
    pub fn matches(&self, other: &Self) -> bool {
        // Digests are equally long, and where two of them begin to differ says nothing of the texts.
        let digest = |secret: &Self| -> [u8; 32] { Sha256::digest(secret.0.as_bytes()).into() };
        let pairs = digest(self).into_iter().zip(digest(other));
        pairs.fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
