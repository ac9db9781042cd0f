//! Which of a node's own things a container gets: by name, where they have names.
//!
//!     node: gpu = a, b, c      containers that are there: gpu = b      wish: gpu, 2      granted: a, c
//!
//! What a container was granted is a part of it, as its addresses are: it has the same when it is run
//! again, and waits when somebody else has been given it while it did not run.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::container::ContainerSpec;
use crate::model::id::NodeId;
use crate::model::task::Task;
use crate::state::State;
use crate::state::load::holds_place;

/// What is granted on a node that has room for the wish.
pub(super) fn of(
    state: &State,
    spec: &ContainerSpec,
    task: &Task,
    node: &NodeId,
) -> BTreeMap<String, Vec<String>> {
    let wishes = &spec.resources.generic_reservations;
    if wishes.is_empty() || !task.resources.is_empty() {
        return task.resources.clone();
    }
    let named = state
        .nodes
        .get(node)
        .map(|row| &row.description.named_resources);
    let grant = |(kind, count): (&String, &u64)| {
        let granted = match named.and_then(|named| named.get(kind)) {
            None => vec![count.to_string()],
            Some(all) => {
                let held = held(state, node, kind, task);
                let free = all.iter().filter(|name| !held.contains(name.as_str()));
                let most = usize::try_from(*count).unwrap_or(usize::MAX);
                free.take(most).cloned().collect()
            }
        };
        (kind.clone(), granted)
    };
    wishes.iter().map(grant).collect()
}

/// The kind of which somebody else has what the container had before.
pub(super) fn taken(state: &State, task: &Task) -> Option<String> {
    let node = task.node.as_ref()?;
    let named = &state.nodes.get(node)?.description.named_resources;
    let mut granted = task.resources.iter();
    let conflict = granted.find(|(kind, names)| {
        named.contains_key(*kind) && {
            let held = held(state, node, kind, task);
            names.iter().any(|name| held.contains(name.as_str()))
        }
    });
    conflict.map(|(kind, _)| kind.clone())
}

/// The names of a kind that other containers of a node have.
fn held<'a>(state: &'a State, node: &NodeId, kind: &str, own: &Task) -> BTreeSet<&'a str> {
    let others = state
        .node_tasks(node)
        .filter(|task| task.container != own.container && holds_place(task));
    let names = others.filter_map(|task| task.resources.get(kind));
    names.flatten().map(String::as_str).collect()
}
