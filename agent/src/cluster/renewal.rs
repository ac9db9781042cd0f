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
use scheduler::model::node::{Availability, Role};
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

/// Runs for as long as the node does. `assignment` says as what this node is wanted; up to number
/// `remembered` it is one of the last run, since when the managers may have moved.
pub async fn follow(
    membership: Shared,
    manager: Option<ManagerHandle>,
    mut assignment: watch::Receiver<Arc<Assignment>>,
    remembered: (u64, u64),
) {
    let mut identities = membership.identities();
    let mut refused = false;
    let mut doubt_from = Instant::now();
    loop {
        let identity = identities.borrow_and_update().clone();
        let assigned = assignment.borrow_and_update().clone();
        if assigned.number() > remembered {
            membership.remember_managers(&assigned.managers);
        }
        let mut pause = LOOK_EVERY;
        if let Some(identity) = identity {
            let left = identity.renew_at.duration_since(SystemTime::now());
            pause = left.unwrap_or_default().clamp(AGAIN_AFTER, LOOK_EVERY);
            let doubted = std::mem::take(&mut refused);
            let step = step(&identity, &assigned, doubted);
            match membership
                .take_step(&identity, step, manager.as_ref())
                .await
            {
                Ok(()) if step != Step::Wait => continue,
                Ok(()) => {}
                Err(error) => {
                    warn!(%error, "the node's certificate could not be renewed");
                    pause = AGAIN_AFTER;
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

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step<'a> {
    Wait,
    /// These are the authorities now, as this assignment says.
    Believe(&'a Assignment),
    Renew(Role, By),
    /// The same, and there is time.
    Follow(Role),
}

fn step<'a>(identity: &Identity, assigned: &'a Assignment, refused: bool) -> Step<'a> {
    if is_news(identity, assigned) {
        return Step::Believe(assigned);
    }
    let now = SystemTime::now();
    let wanted = assigned.role.unwrap_or(identity.role());
    if refused || identity.facts.not_after <= now {
        return Step::Renew(wanted, By::Key);
    }
    if wanted != identity.role() || identity.renew_at <= now {
        return Step::Renew(wanted, By::Certificate);
    }
    match identity.is_outdated() {
        true => Step::Follow(wanted),
        false => Step::Wait,
    }
}

/// Whether the cluster believes other authorities by now. What was told before the node got its
/// certificate, and is only remembered, says nothing.
fn is_news(identity: &Identity, assigned: &Assignment) -> bool {
    let known = &identity.credentials;
    let told = !assigned.authorities.is_empty() && assigned.number() > known.told;
    told && assigned.authorities != known.authorities
}

impl Membership {
    async fn take_step(
        &self,
        identity: &Identity,
        step: Step<'_>,
        manager: Option<&ManagerHandle>,
    ) -> Result<(), ClusterError> {
        match step {
            Step::Wait => Ok(()),
            Step::Believe(assigned) => self.believe(identity, assigned),
            Step::Renew(wanted, by) => self.renew(identity, wanted, by, manager).await,
            Step::Follow(wanted) => {
                if identity.role() == Role::Worker {
                    sleep(SPREAD.mul_f64(rand::random())).await;
                }
                self.renew(identity, wanted, By::Certificate, manager).await
            }
        }
    }

    /// From now on these authorities have signed the certificates of the others.
    fn believe(&self, identity: &Identity, assigned: &Assignment) -> Result<(), ClusterError> {
        let believed = Identity::new(Credentials {
            authorities: assigned.authorities.clone(),
            told: assigned.number(),
            ..identity.credentials.clone()
        })?;
        self.store.save(&believed.credentials)?;
        let count = believed.credentials.authorities.len();
        info!(count, "the cluster believes other authorities now");
        self.identity.send_replace(Some(Arc::new(believed)));
        Ok(())
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
        // A node that leaves is no other node before it has gone, or must stay.
        let _port = self.port.lock().await;
        if self.again.is_cancelled() {
            return std::future::pending().await;
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
            // It has a row already.
            availability: Availability::Active,
        };
        enrol::ask_to_return(self, &newcomer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{authority, identity};

    fn told(generation: u64, authorities: &[&str]) -> Assignment {
        Assignment {
            generation,
            authorities: authorities.iter().map(|it| (*it).to_owned()).collect(),
            ..Assignment::default()
        }
    }

    #[test]
    fn a_rotation_is_followed_step_by_step() {
        let (old, new) = (authority(), authority());
        let (old_root, new_root) = (old.certificate.as_str(), new.certificate.as_str());
        let mut known = identity(&old, "n1", Role::Worker);
        let wait = |known: &Identity, assigned: &Assignment| {
            assert_eq!(step(known, assigned, false), Step::Wait);
        };
        wait(&known, &Assignment::default());
        wait(&known, &told(3, &[old_root]));

        let begun = told(4, &[new_root, old_root]);
        assert_eq!(step(&known, &begun, false), Step::Believe(&begun));
        known.credentials.authorities = begun.authorities.clone();
        known.credentials.told = begun.number();
        assert_eq!(step(&known, &begun, false), Step::Follow(Role::Worker));

        let mut renewed = identity(&new, "n1", Role::Worker);
        renewed.credentials.authorities = begun.authorities.clone();
        renewed.credentials.told = (0, 6);
        wait(&renewed, &begun);
        let ended = told(7, &[new_root]);
        assert_eq!(step(&renewed, &ended, false), Step::Believe(&ended));
        renewed.credentials.authorities = ended.authorities.clone();
        renewed.credentials.told = ended.number();
        // What is remembered of the time before is no news.
        wait(&renewed, &begun);
    }

    #[test]
    fn a_certificate_that_opens_nothing_is_replaced_by_the_key() {
        let known = identity(&authority(), "n1", Role::Manager);
        let nothing = Assignment::default();
        assert_eq!(
            step(&known, &nothing, true),
            Step::Renew(Role::Manager, By::Key)
        );
        let demoted = Assignment {
            role: Some(Role::Worker),
            ..Assignment::default()
        };
        assert_eq!(
            step(&known, &demoted, false),
            Step::Renew(Role::Worker, By::Certificate)
        );
    }
}
