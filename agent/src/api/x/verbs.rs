//! `POST /x/stacks/{name}/{down,start,stop,restart,kill,rm,rollback}`.

use scheduler::control_plane::Refusal;
use scheduler::control_plane::command::{Command, Dependents, RunningContainers, Volumes};
use scheduler::model::task::{Task, TaskState};
use scheduler::state::State;

use super::{Accepted, DownRequest, ServicesRequest};
use crate::api::call::Call;
use crate::api::docker::lookup;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};
use crate::api::{Context, relay};
use crate::container::spec::parse_signal;

/// `POST /x/stacks/{name}/down`
pub(super) async fn down(context: &Context, mut call: Call, name: &str) -> Answer {
    let request: DownRequest = call.json().await?;
    let command = Command::RemoveStack {
        stack: name.to_owned(),
        services: request.services,
        volumes: volumes(request.volumes),
        grace_seconds: request.timeout,
    };
    accept(context, command).await
}

fn volumes(delete: bool) -> Volumes {
    if delete {
        Volumes::Delete
    } else {
        Volumes::Keep
    }
}

/// `POST /x/stacks/{name}/{verb}`
pub(super) async fn verb(context: &Context, mut call: Call, name: &str, verb: &str) -> Answer {
    let request: ServicesRequest = call.json().await?;
    let stack = name.to_owned();
    let command = match verb {
        "start" => Command::StartServices {
            stack,
            services: request.services,
        },
        "stop" => Command::StopServices {
            stack,
            services: request.services,
            grace_seconds: request.timeout,
        },
        "restart" => Command::RestartServices {
            stack,
            services: request.services,
            grace_seconds: request.timeout,
            dependents: if request.no_deps {
                Dependents::Leave
            } else {
                Dependents::Restart
            },
        },
        "rm" => Command::RemoveStopped {
            stack,
            services: request.services,
            running: if request.stop {
                RunningContainers::Stop
            } else {
                RunningContainers::Spare
            },
            volumes: volumes(request.volumes),
        },
        "rollback" => Command::RollBack {
            stack,
            services: request.services,
        },
        "kill" => return kill(context, name, request).await,
        _ => return Err(EngineError::NoRoute),
    };
    accept(context, command).await
}

/// Writes the command down; what follows is for the watcher to see.
async fn accept(context: &Context, command: Command) -> Answer {
    let answer = context.command(command).await?;
    reply::json(&Accepted {
        revision: answer.revision,
        warnings: Vec::new(),
    })
}

/// A signal that ends containers is a wish for the state; any other goes to the processes.
async fn kill(context: &Context, name: &str, request: ServicesRequest) -> Answer {
    let signal = request.signal.unwrap_or_else(|| "SIGKILL".to_owned());
    let number = parse_signal(&signal)
        .map_err(|_| EngineError::BadRequest(format!("Invalid signal: {signal}")))?;
    let command = Command::KillServices {
        stack: name.to_owned(),
        services: request.services.clone(),
        signal,
    };
    match accept(context, command).await {
        Err(EngineError::Refused(Refusal::NotAnEndingSignal { .. })) => {
            send(context, name, &request.services, number).await
        }
        other => other,
    }
}

async fn send(context: &Context, stack: &str, services: &[String], signal: i32) -> Answer {
    let state = context.state();
    let wanted = |name: &String| services.is_empty() || services.contains(name);
    let mut failed = None;
    for service in state.stack_services(stack) {
        for task in state.service_tasks(&service.id) {
            if wanted(&service.spec.name) && task.status.state == TaskState::Running {
                let sent = signal_one(context, &state, task, signal).await;
                failed = failed.or(sent.err());
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    reply::json(&Accepted {
        revision: state.version,
        warnings: Vec::new(),
    })
}

async fn signal_one(
    context: &Context,
    state: &State,
    task: &Task,
    signal: i32,
) -> Result<(), EngineError> {
    let found = lookup::container(state, task.container.as_str())?;
    match relay::elsewhere(context, state, &found)? {
        None => Ok(context.containers.signal(&found.id, signal).await?),
        Some(place) => {
            let path = format!("/containers/{}/kill?signal={signal}", found.id);
            relay::tell(context, &place, &path).await
        }
    }
}
