//! Start, stop, restart, kill, pause, rename, remove.
//!
//! A command is written down first; the answer is given when the container has got there, since
//! that is what clients of Docker count on.

use std::sync::Arc;

use axum::http::StatusCode;
use scheduler::control_plane::Command;
use scheduler::control_plane::command::{RunningContainers, Volumes};
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::service::ServiceMode;
use scheduler::model::task::{StopOrder, Task, TaskState};
use scheduler::state::State;

use super::containers::phase;
use super::lookup::{self, Found};
use super::phase::Phase;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::reply::{self, Answer};
use crate::api::{Context, relay};
use crate::container::spec::parse_signal;

/// `POST /containers/{id}/start`
pub(in crate::api) async fn start(context: &Context, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    if phase(context, &state, &found).await.is_alive() {
        return Err(EngineError::NotModified);
    }
    let answer = context
        .command(Command::StartContainer {
            container: found.id.clone(),
        })
        .await?;
    let started = running(context, &found.id, answer.revision).await;
    let auto_remove = ServiceMode::Standalone { auto_remove: true };
    if started.is_err() && found.spec().mode == auto_remove {
        // The docker CLI waits for its removal before it tells of the error.
        remove(context, &found.id, RunningContainers::Kill, Volumes::Delete).await?;
    }
    started?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/stop?t=&signal=`
pub(in crate::api) async fn stop(context: &Context, call: &Call, id: &str) -> Answer {
    let order = order(call)?;
    let state = context.state();
    let found = lookup::container(&state, id)?;
    match phase(context, &state, &found).await {
        Phase::Running | Phase::Restarting => {}
        Phase::Paused => thaw(context, &state, &found).await?,
        Phase::Created | Phase::Exited | Phase::Removing => return Err(EngineError::NotModified),
    }
    end(context, &found, order).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Processes that are frozen hear no signal.
async fn thaw(context: &Context, state: &State, found: &Found) -> Result<(), EngineError> {
    match relay::elsewhere(context, state, found)? {
        None => Ok(context.containers.unpause(&found.id).await?),
        Some(place) => {
            let path = format!("/containers/{}/unpause", found.id);
            relay::tell(context, &place, &path).await
        }
    }
}

/// `POST /containers/{id}/restart?t=&signal=`
pub(in crate::api) async fn restart(context: &Context, call: &Call, id: &str) -> Answer {
    let order = order(call)?;
    let found = lookup::container(&context.state(), id)?;
    let command = Command::RestartContainer {
        container: found.id.clone(),
        order,
    };
    let answer = context.command(command).await?;
    let alive = found.task.status.state == TaskState::Running;
    let before = alive.then(|| found.task.id.clone());
    restarted(context, &found.id, before, answer.revision).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/kill?signal=`
pub(in crate::api) async fn kill(context: &Context, call: &Call, id: &str) -> Answer {
    let cannot = |reason: &str| format!("Cannot kill container: {id}: {reason}");
    let state = context.state();
    let found = lookup::container(&state, id).map_err(|error| match error {
        EngineError::NoSuchContainer(_) => EngineError::NotFound(cannot(&error.to_string())),
        other => other,
    })?;
    let name = call.params.get("signal").unwrap_or("KILL");
    let signal = parse_signal(name).map_err(|_| bad(format!("Invalid signal: {name}")))?;
    if !phase(context, &state, &found).await.is_alive() {
        let reason = format!("Container {} is not running", found.id);
        return Err(EngineError::Conflict(cannot(&reason)));
    }
    if signal == nix::libc::SIGKILL {
        // Meant to end it, so that no restart policy brings it back.
        let order = StopOrder {
            signal: Some("SIGKILL".into()),
            grace_seconds: Some(0),
            ..StopOrder::default()
        };
        end(context, &found, order).await?;
    } else {
        context.containers.signal(&found.id, signal).await?;
    }
    context.events.kill(&state, &found, signal);
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/pause`
pub(in crate::api) async fn pause(context: &Context, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    match phase(context, &state, &found).await {
        Phase::Running => context.containers.pause(&found.id).await?,
        Phase::Paused => {
            let text = format!("Container {} is already paused", found.id);
            return Err(EngineError::Conflict(text));
        }
        _ => return Err(EngineError::NotRunning(found.id.to_string())),
    }
    context.events.container(&state, &found, "pause");
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/unpause`
pub(in crate::api) async fn unpause(context: &Context, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    if phase(context, &state, &found).await != Phase::Paused {
        return Err(EngineError::Conflict(format!(
            "Container {} is not paused",
            found.id
        )));
    }
    context.containers.unpause(&found.id).await?;
    context.events.container(&state, &found, "unpause");
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/rename?name=`
pub(in crate::api) async fn rename(context: &Context, call: &Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let name = call
        .params
        .get("name")
        .map(|name| name.trim_start_matches('/'));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(bad("Neither old nor new names may be empty"));
    };
    let command = Command::RenameContainer {
        container: found.id,
        name: name.to_owned(),
    };
    context.command(command).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/update`
pub(in crate::api) fn update(context: &Context, id: &str) -> Answer {
    lookup::container(&context.state(), id)?;
    Err(EngineError::NotImplemented(
        "changing the limits of an existing container is not supported by wharfie; create it anew"
            .into(),
    ))
}

/// `DELETE /containers/{id}?force=&v=`
pub(in crate::api) async fn delete(context: &Context, call: &Call, id: &str) -> Answer {
    if call.params.flag("link") {
        return Err(EngineError::NotImplemented(
            "links are not supported by wharfie".into(),
        ));
    }
    let state = context.state();
    let found = lookup::container(&state, id)?;
    let alive = phase(context, &state, &found).await.is_alive();
    let running = match call.params.flag("force") {
        true => RunningContainers::Kill,
        false if alive => {
            return Err(EngineError::Conflict(format!(
                "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
                found.id
            )));
        }
        false => RunningContainers::Spare,
    };
    let volumes = if call.params.flag("v") {
        Volumes::Delete
    } else {
        Volumes::Keep
    };
    remove(context, &found.id, running, volumes).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Removes a container and waits until nothing is left of it.
pub(super) async fn remove(
    context: &Context,
    id: &ContainerId,
    running: RunningContainers,
    volumes: Volumes,
) -> Result<(), EngineError> {
    let command = Command::RemoveContainer {
        container: id.clone(),
        running,
        volumes,
    };
    match context.command(command).await {
        // Two clients may remove it at a time; it is gone, as both wished.
        Err(EngineError::Refused(scheduler::control_plane::Refusal::UnknownContainer {
            ..
        })) => {
            return Ok(());
        }
        other => other?,
    };
    until(context, |state| state.container(id).is_none().then_some(())).await
}

fn order(call: &Call) -> Result<StopOrder, EngineError> {
    let signal = call.params.get("signal").map(str::to_owned);
    if let Some(name) = &signal {
        parse_signal(name).map_err(|_| bad(format!("Invalid signal: {name}")))?;
    }
    Ok(StopOrder {
        signal,
        grace_seconds: call.params.number("t")?,
        remove_volumes: false,
    })
}

async fn end(context: &Context, found: &Found, order: StopOrder) -> Result<(), EngineError> {
    let container = found.id.clone();
    let answer = context
        .command(Command::StopContainer { container, order })
        .await?;
    let revision = answer.revision;
    until(context, |state| {
        let over = state
            .container(&found.id)
            .is_none_or(|task| task.status.state.is_terminal());
        (state.version >= revision && over).then_some(())
    })
    .await
}

/// Waits until a container runs, or has run, or cannot.
pub(super) async fn running(
    context: &Context,
    id: &ContainerId,
    revision: u64,
) -> Result<(), EngineError> {
    restarted(context, id, None, revision).await
}

/// As [`running`], for a run after the one named.
async fn restarted(
    context: &Context,
    id: &ContainerId,
    before: Option<TaskId>,
    revision: u64,
) -> Result<(), EngineError> {
    let outcome = until(context, |state| {
        if state.version < revision {
            return None;
        }
        match state.container(id) {
            Some(task) if before.as_ref().is_some_and(|before| task.id <= *before) => None,
            Some(task) => started(task),
            // It ran, ended, and was removed since.
            None => Some(Ok(())),
        }
    });
    outcome.await?
}

/// `None` while nobody knows.
fn started(task: &Arc<Task>) -> Option<Result<(), EngineError>> {
    let status = &task.status;
    if status.started_at.is_some() || status.state == TaskState::Running {
        return Some(Ok(()));
    }
    status
        .state
        .is_terminal()
        .then(|| Err(start_error(&status.reason)))
}

/// The docker CLI makes its exit status of the words; Docker's status is 400 for bad commands.
fn start_error(reason: &str) -> EngineError {
    let of_command = [
        "executable file not found",
        "no such file or directory",
        "permission denied",
    ];
    match of_command.iter().any(|words| reason.contains(words)) {
        true => bad(reason),
        false => EngineError::Internal(reason.to_owned()),
    }
}

/// Waits until the state shows what is looked for. The client may leave any time.
pub(in crate::api) async fn until<T>(
    context: &Context,
    mut look: impl FnMut(&State) -> Option<T>,
) -> Result<T, EngineError> {
    let mut states = context.watch();
    loop {
        let state = states.borrow_and_update().clone();
        if let Some(found) = look(&state) {
            return Ok(found);
        }
        states
            .changed()
            .await
            .map_err(|_| EngineError::Unavailable("the node is being stopped".into()))?;
    }
}
