//! What only the host of a container knows of it: whether it is frozen, its image, its places on disk.
//!
//!     containers ─┬─ here ──────► drivers ─────────────────────────────┐
//!                 └─ elsewhere ─► `GET /x/host/containers` of each node ┴─► [`Facts`] by container
//!
//! A node that does not answer soon is not waited for: its containers are shown without these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use scheduler::model::container::MountSource;
use scheduler::model::id::{ContainerId, NodeId};
use scheduler::model::task::TaskState;
use scheduler::state::State;
use serde::{Deserialize, Serialize};

use super::lookup::{self, Found};
use super::phase::Frozen;
use crate::api::reply::{self, Answer};
use crate::api::{Context, relay};
use crate::image::Defaults;

/// How long other nodes have. They answer from memory, within milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one container's host knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    pub(crate) frozen: Frozen,
    /// `None` when the image has been removed since.
    pub(crate) image: Option<ImageFacts>,
    /// The container's directory; empty when it has none yet.
    pub(crate) directory: String,
    pub(crate) log_path: String,
    /// Names of anonymous volumes, by target.
    pub(crate) anonymous: BTreeMap<String, String>,
    /// Where the data of its volumes lies, by their names.
    pub(crate) volume_paths: BTreeMap<String, String>,
    /// Programs that were started in it and run.
    pub(crate) execs: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ImageFacts {
    pub(crate) id: String,
    pub(crate) defaults: Defaults,
}

/// By container.
pub(crate) type AllFacts = BTreeMap<ContainerId, Facts>;

/// Asks each container's host.
pub(crate) async fn of(context: &Context, state: &State, wanted: &[Found]) -> AllFacts {
    let is_own = |found: &&Found| (found.task.node.as_ref()).is_none_or(|it| *it == context.node);
    let own: Vec<&Found> = wanted.iter().filter(is_own).collect();
    let nodes: BTreeSet<&NodeId> = wanted
        .iter()
        .filter(|found| !is_own(found))
        .filter_map(|found| found.task.node.as_ref())
        .collect();
    let asked = nodes.into_iter().map(|node| ask(context, state, node));
    let (mut all, others) = tokio::join!(here(context, &own), join_all(asked));
    all.extend(others.into_iter().flatten());
    for found in wanted.iter().filter(|found| !is_own(found)) {
        // The image may be here as well, when its node does not answer.
        all.entry(found.id.clone()).or_insert_with(|| Facts {
            image: image(context, found),
            ..Facts::default()
        });
    }
    all
}

/// The same for one.
pub(crate) async fn of_one(context: &Context, state: &State, found: &Found) -> Facts {
    let mut all = of(context, state, std::slice::from_ref(found)).await;
    all.remove(&found.id).unwrap_or_default()
}

/// `GET /x/host/containers`: for managers, what this node knows of its own.
pub(in crate::api) async fn host(context: &Context) -> Answer {
    let state = context.state();
    let all = lookup::containers(&state);
    let is_own = |found: &&Found| found.task.node.as_ref() == Some(&context.node);
    let own: Vec<&Found> = all.iter().filter(is_own).collect();
    reply::json(&here(context, &own).await)
}

async fn ask(context: &Context, state: &State, node: &NodeId) -> AllFacts {
    let Some(place) = relay::node(context, state, node) else {
        return AllFacts::new();
    };
    let asked = relay::ask(context, &place, "/x/host/containers");
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => {
            tracing::debug!(%node, %error, "a node does not tell of its containers");
            AllFacts::new()
        }
        Err(_) => AllFacts::new(),
    }
}

async fn here(context: &Context, wanted: &[&Found]) -> AllFacts {
    let mut anonymous = anonymous_volumes(context).await;
    let mut all = AllFacts::new();
    for found in wanted {
        let anonymous = anonymous.remove(&found.id).unwrap_or_default();
        all.insert(found.id.clone(), one_here(context, found, anonymous).await);
    }
    all
}

async fn one_here(context: &Context, found: &Found, anonymous: BTreeMap<String, String>) -> Facts {
    let runs = found.task.status.state == TaskState::Running;
    let paused = runs && context.containers.is_paused(&found.id).unwrap_or(false);
    let mounts = &found.spec().container.mounts;
    let named = mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Bind { .. }
        | MountSource::Image { .. }
        | MountSource::Anonymous { .. }
        | MountSource::Tmpfs { .. } => None,
    });
    let path = |name: &String| {
        let path = context.volumes.data_path(name).display().to_string();
        (name.clone(), path)
    };
    Facts {
        frozen: if paused { Frozen::Yes } else { Frozen::No },
        image: image(context, found),
        directory: context
            .containers
            .directory(&found.id)
            .display()
            .to_string(),
        log_path: context.containers.log_path(&found.id).display().to_string(),
        volume_paths: named.chain(anonymous.values()).map(path).collect(),
        anonymous,
        execs: context.execs.of(&found.id),
    }
}

/// The image that it was made from, as far as it is on this host.
fn image(context: &Context, found: &Found) -> Option<ImageFacts> {
    let recorded = found.task.status.image_id.as_deref();
    let wanted = recorded.unwrap_or(&found.spec().container.image);
    let image = context.images.resolve(wanted).ok()?;
    Some(ImageFacts {
        id: image.id.to_string(),
        defaults: image.config.defaults.clone(),
    })
}

async fn anonymous_volumes(context: &Context) -> BTreeMap<ContainerId, BTreeMap<String, String>> {
    let mut by_container: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (name, volume) in context.volumes.list().await.unwrap_or_default() {
        if let Some(owner) = volume.anonymous {
            let of_owner = by_container.entry(owner.container).or_default();
            of_owner.insert(owner.target, name);
        }
    }
    by_container
}
