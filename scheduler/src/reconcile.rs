//! What must change so that what is becomes what is wanted.
//!
//!     nodes ─► services ─► rollout ─► restart ─► stop ─► gate ─► allocate ─► place ─► judge ─► reap ─┐
//!       ▲                                                                                            │
//!       └───────────────────────────────── until nothing changes ───────────────────────────────────┘
//!
//! Each pass looks at the state as the ones before have left it and adds changes of one kind. None
//! of them remembers anything: what has been done is read off the tasks, so that another leader
//! goes on exactly where the last one stopped.

pub mod allocate;
pub mod gate;
pub mod memory;
pub mod place;
pub mod restart;
pub mod rollout;
pub mod slot;

mod authority;
mod nodes;
mod reap;
mod services;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use self::memory::Memory;
use crate::model::id::NodeId;
use crate::model::node::Node;
use crate::model::task::{DesiredState, Task, TaskStatus};
use crate::model::time::Timestamp;
use crate::report::{Report, Rerun, is_news};
use crate::state::{Change, Draft};

/// A pass makes way for the next at most this many times: replace, stop, remove, place in a row.
const ROUNDS: usize = 8;

/// Runs the passes until they have nothing more to say. Returns when time alone will give them
/// something to do, if nothing else happens before. The memory is that of the decision before.
pub fn reconcile(draft: &mut Draft<'_>, memory: &mut Memory) -> Option<Timestamp> {
    let mut wake_at = None;
    for _ in 0..ROUNDS {
        let before = draft.len();
        wake_at = round(draft, memory);
        if draft.len() == before {
            #[cfg(debug_assertions)]
            assert_rest(draft, wake_at);
            break;
        }
    }
    memory.tidy(draft.state());
    wake_at
}

fn round(draft: &mut Draft<'_>, memory: &mut Memory) -> Option<Timestamp> {
    authority::pass(draft);
    nodes::pass(draft);
    services::pass(draft);
    let next_step = rollout::pass(draft, memory);
    restart::pass(draft);
    stop::pass(draft);
    let open = gate::pass(draft);
    let open = allocate::pass(draft, open);
    place::pass(draft, open);
    let next_verdict = rollout::judge(draft, memory);
    reap::pass(draft);
    [next_step, next_verdict].into_iter().flatten().min()
}

/// Who is left alone because it is at rest, or was looked at before, would have been left as it is.
#[cfg(debug_assertions)]
fn assert_rest(draft: &mut Draft<'_>, wake_at: Option<Timestamp>) {
    let (mark, before) = (draft.mark(), draft.len());
    draft.disturb();
    let again_at = round(draft, &mut Memory::default());
    assert_eq!(draft.len(), before, "not at rest: {draft:?}");
    // Being woken too early costs a look and changes nothing.
    let in_time = again_at.is_none_or(|again_at| wake_at.is_some_and(|at| at <= again_at));
    assert!(
        in_time,
        "{again_at:?} was forgotten, {wake_at:?} remembered"
    );
    draft.rewind(mark);
}

/// Takes over what a node says, as far as it is news about what is the node's.
pub fn observe(draft: &mut Draft<'_>, node: &NodeId, report: &Report) {
    // First: what a task says of its last end is judged by how often it was started.
    for rerun in &report.reruns {
        take_over(draft, node, rerun);
    }
    for (id, status) in &report.tasks {
        let Some(task) = draft.state().tasks.get(id) else {
            continue;
        };
        if task.node.as_ref() != Some(node) {
            continue;
        }
        let status = by_own_clock(task, status, draft.now);
        if is_news(task, &status) {
            let status = restart::verdict(task, status);
            draft.push(Change::Observe(id.clone(), Box::new(status)));
        }
    }
    for id in &report.removed_containers {
        let last = draft.state().container(id);
        let asked = last.is_some_and(|run| {
            run.desired == DesiredState::Remove && run.node.as_ref() == Some(node)
        });
        if asked {
            draft.push(Change::ForgetContainer(id.clone()));
        }
    }
    for name in &report.removed_volumes {
        forget_volume(draft, node, name);
    }
    if let Some(addresses) = &report.cut_off {
        note_cut_off(draft, node, addresses);
    }
}

/// Keeps the times of those that were cut off before.
fn note_cut_off(draft: &mut Draft<'_>, node: &NodeId, addresses: &BTreeSet<IpAddr>) {
    let state = draft.state();
    let Some(row) = state.nodes.get(node) else {
        return;
    };
    let ends_there = |it: &&Arc<Node>| it.address.is_some_and(|at| addresses.contains(&at.ip()));
    let others = state.nodes.values().filter(|it| it.id != *node);
    let cut_off = others.filter(ends_there).map(|other| {
        let since = row.cut_off.get(&other.id).copied();
        (other.id.clone(), since.unwrap_or(draft.now))
    });
    let cut_off: BTreeMap<NodeId, Timestamp> = cut_off.collect();
    if cut_off != row.cut_off {
        let mut row = (**row).clone();
        row.cut_off = cut_off;
        draft.push(Change::SetNode(Arc::new(row)));
    }
}

/// Since when it is in its state, by the clock that this is compared with: a node's may be minutes off.
fn by_own_clock(task: &Task, status: &TaskStatus, now: Timestamp) -> TaskStatus {
    let same = status.state == task.status.state;
    TaskStatus {
        at: if same { task.status.at } else { now },
        ..status.clone()
    }
}

/// Counts what a node has restarted by itself, so that nobody does it once more.
fn take_over(draft: &mut Draft<'_>, node: &NodeId, rerun: &Rerun) {
    let Some(task) = draft.state().tasks.get(&rerun.task) else {
        return;
    };
    let ours = task.node.as_ref() == Some(node) && !task.status.state.is_terminal();
    if !ours || task.restarts >= rerun.tally.restarts {
        return;
    }
    let mut task = (**task).clone();
    task.restarts = rerun.tally.restarts;
    task.failures = rerun.tally.failures;
    draft.set_task(task);
}

/// A volume that was deployed again while its data was being deleted begins anew.
fn forget_volume(draft: &mut Draft<'_>, node: &NodeId, name: &str) {
    let state = draft.state();
    let Some(volume) = state.volumes.get(name) else {
        return;
    };
    if !volume.removing || volume.node.as_ref() != Some(node) {
        return;
    }
    let wanted = state.services.values().any(|service| {
        service.removal.is_none() && slot::volumes(&service.spec.container).any(|it| it == name)
    });
    if !wanted {
        draft.push(Change::RemoveVolume(name.to_owned()));
        return;
    }
    let mut volume = (**volume).clone();
    volume.removing = false;
    volume.node = None;
    draft.push(Change::SetVolume(Arc::new(volume)));
}

#[cfg(test)]
mod tests;
