//! Another certificate authority for the cluster: begun here, carried on by the replicated state.
//!
//!     new, or given ─► certified by the old one ─► [`Command::RotateAuthority`] ─► nodes follow, one
//!     after the other ([`renewal`](super::renewal)) ─► the leader drops the old one

use std::time::SystemTime;

use scheduler::control_plane::command::{ClusterUpdate, Command};
use scheduler::model::node::NodeStatus;
use scheduler::state::State;
use serde::{Deserialize, Serialize};

use super::ClusterError;
use crate::identity::{digest_of_pem, given_authority, new_authority, new_secret, succeed};
use crate::manager::ManagerHandle;

/// `POST /x/cluster/ca`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RotateRequest {
    /// PEM of a root's certificate and of its key; one of the cluster's own is made when absent.
    pub certificate: Option<String>,
    pub private_key: Option<String>,
    /// `--cert-expiry`, in hours.
    pub certificate_hours: Option<u64>,
}

/// `GET /x/cluster/ca`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorityView {
    /// PEM.
    pub certificate: String,
    /// Base 36, as in the tokens.
    pub digest: String,
    /// The authorities before are still believed.
    pub rotating: bool,
    /// Nodes that are not down, and those of them that have a certificate of this authority.
    pub nodes: usize,
    pub renewed: usize,
}

/// Begins a rotation, whatever the last one has come to.
///
/// # Errors
///
/// Returns [`ClusterError`]; the authority is the one of before then.
pub async fn rotate(manager: &ManagerHandle, request: &RotateRequest) -> Result<(), ClusterError> {
    let state = manager.state();
    let cluster = state.cluster.as_ref().ok_or(ClusterError::NoMember)?;
    let now = SystemTime::now();
    let new = match (&request.certificate, &request.private_key) {
        (Some(certificate), Some(key)) => given_authority(certificate, key, now)?,
        (None, None) => new_authority(&cluster.id, now)?,
        (Some(_), None) | (None, Some(_)) => return Err(ClusterError::HalfAuthority),
    };
    if request.certificate_hours.is_some() {
        let update = ClusterUpdate {
            certificate_hours: request.certificate_hours,
            ..ClusterUpdate::default()
        };
        manager.command(Command::UpdateCluster { update }).await?;
    }
    let old = &cluster.certificate_authority;
    if new.certificate == old.certificate {
        return Ok(());
    }
    let command = Command::RotateAuthority {
        replaces: old.certificate.clone(),
        authority: Box::new(succeed(old, new)?),
        tokens: (new_secret(), new_secret()),
    };
    manager.command(command).await?;
    Ok(())
}

/// How far the nodes are; `None` on a host that stands alone.
pub fn view(state: &State) -> Option<AuthorityView> {
    let authority = &state.cluster.as_ref()?.certificate_authority;
    let digest = digest_of_pem(&authority.certificate);
    let nodes = state.nodes.values();
    let up = nodes.filter(|node| node.status != NodeStatus::Down);
    let renewed = up
        .clone()
        .filter(|node| node.description.authority == digest);
    Some(AuthorityView {
        certificate: authority.certificate.clone(),
        rotating: !authority.retiring.is_empty(),
        nodes: up.count(),
        renewed: renewed.count(),
        digest,
    })
}
