//! Removing what nothing uses: containers, networks, volumes, images.

use scheduler::control_plane::command::{RunningContainers, Volumes};
use scheduler::model::time::Timestamp;
use serde_json::{Value, json};

use super::create::DEFAULT_NETWORK;
use super::phase::{Frozen, Phase};
use super::{images as img, inspect, lifecycle, lookup, networks as net, volumes as vol};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::clock::wall_time;
use crate::image::Prune;

/// Only what was made before this.
fn until(filters: &Filters) -> Result<Timestamp, EngineError> {
    let now = wall_time();
    match filters.values("until") {
        [] => Ok(now),
        [text] => time::parse(text, now)
            .ok_or_else(|| bad(format!("invalid value for \"until\": {text}"))),
        _ => Err(bad("more than one until filter specified")),
    }
}

fn null_if_empty(names: Vec<String>) -> Value {
    if names.is_empty() {
        Value::Null
    } else {
        json!(names)
    }
}

/// `POST /containers/prune`
pub(in crate::api) async fn containers(context: &Context, call: &Call) -> Answer {
    let filters = Filters::read(&call.params, &["label", "label!", "until"])?;
    let until = until(&filters)?;
    let state = context.state();
    let mut deleted = Vec::new();
    for found in lookup::containers(&state) {
        let runs = state.container_tasks(&found.id).map(AsRef::as_ref);
        // Whether one that runs is frozen makes no difference.
        let phase = Phase::of(runs, Frozen::No);
        // The containers of a service belong to it: they would only come back.
        if found.service.is_standalone()
            && matches!(phase, Phase::Created | Phase::Exited)
            && lookup::created_at(&state, &found) < until
            && filters.labels(&inspect::labels(&state, &found, None))
        {
            lifecycle::remove(context, &found.id, RunningContainers::Spare, Volumes::Keep).await?;
            deleted.push(found.id.to_string());
        }
    }
    reply::json(&json!({ "ContainersDeleted": null_if_empty(deleted), "SpaceReclaimed": 0 }))
}

/// `POST /networks/prune`
pub(in crate::api) async fn networks(context: &Context, call: &Call) -> Answer {
    let filters = Filters::read(&call.params, &["label", "label!", "until"])?;
    let until = until(&filters)?;
    let state = context.state();
    let mut deleted = Vec::new();
    for network in state.networks.values() {
        let used = state.tasks.values().any(|task| {
            task.attachments
                .iter()
                .any(|place| place.network == network.id)
        });
        if !used
            && network.stack.is_none()
            && network.spec.name != DEFAULT_NETWORK
            && network.created_at < until
            && filters.labels(&network.spec.labels)
        {
            net::remove(context, network).await?;
            deleted.push(network.spec.name.clone());
        }
    }
    reply::json(&json!({ "NetworksDeleted": null_if_empty(deleted) }))
}

/// `POST /volumes/prune`: anonymous ones, and with `all` named ones too.
pub(in crate::api) async fn volumes(context: &Context, call: &Call) -> Answer {
    let filters = Filters::read(&call.params, &["all", "label", "label!"])?;
    let named = filters
        .values("all")
        .iter()
        .any(|all| matches!(all.as_str(), "1" | "true"));
    let state = context.state();
    let mut deleted = Vec::new();
    for (name, row) in vol::all(context, &state).await {
        let stack = state
            .volumes
            .get(&name)
            .is_some_and(|volume| volume.stack.is_some());
        if !(row.anonymous || named && !stack)
            || vol::is_used(&state, &name)
            || !filters.labels(&row.spec.labels)
        {
            continue;
        }
        match vol::remove(context, &name).await {
            Ok(()) => deleted.push(name),
            // A container took it meanwhile, or still has it without a name.
            Err(EngineError::Conflict(_) | EngineError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    reply::json(&json!({ "VolumesDeleted": deleted, "SpaceReclaimed": 0 }))
}

/// `POST /images/prune`
pub(in crate::api) async fn images(context: &Context, call: &Call) -> Answer {
    let filters = Filters::read(&call.params, &["dangling"])?;
    let unused = filters
        .values("dangling")
        .iter()
        .any(|value| matches!(value.as_str(), "0" | "false"));
    let which = if unused {
        Prune::Unused
    } else {
        Prune::Dangling
    };
    let state = context.state();
    let pruned = context
        .images
        .prune(which, |id| img::used_by(&state, id))
        .await?;
    img::announce(context, &pruned.removed);
    let rows = img::rows(&pruned.removed);
    reply::json(&json!({
        "ImagesDeleted": if rows.is_empty() { Value::Null } else { json!(rows) },
        "SpaceReclaimed": pruned.reclaimed,
    }))
}
