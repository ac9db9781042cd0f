//! `GET /containers/json`, `GET /containers/{id}/json`, `POST /containers/create`.

use axum::http::StatusCode;
use scheduler::control_plane::{Command, Reply};
use scheduler::model::container::MountSource;
use scheduler::model::service::ServiceSpec;
use scheduler::state::State;
use serde_json::{Value, json};

use super::config::CreateBody;
use super::create::{Surroundings, service};
use super::facts::{self, Facts};
use super::inspect::{self, View};
use super::lookup::{self, Found};
use super::phase::{Frozen, Phase, health_word};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::clock::wall_time;

const FILTERS: [&str; 14] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "label!", "name",
    "network", "publish", "status", "volume",
];

/// `GET /containers/json`
pub(in crate::api) async fn list(context: &Context, call: &Call) -> Answer {
    let filters = Filters::read(&call.params, &[FILTERS.as_slice(), &["since"]].concat())?;
    filters.check_values("status", &Phase::WORDS)?;
    filters.check_values("health", &["starting", "healthy", "unhealthy", "none"])?;
    let names = filters.names()?;
    let limit = call
        .params
        .number("limit")?
        .and_then(|limit| usize::try_from(limit).ok());
    // A question for a state is a question about all of them.
    let all = call.params.flag("all")
        || filters.has("status")
        || filters.has("exited")
        || limit.is_some_and(|limit| limit > 0);
    let state = context.state();
    let containers = lookup::containers(&state);
    let facts = facts::of(context, &state, &containers).await;
    let unknown = Facts::default();
    let mut rows = Vec::new();
    for found in &containers {
        let facts = facts.get(&found.id).unwrap_or(&unknown);
        let phase = phase_of(&state, found, facts.frozen);
        if (!all && !phase.is_alive() && phase != Phase::Restarting)
            || !names.pass(&format!("/{}", found.task.name)) && !names.pass(&found.task.name)
        {
            continue;
        }
        let view = view(&state, found, facts, phase);
        if !passes(context, &filters, &view) {
            continue;
        }
        rows.push(inspect::summary(&view));
        if limit.is_some_and(|limit| limit > 0 && rows.len() >= limit) {
            break;
        }
    }
    if call.params.flag("size") {
        rows.iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|row| {
                row.insert("SizeRw".into(), json!(0));
                row.insert("SizeRootFs".into(), json!(0));
            });
    }
    reply::json(&rows)
}

/// `GET /containers/{id}/json`
pub(in crate::api) async fn inspect(context: &Context, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    let facts = facts::of_one(context, &state, &found).await;
    let phase = phase_of(&state, &found, facts.frozen);
    reply::json(&inspect::inspect(&view(&state, &found, &facts, phase)))
}

fn view<'a>(state: &'a State, found: &'a Found, facts: &'a Facts, phase: Phase) -> View<'a> {
    View {
        state,
        found,
        facts,
        labels: inspect::labels(state, found, facts.image.as_ref()),
        phase,
        now: wall_time(),
    }
}

/// Docker's state of a container, asking its host whether it is frozen.
pub(in crate::api) async fn phase(context: &Context, state: &State, found: &Found) -> Phase {
    match phase_of(state, found, Frozen::No) {
        Phase::Running => {
            let facts = facts::of_one(context, state, found).await;
            phase_of(state, found, facts.frozen)
        }
        phase => phase,
    }
}

fn phase_of(state: &State, found: &Found, frozen: Frozen) -> Phase {
    let runs = state.container_tasks(&found.id).map(AsRef::as_ref);
    Phase::of(runs, frozen)
}

fn passes(context: &Context, filters: &Filters, view: &View<'_>) -> bool {
    let View {
        state,
        found,
        phase,
        ..
    } = *view;
    let spec = &found.spec().container;
    let image = view.facts.image.as_ref();
    let task = &found.task;
    let ended = found
        .ended(state)
        .and_then(|task| task.status.exit_code)
        .unwrap_or_default();
    let health = task
        .status
        .health
        .as_ref()
        .map_or("none", |health| health_word(health.status));
    let on_network = |wanted: &str| {
        let networks = task
            .attachments
            .iter()
            .filter_map(|place| state.networks.get(&place.network));
        networks
            .into_iter()
            .any(|network| network.spec.name == wanted || network.id.as_str() == wanted)
    };
    let has_volume = |wanted: &str| {
        spec.mounts.iter().any(|mount| {
            mount.target == wanted
                || matches!(&mount.source, MountSource::Volume { name, .. } if name == wanted)
        })
    };
    let of_image = |wanted: &str| {
        spec.image == wanted
            || image.is_some_and(|image| {
                let other = context.images.resolve(wanted);
                other.is_ok_and(|other| other.id.to_string() == image.id)
            })
    };
    let publishes = |wanted: &str| {
        let port = wanted
            .split(['/', '-'])
            .next()
            .and_then(|port| port.parse::<u16>().ok());
        spec.ports
            .iter()
            .any(|published| port == Some(published.target))
    };
    filters.labels(&view.labels)
        && filters.any("id", |wanted| found.id.as_str().starts_with(wanted))
        && filters.any("status", |wanted| phase.word() == wanted)
        && filters.any("exited", |wanted| {
            phase == Phase::Exited && wanted == ended.to_string()
        })
        && filters.any("health", |wanted| health == wanted)
        && filters.any("network", on_network)
        && filters.any("volume", has_volume)
        && filters.any("ancestor", of_image)
        && filters.any("publish", publishes)
        && filters.any("expose", publishes)
        && filters.any("is-task", |wanted| wanted == "false")
        && compares(filters, "before", state, found, std::cmp::Ordering::Less)
        && compares(filters, "since", state, found, std::cmp::Ordering::Greater)
}

/// Made before or after another container.
fn compares(
    filters: &Filters,
    key: &str,
    state: &State,
    found: &Found,
    expected: std::cmp::Ordering,
) -> bool {
    filters.any(key, |other| {
        lookup::container(state, other).is_ok_and(|other| {
            lookup::created_at(state, found).cmp(&lookup::created_at(state, &other)) == expected
        })
    })
}

/// `POST /containers/create`
pub(in crate::api) async fn create(context: &Context, mut call: Call) -> Answer {
    let name = call
        .params
        .get("name")
        .map(|name| name.trim_start_matches('/').to_owned());
    let body: CreateBody = call.json().await?;
    if body.config.image.is_empty() && body.config.cmd.is_none() {
        return Err(bad("Config cannot be empty in order to create a container"));
    }
    let image = context.images.resolve(&body.config.image)?;
    let state = context.state();
    let spec = {
        let network = |text: &str| {
            lookup::network(&state, text)
                .ok()
                .map(|network| network.spec.name.clone())
        };
        let image_ports: Vec<_> = image
            .config
            .defaults
            .exposed_ports
            .iter()
            .cloned()
            .collect();
        let around = Surroundings {
            network: &network,
            image_ports: &image_ports,
        };
        service(name.as_deref(), &body, &around)?
    };
    check_binds(&spec)?;
    let node = Some(context.node.clone());
    let command = Command::CreateContainer {
        name,
        stack: None,
        spec,
        node,
    };
    let answer = context.command(command).await?;
    let Reply::ContainerCreated { id, .. } = answer.reply else {
        return Err(EngineError::Internal(
            "the container was created without an id".into(),
        ));
    };
    reply::json_with(
        StatusCode::CREATED,
        &json!({ "Id": id.as_str(), "Warnings": [] }),
    )
}

/// Sources that must exist, do.
fn check_binds(spec: &ServiceSpec) -> Result<(), EngineError> {
    for mount in &spec.container.mounts {
        if let MountSource::Bind {
            path,
            create: false,
            ..
        } = &mount.source
            && !std::path::Path::new(path).exists()
        {
            return Err(bad(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
    }
    Ok(())
}
