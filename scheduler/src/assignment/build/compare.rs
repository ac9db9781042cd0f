//! Which nodes have something new to hear, without putting together what they hear.
//!
//! | what has changed | who is looked at |
//! |---|---|
//! | tasks | their nodes |
//! | rows of services, and what containers that join others depend on | the nodes of their tasks |
//! | what is known on networks | the nodes that are on them |
//! | the way in to services | all |
//!
//! It costs as much as has changed: nothing is looked at for each task of a node. Where it cannot be
//! known so cheaply whether a node hears something new, it is told: hearing the same again does no
//! harm.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::shared::Parts;
use super::{Source, contents, epoch, login, spec_of};
use crate::model::id::{NetworkId, NodeId, ServiceId, TaskId};
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::Task;
use crate::state::is_on_node;

/// What was told before beside what is told now.
pub(super) struct Comparison<'a> {
    before: &'a Source,
    after: &'a Source,
    told: BTreeSet<NodeId>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(before: &'a Source, after: &'a Source) -> Self {
        Self {
            before,
            after,
            told: BTreeSet::new(),
        }
    }

    /// The nodes that are told.
    pub(super) fn into_told(mut self) -> BTreeSet<NodeId> {
        let nodes = &self.after.state.nodes;
        self.told.retain(|id| nodes.contains_key(id));
        self.told
    }

    /// What all nodes are told of the cluster, and of themselves.
    pub(super) fn common(&mut self) {
        let all = self.after.state.nodes.keys();
        let (old, new) = (&self.before.shared, &self.after.shared);
        let (before, after) = (&self.before.state, &self.after.state);
        let same = epoch(before) == epoch(after)
            && before.cluster.is_some() == after.cluster.is_some()
            && old.is_spread == new.is_spread
            && old.managers == new.managers
            && old.authorities == new.authorities;
        if same {
            self.nodes(all);
        } else {
            self.told.extend(all.cloned());
        }
    }

    /// What nodes are told of themselves.
    pub(super) fn nodes<'i>(&mut self, ids: impl IntoIterator<Item = &'i NodeId>) {
        let role = |it: &Source, id: &NodeId| it.state.nodes.get(id).map(|row| row.role);
        let (before, after) = (self.before, self.after);
        self.tell(ids, |id| {
            role(before, id) != role(after, id)
                || before.shared.volumes.get(id) != after.shared.volumes.get(id)
        });
    }

    fn tell<'i>(
        &mut self,
        ids: impl IntoIterator<Item = &'i NodeId>,
        is_news: impl Fn(&NodeId) -> bool,
    ) {
        for id in ids {
            if !self.told.contains(id) && is_news(id) {
                self.told.insert(id.clone());
            }
        }
    }

    /// Tasks of services that have not changed.
    pub(super) fn tasks(&mut self, ids: &[TaskId]) {
        let (before, after) = (self.before, self.after);
        for id in ids {
            self.tell(nodes_of(before, after, id), |node| {
                match (before.run(node, id), after.run(node, id)) {
                    (None, None) => false,
                    (Some(old), Some(new)) if is_same(old, new) => {
                        login(&before.state, old) != login(&after.state, new)
                            || is_live(old) != is_live(new)
                                && grants(after, new)
                                && contents_differ(before, after, node)
                    }
                    (None | Some(_), None | Some(_)) => true,
                }
            });
        }
    }

    /// Services with other rows, or with containers that join others.
    pub(super) fn services<'i>(&mut self, ids: impl Iterator<Item = &'i ServiceId>) {
        let (before, after) = (self.before, self.after);
        for id in ids {
            let old = before.state.services.get(id);
            let new = after.state.services.get(id);
            let has_contents = new.is_some_and(|row| specs(row).any(|spec| has_grants(spec)));
            let same_contents = !has_contents
                || before.state.secrets.is_same(&after.state.secrets)
                    && before.state.configs.is_same(&after.state.configs);
            if same_contents
                && old
                    .zip(new)
                    .is_some_and(|(old, new)| self.is_same(old, new))
            {
                continue;
            }
            let both = [&before.state, &after.state];
            let tasks = both.into_iter().flat_map(|it| it.service_tasks(id));
            for task in tasks {
                self.tell(&task.node, |node| {
                    let old = before.run(node, &task.id);
                    let new = after.run(node, &task.id);
                    let own = |it: &Source, row: Option<&Arc<Task>>| {
                        let row = row?;
                        Some((it.assigned(row), login(&it.state, row)))
                    };
                    own(before, old) != own(after, new)
                        || !same_contents && contents_differ(before, after, node)
                });
            }
        }
    }

    /// Whether nothing of a row that tasks are told has changed.
    fn is_same(&self, old: &Arc<Service>, new: &Arc<Service>) -> bool {
        let logins = |it: &Source, row: &Service| {
            let stack = it.state.stacks.get(row.stack.as_ref()?)?;
            Some(stack.clone())
        };
        let (before, after) = (logins(self.before, old), logins(self.after, new));
        let same_logins =
            before.as_ref().map(|it| &it.logins) == after.as_ref().map(|it| &it.logins);
        same_logins
            && !specs(new).any(|spec| spec.container.shares_with_others())
            && old.stack == new.stack
            && Arc::ptr_eq(&old.spec, &new.spec)
            && old.versions.len() == new.versions.len()
            && (old.versions.iter().zip(&new.versions))
                .all(|((one, old), (other, new))| one == other && Arc::ptr_eq(old, new))
    }

    /// The way in to these services.
    pub(super) fn entrances(&mut self, ids: &BTreeSet<ServiceId>) {
        let (before, after) = (self.before, self.after);
        let ports = |it: &Source, id: &ServiceId, node: &NodeId| {
            let entrance = it.shared.entrances.get(id);
            entrance.map(|it| it.ports(node)).unwrap_or_default()
        };
        let is_other =
            |id: &&ServiceId| before.shared.entrances.get(*id) != after.shared.entrances.get(*id);
        for id in ids.iter().filter(is_other) {
            self.tell(after.state.nodes.keys(), |node| {
                ports(before, id, node) != ports(after, id, node)
            });
        }
    }

    /// What nodes must know on these networks.
    pub(super) fn networks(&mut self, parts: &Parts, ids: &BTreeSet<NetworkId>) {
        let after = self.after;
        for id in ids {
            let mut entrances = after.shared.entrances.values();
            let tasks = parts.on(id).flat_map(|id| after.state.service_tasks(id));
            let on_it = tasks.filter_map(|task| task.node.as_ref());
            if entrances.any(|it| it.network() == id) {
                self.network(id, after.state.nodes.keys());
            } else {
                self.network(id, on_it);
            }
        }
    }

    fn network<'i>(&mut self, id: &NetworkId, nodes: impl Iterator<Item = &'i NodeId>) {
        let (before, after) = (self.before, self.after);
        let meanings = |it: &'a Source| it.shared.networks.get(id).map(|it| &it.meanings);
        let same_names = meanings(before) == meanings(after);
        self.tell(nodes, |node| {
            let outline = |it: &Source| {
                let row = it.state.networks.get(id)?;
                Some(it.outline(node, row))
            };
            !same_names || outline(before) != outline(after)
        });
    }
}

impl Source {
    /// The row of a task, if it is the last run of a container that the node has or may have.
    fn run(&self, node: &NodeId, id: &TaskId) -> Option<&Arc<Task>> {
        let row = self.state.tasks.get(id)?;
        let is_there = |row: &Task| row.node.as_ref() == Some(node) && is_on_node(row);
        if !is_there(row) {
            return None;
        }
        self.state.service_of(row)?;
        let last = self.state.container_tasks(&row.container).rev();
        let last = last.into_iter().find(|run| is_there(run))?;
        (last.id == *id).then_some(row)
    }
}

/// Where a task was and is.
fn nodes_of<'a>(
    before: &'a Source,
    after: &'a Source,
    id: &TaskId,
) -> impl Iterator<Item = &'a NodeId> {
    let rows = [before.state.tasks.get(id), after.state.tasks.get(id)];
    rows.into_iter()
        .flatten()
        .filter_map(|row| row.node.as_ref())
}

/// Whether a node is told the same of both, as far as it is the task's own.
fn is_same(old: &Task, new: &Task) -> bool {
    old.desired == new.desired
        && old.stop == new.stop
        && old.name == new.name
        && old.slot == new.slot
        && old.version == new.version
        && old.container == new.container
        && old.attachments == new.attachments
        && old.resources == new.resources
        && old.replaces == new.replaces
        && old.restarts == new.restarts
        && old.failures == new.failures
        && old.start_after == new.start_after
        && old.created_at == new.created_at
}

fn is_live(task: &Task) -> bool {
    !task.status.state.is_terminal()
}

fn specs(service: &Service) -> impl Iterator<Item = &Arc<ServiceSpec>> {
    service.versions.values().chain([&service.spec])
}

fn has_grants(spec: &ServiceSpec) -> bool {
    !spec.container.secrets.is_empty() || !spec.container.configs.is_empty()
}

fn grants(source: &Source, task: &Task) -> bool {
    spec_of(&source.state, task).is_some_and(|spec| has_grants(spec))
}

/// Whether a node is granted other secrets or configs than before.
fn contents_differ(before: &Source, after: &Source, node: &NodeId) -> bool {
    let granted = |it: &Source| {
        let live = it.runs(node).into_iter().filter(|row| is_live(row));
        let specs: Vec<_> = live.filter_map(|row| spec_of(&it.state, row)).collect();
        (
            contents(&it.state.secrets, &specs, |spec| &spec.secrets),
            contents(&it.state.configs, &specs, |spec| &spec.configs),
        )
    };
    granted(before) != granted(after)
}
