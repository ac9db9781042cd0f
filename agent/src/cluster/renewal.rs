//! Keeps this node's certificate good, and true.
//!
//! | what happens | what is done |
//! |---|---|
//! | its time has come | another certificate |
//! | the cluster wants the node to be something else | one that says so; the node starts again |
//! | the cluster believes other authorities than the node does | so does the node from now on |
//! | another one signs certificates now | one of that one |
//! | it has expired, or others refuse it | the way back: the cluster knows the node's key |

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use scheduler::assignment::Assignment;
use scheduler::model::node::Role;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
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
/// Within which workers ask for certificates of a new authority: not all in the same moment.
const SPREAD: Duration = Duration::from_secs(2);
/// After a certificate was refused and another one did not help, or was refused as well.
const DOUBT_AGAIN: Duration = Duration::from_secs(5);

/// What another certificate is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Certificate,
    /// The certificate opens nothing any more.
    Key,
}

/// Runs for as long as the node does. `assignment` says as what this node is wanted.
pub async fn follow(
    membership: Shared,
    manager: Option<ManagerHandle>,
    mut assignment: watch::Receiver<Arc<Assignment>>,
) {
    let mut identities = membership.identities();
    let mut refused = false;
    let mut doubt_from = Instant::now();
    loop {
        let identity = identities.borrow_and_update().clone();
        let assigned = assignment.borrow_and_update().clone();
        membership.remember_managers(&assigned.managers);
        let mut pause = LOOK_EVERY;
        if let Some(identity) = identity {
            if is_news(&identity, &assigned) {
                membership.believe(&identity, &assigned);
                continue;
            }
            let wanted = assigned.role.unwrap_or(identity.role());
            let left = identity.renew_at.duration_since(SystemTime::now());
            let left = left.unwrap_or_default();
            pause = left.clamp(AGAIN_AFTER, LOOK_EVERY);
            let doubted = std::mem::take(&mut refused);
            let due = wanted != identity.role() || left.is_zero();
            if doubted || due || identity.is_outdated() {
                if !due && !doubted && identity.role() == Role::Worker {
                    sleep(SPREAD.mul_f64(rand::random())).await;
                }
                let by = by(&identity, doubted);
                match membership
                    .renew(&identity, wanted, by, manager.as_ref())
                    .await
                {
                    Ok(()) => continue,
                    Err(error) => {
                        warn!(%error, "the node's certificate could not be renewed");
                        pause = AGAIN_AFTER;
                    }
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            changed = identities.changed() => if changed.is_err() { return },
            changed = assignment.changed() => if changed.is_err() { return },
            () = membership.peers().refused() => {
                if Instant::now() >= doubt_from {
                    info!("the node's certificate is refused: it asks for another one by its key");
                    doubt_from = Instant::now() + DOUBT_AGAIN;
                    refused = true;
                }
            }
        }
    }
}

/// Whether the cluster believes other authorities by now. What was told before the node got its
/// certificate, and is only remembered, says nothing.
fn is_news(identity: &Identity, assigned: &Assignment) -> bool {
    let known = &identity.credentials;
    let told = !assigned.authorities.is_empty() && assigned.number() > known.told;
    told && assigned.authorities != known.authorities
}

fn by(identity: &Identity, refused: bool) -> By {
    match refused || identity.facts.not_after <= SystemTime::now() {
        true => By::Key,
        false => By::Certificate,
    }
}

impl Membership {
    /// From now on these authorities have signed the certificates of the others.
    fn believe(&self, identity: &Identity, assigned: &Assignment) {
        let credentials = Credentials {
            authorities: assigned.authorities.clone(),
            told: assigned.number(),
            ..identity.credentials.clone()
        };
        let believed = Identity::new(credentials).map_err(ClusterError::from);
        let kept = believed.and_then(|it| {
            self.store.save(&it.credentials)?;
            Ok(it)
        });
        match kept {
            Ok(believed) => {
                info!(
                    count = believed.credentials.authorities.len(),
                    "the cluster believes other authorities now"
                );
                self.identity.send_replace(Some(Arc::new(believed)));
            }
            Err(error) => {
                warn!(%error, "the authorities of the cluster cannot be believed");
                // Not again before there is something new.
                let mut credentials = identity.credentials.clone();
                credentials.told = assigned.number();
                if let Ok(same) = Identity::new(credentials) {
                    self.identity.send_replace(Some(Arc::new(same)));
                }
            }
        }
    }

    async fn renew(
        &self,
        identity: &Identity,
        wanted: Role,
        by: By,
        manager: Option<&ManagerHandle>,
    ) -> Result<(), ClusterError> {
        let key = identity.key()?;
        let renewed = match self.sign_here(identity, &key, wanted, by, manager)? {
            Some(renewed) => renewed,
            None => {
                let enrolled = self.ask(identity, &key, by).await?;
                Identity::new(Credentials {
                    certificate: enrolled.certificate,
                    authorities: enrolled.authorities,
                    told: enrolled.told,
                    ..identity.credentials.clone()
                })?
            }
        };
        if *renewed.node() != self.node {
            return Err(ClusterError::WrongCertificate);
        }
        if renewed.role() == identity.role() {
            self.store.save(&renewed.credentials)?;
            info!(
                authority = renewed.authority,
                "the node's certificate was renewed"
            );
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

    /// A manager that stays one signs for itself, unless it knows less than it was told.
    fn sign_here(
        &self,
        identity: &Identity,
        key: &KeyPair,
        wanted: Role,
        by: By,
        manager: Option<&ManagerHandle>,
    ) -> Result<Option<Identity>, ClusterError> {
        let stays = wanted == Role::Manager && identity.role() == Role::Manager;
        let Some(state) = manager.map(ManagerHandle::state) else {
            return Ok(None);
        };
        let Some(cluster) = state.cluster.as_ref().filter(|_| stays) else {
            return Ok(None);
        };
        let known = (cluster.epoch, state.version);
        if by == By::Key || known < identity.credentials.told {
            return Ok(None);
        }
        let Credentials {
            listen, advertise, ..
        } = identity.credentials;
        self.own_certificate(cluster, key, (listen, advertise), known)
            .map(Some)
    }

    async fn ask(
        &self,
        identity: &Identity,
        key: &KeyPair,
        by: By,
    ) -> Result<Enrolled, ClusterError> {
        if by == By::Certificate {
            return enrol::ask_to_renew(self, key).await;
        }
        let credentials = &identity.credentials;
        let (listen, advertise) = (credentials.listen, credentials.advertise);
        let texts = (listen.to_string(), advertise.to_string());
        let wish = Wish::parse(Some(&texts.0), Some(&texts.1))?;
        let newcomer = Newcomer {
            node: &self.node,
            description: &self.description(),
            wish: &wish,
            key,
        };
        enrol::ask_to_return(self, &newcomer).await
    }
}
