//! What the images of a stack are, found out once for all containers that a deploy makes.
//!
//! | pull policy | on a host that stands alone | in a cluster |
//! |---|---|---|
//! | `always` | pulled, once there are containers to compare with | the registry says |
//! | `missing` | what the name means here | here, if that is newer than the deploy before; as before; another manager; the registry; a worker |
//! | `never` | what the name means here | the same, without the registry |
//!
//! Where several have the name, what was brought in last counts. A worker is believed last, and the
//! user is told: nobody else would notice what a worker has put in the place of something.
//!
//! A deploy that changes nothing asks nobody, unless a policy says so. On another manager the name
//! may still mean what it did long ago: what was deployed since then counts, until somebody brings
//! a newer image to that manager (the clocks of the managers are compared for it, to a second).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scheduler::model::cluster::Secret;
use scheduler::model::container::{ContainerSpec, PullPolicy};
use scheduler::model::image::{ImagePin, registry_of};
use scheduler::model::service::Service;
use scheduler::model::stack::Stack;
use tokio::time::timeout;

use super::login;
use crate::api::Context;
use crate::api::error::EngineError;
use crate::fetch::{self, Wish};
use crate::image::{Credentials, ImageError, LookedUp, Platform};
use crate::supply::{Named, pin_of};

/// What a registry has not said by then is left to the nodes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found out, by service, and sentences for the user about what was not.
#[derive(Default)]
pub(super) struct Found {
    pub(super) pins: BTreeMap<String, ImagePin>,
    pub(super) warnings: Vec<String>,
}

/// What is to be found out.
pub(super) struct Question<'a> {
    pub(super) spec: &'a ContainerSpec,
    /// The service as it was deployed before.
    pub(super) before: Option<&'a Service>,
    /// What the user who deploys shows to registries.
    pub(super) logins: &'a BTreeMap<String, Secret>,
}

/// What makes two questions the same one.
type Key = (String, Option<String>, u8);

/// Finds out what the images of the selected services are.
///
/// # Errors
///
/// Returns [`EngineError`] for an image that must not be pulled and is nowhere, and for one that
/// must be pulled and cannot be.
pub(super) async fn find(
    context: &Context,
    stack: &Stack,
    selected: &BTreeSet<String>,
    logins: &BTreeMap<String, Secret>,
) -> Result<Found, EngineError> {
    let state = context.state();
    let mut found = Found::default();
    // One answer for all services with one image.
    let mut answers: BTreeMap<Key, Option<ImagePin>> = BTreeMap::new();
    for (name, service) in &stack.services {
        if !selected.contains(name) {
            continue;
        }
        let question = Question {
            spec: &service.container,
            before: state.service_named(&stack.name, name).map(AsRef::as_ref),
            logins,
        };
        let key = question.key();
        let pin = match answers.get(&key) {
            Some(known) => known.clone(),
            None => {
                let pin = one(context, &question, &mut found.warnings).await?;
                answers.insert(key, pin.clone());
                pin
            }
        };
        found.pins.extend(pin.map(|pin| (name.clone(), pin)));
    }
    Ok(found)
}

/// What one image is; `None` when it is as before, or nobody can say.
pub(super) async fn one(
    context: &Context,
    question: &Question<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<ImagePin>, EngineError> {
    let (spec, login) = (question.spec, question.login());
    // One that cannot be read is told of by the node that is to run it.
    let platform: Option<Platform> = spec.platform.as_deref().and_then(|it| it.parse().ok());
    let wish = question.wish(platform.as_ref(), login.as_ref());
    let supply = context.fetcher.supply();
    if context.state().nodes.len() <= 1 {
        return alone(context, wish, question.before.is_some()).await;
    }
    let asks_again = match spec.pull_policy {
        PullPolicy::Always => true,
        PullPolicy::Every(interval) => {
            let here = context.images.resolve(&spec.image);
            here.is_ok_and(|image| fetch::is_older(&image, interval))
        }
        PullPolicy::Missing | PullPolicy::Never => false,
    };
    if asks_again {
        return Ok(Some(pin(context.fetcher.look_up(wish).await?)));
    }
    let pinned = question.pinned();
    let here = supply.named_here(&spec.image);
    match (here, pinned) {
        (Some(here), Some(pinned)) if !is_newer(&here, pinned) => return Ok(None),
        (Some(here), _) => return Ok(Some(here.pin)),
        (None, Some(_)) => return Ok(None),
        (None, None) => {}
    }
    if let Some(named) = supply.named_by_managers(&spec.image).await {
        return Ok(Some(named.pin));
    }
    let registry = async {
        match spec.pull_policy {
            PullPolicy::Never => Err(String::new()),
            _ => match timeout(PATIENCE, context.fetcher.look_up(wish)).await {
                Ok(Ok(found)) => Ok(pin(found)),
                // What a node says that fails in the same way is longer.
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("its registry is too slow".to_owned()),
            },
        }
    };
    let workers = supply.named_by_workers(&spec.image);
    let (registry, worker) = tokio::join!(registry, workers);
    match (registry, worker) {
        (Ok(pin), _) => Ok(Some(pin)),
        (Err(_), Some((named, worker))) => {
            let state = context.state();
            let worker = state
                .nodes
                .get(&worker)
                .map_or("a worker", |row| row.name());
            warnings.push(as_a_worker_has_it(&spec.image, worker));
            Ok(Some(named.pin))
        }
        (Err(_), None) if spec.pull_policy == PullPolicy::Never => {
            let neighbours = format!("no node has {}", spec.image);
            Err(ImageError::NeverPulled { neighbours }.into())
        }
        (Err(why), None) => {
            warnings.push(left_to_the_nodes(&spec.image, &why));
            Ok(None)
        }
    }
}

/// As Compose does it on one host.
async fn alone(
    context: &Context,
    wish: Wish<'_>,
    exists: bool,
) -> Result<Option<ImagePin>, EngineError> {
    let image = match wish.policy {
        // Pulled now, because only then it is known whether the containers are out of date.
        PullPolicy::Always if exists => Some(context.fetcher.fetch(wish).await?),
        // Its containers pull it.
        PullPolicy::Always => None,
        // One that is there is asked for again when it is time.
        PullPolicy::Every(_) => match context.images.resolve(wish.image) {
            Ok(_) => Some(context.fetcher.fetch(wish).await?),
            Err(_) => None,
        },
        PullPolicy::Never => Some(context.images.resolve(wish.image)?),
        PullPolicy::Missing => context.images.resolve(wish.image).ok(),
    };
    Ok(image.map(|image| pin_of(&image, wish.image)))
}

impl<'a> Question<'a> {
    fn key(&self) -> Key {
        let policy = match (self.spec.pull_policy, self.before.is_some()) {
            (PullPolicy::Always, false) => 0,
            (PullPolicy::Always, true) => 1,
            (PullPolicy::Missing, _) => 2,
            (PullPolicy::Never, _) => 3,
            // The first of those that ask in several intervals asks for all.
            (PullPolicy::Every(_), _) => 4,
        };
        (self.spec.image.clone(), self.spec.platform.clone(), policy)
    }

    fn login(&self) -> Option<Credentials> {
        let login = self.logins.get(registry_of(&self.spec.image))?;
        login::credentials(login)
    }

    /// What the name means now, not what it meant before.
    fn wish<'w>(
        &'w self,
        platform: Option<&'w Platform>,
        login: Option<&'w Credentials>,
    ) -> Wish<'w> {
        Wish {
            pin: None,
            login,
            ..Wish::of(self.spec, platform)
        }
    }

    /// The service as it was deployed before, if what its image is was known then.
    fn pinned(&self) -> Option<&'a Service> {
        self.before.filter(|before| {
            let before = &before.spec.container;
            before.image == self.spec.image && before.pin.is_some()
        })
    }
}

fn pin(found: LookedUp) -> ImagePin {
    ImagePin {
        id: found.id.to_string(),
        digest: Some(found.digest.to_string()),
    }
}

/// Whether a name was given its meaning here after the service was last deployed.
fn is_newer(here: &Named, deployed: &Service) -> bool {
    here.updated >= deployed.updated_at.as_nanos() / 1_000_000_000
}

fn left_to_the_nodes(image: &str, why: &str) -> String {
    format!("no node has {image}, and its registry does not say what it is: {why}")
}

fn as_a_worker_has_it(image: &str, worker: &str) -> String {
    format!("{image} is what {worker} has: no manager has it, and no registry says what it is")
}
