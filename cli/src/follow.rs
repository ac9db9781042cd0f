//! Waits until a stack is as a command wants it, and shows the way there.

mod past;

use std::time::Duration;

use scheduler::model::rollout::RolloutPhase;
use scheduler::model::task::{DesiredState, Fault, HealthStatus, TaskState};
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};
use tokio::time::{MissedTickBehavior, interval};

use crate::connect::{ApiError, Client, JsonLines, escape};
use crate::progress::{Differ, Progress};

pub(crate) use past::{Awaited, Past};

/// How often the board is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What a picture says about a goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    NotYet,
    Reached,
    /// These services will not get there.
    Failed(Vec<String>),
}

/// The path of a stack, or of something below it.
pub(crate) fn stack_path(name: &str, below: &str) -> String {
    format!("/x/stacks/{}{below}", escape(name))
}

/// The stack as it is now.
pub(crate) async fn status(client: &Client, stack: &str) -> Result<StackStatus, ApiError> {
    let found = client.find(&stack_path(stack, "")).await?;
    Ok(found.unwrap_or_else(|| StackStatus {
        name: stack.to_owned(),
        ..StackStatus::default()
    }))
}

/// Opens the stream of pictures; the first one is the present.
pub(crate) async fn watch(
    client: &Client,
    stack: &str,
) -> Result<JsonLines<StackStatus>, ApiError> {
    client.watch(&stack_path(stack, "/watch")).await
}

/// Shows what happens until the goal has its verdict, and returns the last picture as well.
///
/// Pictures older than `revision` do not contain the request yet and are passed over. A stream that
/// ends (the node was restarted) is opened again.
pub(crate) async fn converge(
    client: &Client,
    stack: &str,
    revision: u64,
    differ: &mut Differ,
    progress: &mut Progress,
    goal: impl Fn(&StackStatus) -> Verdict,
) -> Result<(Verdict, StackStatus), ApiError> {
    let mut pictures = watch(client, stack).await?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first tick is at once; a command that is done in its first picture draws only once.
    frames.reset();
    loop {
        tokio::select! {
            picture = pictures.next() => match picture? {
                Some(picture) if picture.revision < revision => {}
                Some(picture) => {
                    let picture = differ.past().judge(picture);
                    for event in differ.events(&picture) {
                        progress.show(event);
                    }
                    let verdict = goal(&picture);
                    if verdict != Verdict::NotYet {
                        if verdict == Verdict::Reached {
                            for event in differ.last_words(&picture) {
                                progress.show(event);
                            }
                        }
                        progress.redraw();
                        return Ok((verdict, picture));
                    }
                }
                None => {
                    tokio::time::sleep(FRAME).await;
                    pictures = watch(client, stack).await?;
                }
            },
            _ = frames.tick() => progress.redraw(),
        }
    }
}

/// How far `up` wants its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// `--no-start`: the containers exist.
    Created,
    /// They have been started.
    Started,
    /// `--wait`: they are running and, where that is checked, healthy.
    Healthy,
}

/// The verdict on some services, or on all when `services` is empty.
pub(crate) fn reached(stack: &StackStatus, services: &[String], want: Want) -> Verdict {
    let in_scope = |it: &&ServiceStatus| services.is_empty() || services.contains(&it.name);
    let scope: Vec<_> = stack.services.iter().filter(in_scope).collect();
    let failed: Vec<_> = scope
        .iter()
        .filter(|it| has_failed(it, want))
        .map(|it| it.name.clone())
        .collect();
    // One that waits for what has failed has the failed one to blame.
    if !failed.is_empty() {
        return Verdict::Failed(failed);
    }
    let all = scope
        .iter()
        .filter(|it| it.phase != ServicePhase::Removing)
        .all(|it| is_there(it, want));
    // Orphans and networks on their way out are waited for as well.
    if all && !(services.is_empty() && is_leaving(stack)) {
        Verdict::Reached
    } else {
        Verdict::NotYet
    }
}

/// Verdict of `rollback`: the services are as they are wanted now, whatever was wanted before.
pub(crate) fn settled(stack: &StackStatus, services: &[String]) -> Verdict {
    let scope = || {
        stack
            .services
            .iter()
            .filter(|it| services.contains(&it.name))
    };
    let failed = scope().filter(|it| it.phase == ServicePhase::Failed);
    let failed: Vec<_> = failed.map(|it| it.name.clone()).collect();
    if !failed.is_empty() {
        return Verdict::Failed(failed);
    }
    match scope().all(|it| it.phase == ServicePhase::Settled) {
        true => Verdict::Reached,
        false => Verdict::NotYet,
    }
}

/// Whether the service runs again what it ran before, because what was wanted has failed.
pub(crate) fn is_rolled_back(service: &ServiceStatus) -> bool {
    let rollout = service.rollout.as_ref();
    rollout.is_some_and(|it| it.phase == RolloutPhase::RolledBack)
}

/// Whether containers of services that are no longer wanted are still there.
pub(crate) fn is_leaving(stack: &StackStatus) -> bool {
    let mut services = stack.services.iter();
    services.any(|it| it.phase == ServicePhase::Removing && !it.containers.is_empty())
}

/// Containers that `up` made and wants.
fn wanted(service: &ServiceStatus) -> impl Iterator<Item = &ContainerStatus> {
    service
        .containers
        .iter()
        .filter(|it| it.desired != DesiredState::Remove && !it.one_off)
}

fn has_failed(service: &ServiceStatus, want: Want) -> bool {
    let is_ill = |it| health(it) == Some(HealthStatus::Unhealthy);
    is_rolled_back(service)
        || match want {
            Want::Created | Want::Started => {
                service.phase == ServicePhase::Failed && !has_run(service)
            }
            Want::Healthy => service.phase == ServicePhase::Failed || wanted(service).any(is_ill),
        }
}

/// All its containers were started, and what has failed of it is only what they ran: how soon a program
/// ends with an error is no matter of `up -d`, which may be told of it or not. It is one of an update,
/// which judges its containers itself.
fn has_run(service: &ServiceStatus) -> bool {
    let update = service.rollout.as_ref();
    let is_updated = update.is_none_or(|it| it.phase == RolloutPhase::Completed);
    let containers: Vec<_> = wanted(service).filter(|it| it.current).collect();
    let began = |it: &&ContainerStatus| match it.state {
        TaskState::Running | TaskState::Complete | TaskState::Shutdown => true,
        TaskState::Failed => it.fault == Some(Fault::Program),
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Preparing
        | TaskState::Ready
        | TaskState::Starting
        | TaskState::Rejected
        | TaskState::Orphaned => false,
    };
    is_updated && containers.len() >= service.wanted as usize && containers.iter().all(began)
}

fn health(container: &ContainerStatus) -> Option<HealthStatus> {
    container.health.as_ref().map(|it| it.status)
}

fn is_there(service: &ServiceStatus, want: Want) -> bool {
    let is_settled = service.phase == ServicePhase::Settled;
    match want {
        Want::Created => is_settled || wanted(service).all(|it| it.state >= TaskState::Ready),
        Want::Started => is_settled || (service.phase == ServicePhase::Failed && has_run(service)),
        Want::Healthy => {
            is_settled
                && wanted(service).all(|it| {
                    it.state.is_terminal()
                        || !service.has_healthcheck
                        || health(it) == Some(HealthStatus::Healthy)
                })
        }
    }
}

/// Verdict of `stop` and `kill`: nothing of these services runs.
pub(crate) fn stopped(stack: &StackStatus, services: &[String]) -> Verdict {
    let all_ended = stack
        .services
        .iter()
        .filter(|it| services.is_empty() || services.contains(&it.name))
        .flat_map(|it| &it.containers)
        .all(|it| it.one_off || it.state.is_terminal() || it.desired == DesiredState::Ready);
    if all_ended {
        Verdict::Reached
    } else {
        Verdict::NotYet
    }
}

#[cfg(test)]
mod tests;
