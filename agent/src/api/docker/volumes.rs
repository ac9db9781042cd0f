//! Named volumes as the cluster knows them, and anonymous ones as this host has them.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use scheduler::control_plane::Command;
use scheduler::model::container::MountSource;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;
use scheduler::state::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lifecycle::until;
use super::mounts::volume_name;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;

/// A volume as lists tell of it.
pub(super) struct Row {
    pub(super) spec: VolumeSpec,
    pub(super) created_at: Timestamp,
    pub(super) anonymous: bool,
}

/// `GET /volumes`
pub(in crate::api) async fn list(context: &Context, call: &Call) -> Answer {
    let known = ["dangling", "driver", "label", "label!", "name"];
    let filters = Filters::read(&call.params, &known)?;
    let names = filters.names()?;
    let state = context.state();
    let volumes: Vec<Value> = all(context, &state)
        .await
        .into_values()
        .filter(|row| {
            let dangling = !is_used(&state, &row.spec.name);
            names.pass(&row.spec.name)
                && filters.labels(&row.spec.labels)
                && filters.any("driver", |driver| driver == "local")
                && filters.any("dangling", |wanted| {
                    matches!(wanted, "1" | "true") == dangling
                })
        })
        .map(|row| describe(context, &row))
        .collect();
    reply::json(&json!({ "Volumes": volumes, "Warnings": null }))
}

/// By name: what the cluster knows, and what is only here.
pub(super) async fn all(context: &Context, state: &State) -> BTreeMap<String, Row> {
    let stored = context.volumes.list().await.unwrap_or_default();
    let mut rows: BTreeMap<String, Row> = stored
        .into_iter()
        .filter(|(_, volume)| volume.anonymous.is_some())
        .map(|(name, volume)| {
            (
                name,
                Row {
                    spec: volume.spec,
                    created_at: volume.created_at,
                    anonymous: true,
                },
            )
        })
        .collect();
    for (name, volume) in state.volumes.iter() {
        let row = Row {
            spec: volume.spec.clone(),
            created_at: volume.created_at,
            anonymous: false,
        };
        rows.insert(name.clone(), row);
    }
    rows
}

/// Whether a container that exists mounts it.
pub(super) fn is_used(state: &State, name: &str) -> bool {
    state.services.values().any(|service| {
        service
            .versions
            .values()
            .chain(std::iter::once(&service.spec))
            .any(|spec| {
                spec.container.mounts.iter().any(|mount| {
                matches!(&mount.source, MountSource::Volume { name: used, .. } if used == name)
            })
            })
    })
}

fn describe(context: &Context, row: &Row) -> Value {
    let spec = &row.spec;
    let map = |map: &BTreeMap<String, String>| match map.is_empty() {
        true => Value::Null,
        false => json!(map),
    };
    // Docker marks anonymous volumes with an empty label of this name.
    let labels = match row.anonymous {
        true => json!({ "com.docker.volume.anonymous": "" }),
        false => map(&spec.labels),
    };
    json!({
        "CreatedAt": time::rfc3339_seconds(row.created_at),
        "Driver": "local",
        "Labels": labels,
        "Mountpoint": context.volumes.data_path(&spec.name).display().to_string(),
        "Name": spec.name,
        "Options": map(&spec.driver_opts),
        "Scope": "local",
    })
}

/// `GET /volumes/{name}`
pub(in crate::api) async fn inspect(context: &Context, name: &str) -> Answer {
    let rows = all(context, &context.state()).await;
    let row = rows
        .get(name)
        .ok_or_else(|| EngineError::NoSuchVolume(name.to_owned()))?;
    reply::json(&describe(context, row))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateBody {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// `POST /volumes/create`
pub(in crate::api) async fn create(context: &Context, mut call: Call) -> Answer {
    let body: CreateBody = call.json().await?;
    if !matches!(body.driver.as_str(), "" | "local") {
        return Err(EngineError::NotFound(format!(
            "create {}: error looking up volume plugin {}: plugin \"{}\" not found",
            body.name, body.driver, body.driver
        )));
    }
    let name = match body.name.as_str() {
        "" => hex::encode(rand::random::<[u8; 32]>()),
        name => volume_name(name)?,
    };
    // Making it again is no error, whatever it was made with before.
    if !context.state().volumes.contains_key(&name) {
        let spec = VolumeSpec {
            name: name.clone(),
            driver: "local".into(),
            driver_opts: body.driver_opts,
            labels: body.labels,
            external: false,
        };
        context.command(Command::CreateVolume { spec }).await?;
    }
    let state = context.state();
    let volume = state
        .volumes
        .get(&name)
        .ok_or_else(|| bad(format!("volume {name} was removed meanwhile")))?;
    let row = Row {
        spec: volume.spec.clone(),
        created_at: volume.created_at,
        anonymous: false,
    };
    reply::json_with(StatusCode::CREATED, &describe(context, &row))
}

/// `DELETE /volumes/{name}?force=`
pub(in crate::api) async fn delete(context: &Context, call: &Call, name: &str) -> Answer {
    match remove(context, name).await {
        Err(EngineError::NoSuchVolume(_)) if call.params.flag("force") => {}
        other => other?,
    }
    reply::empty(StatusCode::NO_CONTENT)
}

/// Removes a volume and waits until its data is gone.
pub(super) async fn remove(context: &Context, name: &str) -> Result<(), EngineError> {
    if !context.state().volumes.contains_key(name) {
        let stored = context.volumes.list().await.unwrap_or_default();
        let Some(volume) = stored.get(name) else {
            return Err(EngineError::NoSuchVolume(name.to_owned()));
        };
        if let Some(owner) = &volume.anonymous
            && context.state().container(&owner.container).is_some()
        {
            let text = format!("remove {name}: volume is in use - [{}]", owner.container);
            return Err(EngineError::Conflict(text));
        }
        return Ok(context.volumes.remove(name).await?);
    }
    context
        .command(Command::RemoveVolume {
            name: name.to_owned(),
        })
        .await?;
    until(context, |state| {
        (!state.volumes.contains_key(name)).then_some(())
    })
    .await
}
