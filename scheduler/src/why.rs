//! Why a service does not run, and where it could: what it waits for, what each node says, how it failed.
//!
//!     wanted, running ─┐
//!     what waits ──────┤
//!     each node's word ┼─► [`Why`]
//!     last failures ───┘
//!
//! Nothing is stored for it: the answers are those that the placement would give at this moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, NodeId};
use crate::model::node::{Node, NodeStatus};
use crate::model::service::Service;
use crate::model::task::{Task, TaskState};
use crate::model::time::Timestamp;
use crate::reconcile::place;
use crate::reconcile::slot;
use crate::state::State;
use crate::status::{self, ServicePhase};

/// Failures that are told of: more of them say the same again.
const FAILURES: usize = 5;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    pub stack: String,
    pub service: String,
    /// Containers wanted.
    pub wanted: u32,
    pub running: u32,
    pub phase: ServicePhase,
    /// Why it is not settled; empty when it is.
    pub reason: String,
    /// Containers that are wanted and do not run, by name.
    pub waiting: Vec<Waiting>,
    /// What each node says to one container more, by name.
    pub nodes: Vec<NodeAnswer>,
    /// Why no node needs to be asked.
    pub unaskable: Option<String>,
    /// The latest first.
    pub failures: Vec<Failure>,
    /// Ways between nodes that are broken, from or to those where it runs.
    #[serde(default)]
    pub cut_off: Vec<CutOff>,
}

/// A node whose containers do not reach those on another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    pub from: String,
    pub to: String,
    pub since: Timestamp,
}

/// A container that does not run yet, or not any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub name: String,
    pub node: Option<String>,
    pub state: TaskState,
    pub since: Timestamp,
    pub reason: String,
}

/// A node, and whether it could have one container more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    pub node: String,
    /// `None` when it could.
    pub objection: Option<String>,
    /// Containers of the service that run there.
    pub running: u32,
}

/// A run that failed, could not begin, or was lost with its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub id: ContainerId,
    pub name: String,
    pub node: Option<String>,
    pub at: Timestamp,
    /// Absent when it never ran, or nobody knows.
    pub exit_code: Option<i32>,
    pub reason: String,
}

/// What there is to say about a service; `None` when the stack has none of this name.
pub fn of(state: &State, stack: &str, name: &str) -> Option<Why> {
    let service = state.service_named(stack, name)?;
    let summary = status::of(state, stack);
    let summary = summary.services.into_iter().find(|it| it.name == name)?;
    let (nodes, unaskable) = nodes(state, service);
    Some(Why {
        stack: stack.to_owned(),
        service: name.to_owned(),
        wanted: summary.wanted,
        running: u32::try_from(running(state, service).count()).unwrap_or(u32::MAX),
        phase: summary.phase,
        reason: summary.reason,
        waiting: waiting(state, service),
        nodes,
        unaskable,
        failures: failures(state, service),
        cut_off: cut_off(state, service),
    })
}

fn cut_off(state: &State, service: &Service) -> Vec<CutOff> {
    let nodes = running(state, service).filter_map(|task| task.node.as_ref());
    let here: BTreeSet<&NodeId> = nodes.collect();
    let rows = state.nodes.values();
    let ways = rows.flat_map(|from| {
        status::cut_off(state, from).map(move |(to, since)| (from.as_ref(), to, since))
    });
    ways.filter(|(from, to, _)| here.contains(&from.id) || here.contains(&to.id))
        .map(|(from, to, since)| CutOff {
            from: from.name().to_owned(),
            to: to.name().to_owned(),
            since,
        })
        .collect()
}

fn running<'a>(state: &'a State, service: &Service) -> impl Iterator<Item = &'a Task> {
    let tasks = state.service_tasks(&service.id).map(AsRef::as_ref);
    tasks.filter(|task: &&Task| {
        task.status.state == TaskState::Running && lost_with(state, task).is_none()
    })
}

/// The node of a task, when that is down: what it said last may not be so any more.
fn lost_with<'a>(state: &'a State, task: &Task) -> Option<&'a Node> {
    let node = state.nodes.get(task.node.as_ref()?)?;
    (node.status == NodeStatus::Down).then_some(node.as_ref())
}

fn waiting(state: &State, service: &Service) -> Vec<Waiting> {
    let wanted = slot::active(state, service);
    let last = state.slots(&service.id);
    let waits = |task: &&Task| {
        wanted.contains(&task.slot)
            && match task.status.state {
                TaskState::Complete => false,
                TaskState::Running => lost_with(state, task).is_some(),
                _ => true,
            }
    };
    let tasks = last.values().map(AsRef::as_ref).filter(waits);
    tasks.map(|task| waiting_one(state, task)).collect()
}

fn waiting_one(state: &State, task: &Task) -> Waiting {
    let status = &task.status;
    let (state_shown, since, reason) = match lost_with(state, task) {
        Some(node) if status.state == TaskState::Running => {
            // It was not given up: its data is there, or it is made for that node.
            let reason = format!("node {} is down, and it can run nowhere else", node.name());
            (TaskState::Orphaned, node.status_since, reason)
        }
        Some(_) | None => (status.state, status.at, status.reason.clone()),
    };
    Waiting {
        name: task.name.clone(),
        node: node_name(state, task.node.as_ref()),
        state: state_shown,
        since,
        reason,
    }
}

fn nodes(state: &State, service: &Service) -> (Vec<NodeAnswer>, Option<String>) {
    let answers = match place::ask_all(state, service) {
        Ok(answers) => answers,
        Err(why) => return (Vec::new(), Some(why.to_string())),
    };
    let mut here: BTreeMap<&NodeId, u32> = BTreeMap::new();
    for node in running(state, service).filter_map(|task| task.node.as_ref()) {
        *here.entry(node).or_default() += 1;
    }
    let mut nodes: Vec<NodeAnswer> = answers
        .into_iter()
        .map(|(node, objection)| NodeAnswer {
            running: here.get(&node).copied().unwrap_or_default(),
            objection: objection.map(|it| it.to_string()),
            node: node_name(state, Some(&node)).unwrap_or_default(),
        })
        .collect();
    nodes.sort_by(|one, other| one.node.cmp(&other.node));
    (nodes, None)
}

fn failures(state: &State, service: &Service) -> Vec<Failure> {
    let failed = |task: &&Task| {
        matches!(
            task.status.state,
            TaskState::Failed | TaskState::Rejected | TaskState::Orphaned
        )
    };
    let tasks = state.service_tasks(&service.id).map(AsRef::as_ref);
    let mut failures: Vec<Failure> = tasks
        .filter(failed)
        .map(|task: &Task| Failure {
            id: task.container.clone(),
            name: task.name.clone(),
            node: node_name(state, task.node.as_ref()),
            at: task.status.finished_at.unwrap_or(task.status.at),
            exit_code: task.status.exit_code,
            reason: task.status.reason.clone(),
        })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.at));
    failures.truncate(FAILURES);
    failures
}

fn node_name(state: &State, node: Option<&NodeId>) -> Option<String> {
    let node = node?;
    let row = state.nodes.get(node);
    Some(row.map_or_else(|| node.short().to_owned(), |row| row.name().to_owned()))
}

#[cfg(test)]
mod tests;
