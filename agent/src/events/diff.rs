//! The events that lie between two states.
//!
//! States may be skipped: a container that began and ended between two looks tells both. Within
//! one difference networks and volumes come before the containers that use them, and go after.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::build::labels;
use scheduler::model::service::Service;
use scheduler::model::task::{HealthStatus, Task, TaskState};
use scheduler::model::time::Timestamp;
use scheduler::state::State;

use super::{Event, Kind, Source};

/// What happened between two states, in the order in which it happened.
pub fn diff(before: &State, after: &State) -> Vec<Event> {
    let mut events = Vec::new();
    resources(before, after, after.at, "create", &mut events);
    if !before.tasks.is_same(&after.tasks) {
        containers(before, after, &mut events);
    }
    resources(after, before, after.at, "destroy", &mut events);
    events
}

/// Networks and volumes that are in `there` and not in `here`.
fn resources(here: &State, there: &State, at: Timestamp, action: &str, events: &mut Vec<Event>) {
    let mut tell = |kind, actor: &str, attributes: [(&str, &str); 2]| {
        events.push(Event {
            source: Source::State,
            at,
            kind,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: attributes
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        });
    };
    if !here.networks.is_same(&there.networks) {
        for (id, network) in there
            .networks
            .iter()
            .filter(|(id, _)| !here.networks.contains_key(*id))
        {
            let name = network.spec.name.as_str();
            tell(
                Kind::Network,
                id.as_str(),
                [("name", name), ("type", "bridge")],
            );
        }
    }
    if !here.volumes.is_same(&there.volumes) {
        for name in there
            .volumes
            .keys()
            .filter(|name| !here.volumes.contains_key(*name))
        {
            tell(Kind::Volume, name, [("driver", "local"), ("name", "")]);
        }
    }
}

fn containers(before: &State, after: &State, events: &mut Vec<Event>) {
    let mut found = Vec::new();
    for (id, task) in after.tasks.iter() {
        let old = before.tasks.get(id);
        if old.is_some_and(|old| Arc::ptr_eq(old, task)) {
            continue;
        }
        let Some(service) = after.service_of(task) else {
            continue;
        };
        let tell = Tell {
            state: after,
            task,
            service,
        };
        if old.is_none() && before.container(&task.container).is_none() && is_first(after, task) {
            found.push(tell.event(task.created_at, "create", []));
        }
        if let Some(old) = old.filter(|old| old.name != task.name) {
            let was = ("oldName", format!("/{}", old.name));
            found.push(tell.event(after.at, "rename", [was]));
        }
        run(&tell, old, &mut found);
    }
    for (id, task) in before.tasks.iter() {
        let last = before
            .container(&task.container)
            .is_some_and(|last| last.id == *id);
        let gone = after.container(&task.container).is_none();
        if let (true, true, Some(service)) = (last, gone, before.service_of(task)) {
            let tell = Tell {
                state: before,
                task,
                service,
            };
            if task.status.state == TaskState::Running {
                // Its end came and went between two looks.
                found.push(tell.event(after.at, "die", [("exitCode", "137".to_owned())]));
            }
            found.push(tell.event(after.at, "destroy", []));
        }
    }
    // The sort is stable: what has the same time stays in the order of a container's life.
    found.sort_by_key(|event| event.at);
    events.append(&mut found);
}

fn is_first(state: &State, task: &Task) -> bool {
    state
        .container_tasks(&task.container)
        .next()
        .is_some_and(|first| first.id == task.id)
}

/// What one run went through.
fn run(tell: &Tell<'_>, old: Option<&Arc<Task>>, found: &mut Vec<Event>) {
    let status = &tell.task.status;
    let had_started = old.is_some_and(|old| old.status.started_at.is_some());
    if let Some(at) = status.started_at.filter(|_| !had_started) {
        found.push(tell.event(at, "start", []));
    }
    let health = |task: &Task| task.status.health.as_ref().map(|health| health.status);
    let now = health(tell.task);
    if now != old.and_then(|old| health(old)) {
        let word = match now {
            Some(HealthStatus::Healthy) => Some("healthy"),
            Some(HealthStatus::Unhealthy) => Some("unhealthy"),
            Some(HealthStatus::Starting) | None => None,
        };
        if let Some(word) = word {
            found.push(tell.event(
                status.at.max(tell.task.created_at),
                &format!("health_status: {word}"),
                [],
            ));
        }
    }
    let had_ended = old.is_some_and(|old| old.status.state.is_terminal());
    if status.state.is_terminal() && !had_ended && status.started_at.is_some() {
        let at = status.finished_at.unwrap_or(status.at);
        if status.oom_killed {
            found.push(tell.event(at, "oom", []));
        }
        let code = status.exit_code.unwrap_or_default().to_string();
        found.push(tell.event(at, "die", [("exitCode", code)]));
        if status.state == TaskState::Shutdown {
            found.push(tell.event(at, "stop", []));
        }
    }
}

/// A container to tell of.
struct Tell<'a> {
    state: &'a State,
    task: &'a Task,
    service: &'a Service,
}

impl Tell<'_> {
    fn event<const N: usize>(
        &self,
        at: Timestamp,
        action: &str,
        more: [(&str, String); N],
    ) -> Event {
        let mut attributes = attributes(self.state, self.task, self.service);
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        Event {
            source: Source::State,
            at,
            kind: Kind::Container,
            action: action.to_owned(),
            actor: self.task.container.to_string(),
            attributes,
        }
    }
}

/// Labels, image and name: tools route events by them.
pub(super) fn attributes(
    state: &State,
    task: &Task,
    service: &Service,
) -> BTreeMap<String, String> {
    let spec = service.versions.get(&task.version).unwrap_or(&service.spec);
    let mut attributes = labels(state, service, spec, task);
    attributes.insert("image".to_owned(), spec.container.image.clone());
    attributes.insert("name".to_owned(), task.name.clone());
    attributes
}

#[cfg(test)]
mod tests;
