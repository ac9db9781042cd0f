//! From what a client wrote to what it means: identifiers, beginnings of identifiers, names.

use std::sync::Arc;

use scheduler::model::id::ContainerId;
use scheduler::model::network::Network;
use scheduler::model::service::{Service, ServiceSpec};
use scheduler::model::task::Task;
use scheduler::state::State;

use crate::api::error::EngineError;

/// A container: its last run, and what it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: ContainerId,
    pub(crate) task: Arc<Task>,
    pub(crate) service: Arc<Service>,
}

impl Found {
    /// The definition that the container was made from, which may not be the service's latest.
    pub(crate) fn spec(&self) -> &Arc<ServiceSpec> {
        self.service
            .versions
            .get(&self.task.version)
            .unwrap_or(&self.service.spec)
    }

    /// The last run that has ended, if any.
    pub(crate) fn ended<'a>(&self, state: &'a State) -> Option<&'a Arc<Task>> {
        state
            .container_tasks(&self.id)
            .rev()
            .find(|task| task.status.finished_at.is_some())
    }
}

/// Every container, the latest first.
pub(crate) fn containers(state: &State) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    // Task ids sort in the order of their making, so the last run comes first in reverse.
    let mut seen = std::collections::BTreeSet::new();
    for task in state.tasks.values().rev() {
        if seen.insert(&task.container)
            && let Some(service) = state.service_of(task)
        {
            all.push(Found {
                id: task.container.clone(),
                task: task.clone(),
                service: service.clone(),
            });
        }
    }
    all.sort_by_key(|found| std::cmp::Reverse(created_at(state, found)));
    all
}

/// When the container (not its last run) was made.
pub(crate) fn created_at(state: &State, found: &Found) -> scheduler::model::time::Timestamp {
    state
        .container_tasks(&found.id)
        .next()
        .map_or(found.task.created_at, |first| first.created_at)
}

/// Finds a container by identifier, by name (with or without `/`), or by the beginning of its identifier.
///
/// # Errors
///
/// [`EngineError::NoSuchContainer`], or [`EngineError::Ambiguous`].
pub(crate) fn container(state: &State, text: &str) -> Result<Found, EngineError> {
    let found = |task: &Arc<Task>| {
        let service = state.service_of(task)?.clone();
        Some(Found {
            id: task.container.clone(),
            task: task.clone(),
            service,
        })
    };
    let exact = state.container(&ContainerId::new(text));
    let name = text.strip_prefix('/').unwrap_or(text);
    // A name may be on two containers while one takes the place of the other: the last counts.
    let named = || state.tasks.values().rev().find(|task| task.name == name);
    if let Some(found) = exact.or_else(named).and_then(found) {
        return Ok(found);
    }
    let begins = |task: &&Arc<Task>| !text.is_empty() && task.container.as_str().starts_with(text);
    let mut ids: Vec<_> = state
        .tasks
        .values()
        .filter(begins)
        .map(|task| &task.container)
        .collect();
    ids.dedup();
    match ids.as_slice() {
        [] => Err(EngineError::NoSuchContainer(text.to_owned())),
        [first, rest @ ..] if rest.iter().all(|id| id == first) => state
            .container(first)
            .and_then(found)
            .ok_or_else(|| EngineError::NoSuchContainer(text.to_owned())),
        _ => Err(EngineError::Ambiguous(text.to_owned())),
    }
}

/// Finds a network by identifier, name, or the beginning of its identifier.
///
/// # Errors
///
/// [`EngineError::NoSuchNetwork`], or [`EngineError::Ambiguous`].
pub(crate) fn network<'a>(state: &'a State, text: &str) -> Result<&'a Arc<Network>, EngineError> {
    let exact = state
        .networks
        .values()
        .find(|network| network.id.as_str() == text);
    if let Some(network) = exact.or_else(|| state.network_named(text)) {
        return Ok(network);
    }
    let begins =
        |network: &&Arc<Network>| !text.is_empty() && network.id.as_str().starts_with(text);
    let mut found = state.networks.values().filter(begins);
    match (found.next(), found.next()) {
        (Some(network), None) => Ok(network),
        (Some(_), Some(_)) => Err(EngineError::Ambiguous(text.to_owned())),
        (None, _) => Err(EngineError::NoSuchNetwork(text.to_owned())),
    }
}
