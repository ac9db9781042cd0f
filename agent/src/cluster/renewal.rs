//! Keeps this node's certificate good, and true: it is renewed in time, and whenever the cluster
//! wants the node to be something else.

use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use scheduler::assignment::Assignment;
use scheduler::model::node::Role;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

use super::advertise::Wish;
use super::enrol::{self, Enrolled, Newcomer};
use super::leave::Shared;
use super::transition::Transition;
use super::{ClusterError, Membership};
use crate::identity::{Credentials, Identity};
use crate::manager::ManagerHandle;

/// The time of day is looked at this often: it may be set while we sleep.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Runs for as long as the node does. `assignment` says as what this node is wanted.
pub async fn follow(
    membership: Shared,
    manager: Option<ManagerHandle>,
    mut assignment: watch::Receiver<Arc<Assignment>>,
) {
    let mut identities = membership.identities();
    loop {
        let identity = identities.borrow_and_update().clone();
        let assigned = assignment.borrow_and_update().clone();
        membership.remember_managers(&assigned.managers);
        let mut pause = LOOK_EVERY;
        if let Some(identity) = identity {
            let now = SystemTime::now();
            let wanted = assigned.role.unwrap_or(identity.role());
            let left = identity.renew_at.duration_since(now).unwrap_or_default();
            pause = left.clamp(AGAIN_AFTER, LOOK_EVERY);
            if wanted != identity.role() || left.is_zero() {
                match membership.renew(&identity, wanted, manager.as_ref()).await {
                    Ok(()) => continue,
                    Err(error) => {
                        warn!(%error, "the node's certificate could not be renewed");
                        pause = AGAIN_AFTER;
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = identities.changed() => if changed.is_err() { return },
            changed = assignment.changed() => if changed.is_err() { return },
        }
    }
}

impl Membership {
    async fn renew(
        &self,
        identity: &Identity,
        wanted: Role,
        manager: Option<&ManagerHandle>,
    ) -> Result<(), ClusterError> {
        let key = identity.key()?;
        let stays = wanted == Role::Manager && identity.role() == Role::Manager;
        let state = manager.map(ManagerHandle::state);
        let cluster = state.as_ref().and_then(|state| state.cluster.clone());
        let Credentials {
            listen, advertise, ..
        } = identity.credentials;
        let renewed = match cluster {
            Some(cluster) if stays => self.own_certificate(&cluster, &key, (listen, advertise))?,
            _ => {
                let enrolled = self.ask(identity, &key).await?;
                Identity::new(Credentials {
                    certificate: enrolled.certificate,
                    authorities: enrolled.authorities,
                    ..identity.credentials.clone()
                })?
            }
        };
        if *renewed.node() != self.node {
            return Err(ClusterError::WrongCertificate);
        }
        if renewed.role() == identity.role() {
            self.store.save(&renewed.credentials)?;
            info!("the node's certificate was renewed");
            self.identity.send_replace(Some(Arc::new(renewed)));
            return Ok(());
        }
        let role = renewed.role();
        info!(%role, "the node has another role; it starts again");
        let credentials = Credentials {
            // What it founded once has gone with its log.
            joined: true,
            ..renewed.credentials
        };
        Transition::Role.begin(&self.root)?;
        self.store.save(&credentials)?;
        self.again.cancel();
        std::future::pending().await
    }

    /// With the certificate, or, when it has expired, with the key alone.
    async fn ask(&self, identity: &Identity, key: &KeyPair) -> Result<Enrolled, ClusterError> {
        if identity.facts.not_after > SystemTime::now() {
            return enrol::ask_to_renew(self, key).await;
        }
        let credentials = &identity.credentials;
        let (listen, advertise) = (credentials.listen, credentials.advertise);
        let texts = (listen.to_string(), advertise.to_string());
        let wish = Wish::parse(Some(&texts.0), Some(&texts.1))?;
        let newcomer = Newcomer {
            node: &self.node,
            description: &self.description,
            wish: &wish,
            key,
        };
        enrol::ask_to_return(self, &newcomer).await
    }
}
