//! Asks the node to change a stack, follows the change, and tells what went wrong with it.

use std::collections::BTreeSet;
use std::fmt::Write;

use agent::api::x::{Accepted, ServicesRequest};
use hyper::Method;
use scheduler::model::rollout::RolloutPhase;
use scheduler::model::stack::Stack;
use scheduler::model::task::TaskState;
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};
use serde::Serialize;

use crate::connect::{ApiError, Client};
use crate::error::{Failure, INTERRUPTED, Outcome};
use crate::follow::{self, Verdict, stack_path};
use crate::log::{Query, Reader};
use crate::output;
use crate::progress::{Differ, Intent};
use crate::project::Context;

/// Lines of a failed container's log that are shown.
const SHOWN_LINES: u64 = 10;

/// Sends a request about a stack and prints the warnings that come back.
pub(crate) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<Accepted, ApiError> {
    let accepted: Accepted = client.send_json(method, path, body).await?;
    for warning in &accepted.warnings {
        output::note(format!("warning: {warning}"));
    }
    Ok(accepted)
}

/// The services and everything that they need, in the order of their names. All when none is named.
pub(crate) fn with_dependencies(stack: &Stack, services: &[String]) -> Vec<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<&String> = match services.is_empty() {
        true => stack.services.keys().collect(),
        false => services.iter().collect(),
    };
    while let Some(name) = open.pop() {
        if let Some(service) = stack.services.get(name)
            && found.insert(name.clone())
        {
            open.extend(service.depends_on.keys());
        }
    }
    found.into_iter().collect()
}

/// `start`, `stop`, `restart`, `kill`: a request about services that exist, and the way to its end.
pub(crate) struct ServiceAction {
    /// The last part of the path.
    pub(crate) verb: &'static str,
    pub(crate) title: &'static str,
    pub(crate) intent: Intent,
    pub(crate) request: ServicesRequest,
}

impl ServiceAction {
    pub(crate) async fn run(
        self,
        context: &Context,
        goal: impl Fn(&StackStatus, &[String]) -> Verdict,
    ) -> Outcome {
        let named = context.named()?;
        let project = named.name.clone();
        let Some(client) = context.existing_node().await? else {
            return Err(nothing_found(&project));
        };
        let before = follow::status(&client, &project).await?;
        let services = self.request.services.clone();
        named.check(&services, |name| {
            before.services.iter().any(|it| it.name == name)
        })?;
        if before.services.iter().all(|it| it.containers.is_empty()) {
            return Err(nothing_found(&project));
        }
        let path = stack_path(&project, &format!("/{}", self.verb));
        let accepted = ask(&client, Method::POST, &path, &self.request).await?;
        let mut differ = Differ::new(&before, self.intent).only(&services);
        let mut progress = context.progress(self.title);
        let converge = follow::converge(
            &client,
            &project,
            accepted.revision,
            &mut differ,
            &mut progress,
            |stack| goal(stack, &services),
        );
        let (verdict, status) = interruptible(converge).await?;
        finish(&client, &verdict, &status).await
    }
}

fn nothing_found(project: &str) -> Failure {
    Failure::new(format!("no container found for project \"{project}\""))
        .hint("Start it with `wharfie up -d`.")
}

/// Waits for the future, or for Ctrl-C: what was asked for then goes on without us.
pub(crate) async fn interruptible<T, E: Into<Failure>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done.map_err(Into::into),
        _ = tokio::signal::ctrl_c() => {
            output::note("\nWhat was asked for goes on in the background.");
            Err(Failure::silent(INTERRUPTED))
        }
    }
}

/// Success, or what failed, in what container, and who waited for it.
pub(crate) async fn finish(client: &Client, verdict: &Verdict, status: &StackStatus) -> Outcome {
    match verdict {
        Verdict::Failed(services) => Err(failure(client, services, status).await),
        Verdict::Reached | Verdict::NotYet => Ok(std::process::ExitCode::SUCCESS),
    }
}

/// Prints the end of the log of every container that failed, and says why the stack is not up.
async fn failure(client: &Client, services: &[String], status: &StackStatus) -> Failure {
    let services = to_blame(services, status);
    for name in &services {
        for container in culprits(status, name) {
            show_log(client, container).await;
        }
    }
    Failure::new(story(&services, status))
        .hint("The containers are kept: see `wharfie ps -a` and `wharfie logs`.")
}

/// The failed services, and what they wait for and cannot get: that has containers to look at.
fn to_blame(failed: &[String], status: &StackStatus) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<&String> = failed.iter().rev().collect();
    while let Some(name) = open.pop() {
        if found.contains(name) {
            continue;
        }
        found.push(name.clone());
        let service = status.services.iter().find(|it| it.name == *name);
        if let Some(service) = service.filter(|_| culprits(status, name).next().is_none()) {
            open.extend(&service.depends_on);
        }
    }
    found
}

fn culprits<'a>(
    status: &'a StackStatus,
    service: &str,
) -> impl Iterator<Item = &'a ContainerStatus> {
    let service = status.services.iter().find(|it| it.name == service);
    service
        .into_iter()
        .flat_map(|service| service.containers.iter().map(move |it| (service, it)))
        .filter(|(service, it)| {
            let is_unhealthy = it
                .health
                .as_ref()
                .is_some_and(|it| it.status == scheduler::model::task::HealthStatus::Unhealthy);
            matches!(it.state, TaskState::Failed | TaskState::Rejected)
                || is_unhealthy
                || keeps_ending(service, it)
        })
        .map(|(_, it)| it)
}

/// It has been given up although its policy starts it again.
fn keeps_ending(service: &ServiceStatus, container: &ContainerStatus) -> bool {
    service.phase == ServicePhase::Failed && container.restarted_after.is_some()
}

/// `service migrate failed: container shop-migrate-1 exited with code 3; web was waiting for it`
fn story(services: &[String], status: &StackStatus) -> String {
    let mut parts = Vec::new();
    // A service that failed only because another one did is told as waiting for that one.
    let has_culprit =
        |name: &&String| culprits(status, name).next().is_some() || update(status, name).is_some();
    let roots: Vec<&String> = services.iter().filter(has_culprit).collect();
    let told = if roots.is_empty() {
        services.iter().collect()
    } else {
        roots
    };
    for name in told {
        let Some(service) = status.services.iter().find(|it| it.name == *name) else {
            continue;
        };
        let mut part = format!("service {name} failed");
        let update = update(status, name);
        match culprits(status, name).next() {
            _ if update.is_some() => {
                part = format!("service {name}: {}", update.unwrap_or_default());
            }
            Some(it) if keeps_ending(service, it) => {
                let ended = it.restarted_after.as_deref().unwrap_or_default();
                let runs = it.restarts;
                let _ = write!(
                    part,
                    ": container {} keeps ending ({ended}, restarted {runs} times)",
                    it.name
                );
            }
            Some(it) if it.unstarted => {
                let _ = write!(
                    part,
                    ": container {} could not be started: {}",
                    it.name, it.reason
                );
            }
            Some(it) if it.state == TaskState::Failed && it.exit_code.is_some() => {
                let code = it.exit_code.unwrap_or_default();
                let _ = write!(part, ": container {} exited with code {code}", it.name);
            }
            Some(it) if !it.state.is_terminal() => {
                let _ = write!(part, ": container {} is unhealthy", it.name);
                if let Some(failures) = it.health.as_ref().and_then(|it| it.failures()) {
                    let _ = write!(part, " ({failures})");
                }
            }
            Some(it) => {
                let _ = write!(part, ": container {}: {}", it.name, it.reason);
            }
            None => {
                let _ = write!(part, ": {}", service.reason);
            }
        }
        let waiting: Vec<_> = status
            .services
            .iter()
            .filter(|it| it.depends_on.contains(name) && it.phase != ServicePhase::Settled)
            .map(|it| it.name.as_str())
            .collect();
        if let Some((last, others)) = waiting.split_last() {
            let names = if others.is_empty() {
                format!("{last} was")
            } else {
                format!("{} and {last} were", others.join(", "))
            };
            let _ = write!(part, "; {names} waiting for it");
        }
        parts.push(part);
    }
    parts.join("\n")
}

/// How the update of a service has ended, if not well: `rolled back: …`.
fn update<'a>(status: &'a StackStatus, service: &str) -> Option<&'a str> {
    let service = status.services.iter().find(|it| it.name == service)?;
    let rollout = service.rollout.as_ref()?;
    let bad = matches!(
        rollout.phase,
        RolloutPhase::Paused | RolloutPhase::RollbackPaused | RolloutPhase::RolledBack
    );
    bad.then_some(rollout.text.as_str())
}

async fn show_log(client: &Client, container: &ContainerStatus) {
    let query = Query {
        tail: Some(SHOWN_LINES),
        ..Query::default()
    };
    let lines = async {
        Reader::open(client, container.id.as_str(), &query)
            .await?
            .all()
            .await
    };
    // A container that never was has no log; the story says why.
    let Ok(lines) = lines.await else { return };
    if lines.is_empty() {
        return;
    }
    output::note(format!("the end of the log of {}:", container.name));
    for line in lines {
        output::note(format!("  {}", String::from_utf8_lossy(&line.text)));
    }
}

#[cfg(test)]
mod tests;
