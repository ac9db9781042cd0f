//! What must hold after every event, and the rules that are broken on purpose to see it noticed.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::control_plane::ControlPlane;
use scheduler::model::id::NodeId;
use scheduler::model::task::{DesiredState, TaskState};
use scheduler::state::{RequestId, State};

use crate::takeover;

/// A rule that a faulty program would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing counts before it is on disk.
    WaitForTheDisk,
    /// A command that is sent again has the same id.
    KeepTheId,
    /// A node refuses what is older than what it has.
    RefuseTheOld,
}

/// What was seen so far, over all members and all their lives.
#[derive(Default)]
pub(crate) struct Checker {
    leaders: BTreeMap<u64, usize>,
    /// What each version of the state was, wherever it was seen first.
    versions: BTreeMap<u64, Version>,
    /// The state that each member was seen with last, by host.
    seen: BTreeMap<usize, State>,
    /// Answered commands, with the number in the label that they left.
    answered: BTreeMap<RequestId, Option<u64>>,
    accepted: BTreeMap<NodeId, (u64, u64)>,
}

struct Version {
    print: (u64, u64, usize, usize),
    /// Whole states are compared now and then: it takes longer than everything else.
    state: Option<State>,
}

const WHOLE_EVERY: u64 = 8;

impl Checker {
    pub(crate) fn versions(&self) -> usize {
        self.versions.len()
    }

    /// After a member has done something.
    pub(crate) fn member(&mut self, host: usize, plane: &ControlPlane) -> Result<(), String> {
        let standing_leads = plane.leads();
        if standing_leads {
            let term = plane.term();
            let known = *self.leaders.entry(term).or_insert(host);
            if known != host {
                return Err(format!("hosts {known} and {host} both lead in term {term}"));
            }
        }
        let state = plane.state();
        let before = self.seen.get(&host);
        if before.is_some_and(|before| before.version == state.version) {
            return Ok(());
        }
        if let Some(before) = before.filter(|before| before.version + 1 == state.version) {
            takeover::check(before, state)?;
        }
        self.seen.insert(host, state.clone());
        self.version(host, state)
    }

    /// Another group begins: what the one before it had agreed on from this version on, without telling
    /// anybody, counts no longer, nor does who led it.
    pub(crate) fn begin_anew(&mut self, version: u64) {
        self.leaders.clear();
        self.versions.retain(|known, _| *known < version);
        self.seen.clear();
    }

    /// A member that starts again may be behind where it was: it has forgotten what it applied.
    pub(crate) fn restarted(&mut self, host: usize) {
        self.seen.remove(&host);
    }

    fn version(&mut self, host: usize, state: &State) -> Result<(), String> {
        let print = (
            state.at.as_nanos(),
            state.tasks_made,
            state.tasks.len(),
            state.services.len(),
        );
        let version = state.version;
        let whole = version.is_multiple_of(WHOLE_EVERY);
        if let Some(known) = self.versions.get(&version) {
            let same = known.print == print && known.state.as_ref().is_none_or(|it| it == state);
            if !same {
                return Err(format!(
                    "version {version} of the state is another one on host {host}"
                ));
            }
            return Ok(());
        }
        let known = Version {
            print,
            state: whole.then(|| state.clone()),
        };
        self.versions.insert(version, known);
        check_tasks(state)?;
        check_commands(state)
    }

    /// A client was told that its command was carried out.
    pub(crate) fn answer(&mut self, id: RequestId, label: Option<u64>) {
        self.answered.insert(id, label);
    }

    /// A node has taken over what it was told.
    pub(crate) fn accept(&mut self, node: &NodeId, number: (u64, u64)) -> Result<(), String> {
        let before = self.accepted.insert(node.clone(), number);
        match before {
            Some(before) if before > number => Err(format!(
                "node {node} went back from {before:?} to {number:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Whatever was answered is in the state, but for containers that were on a node that is gone.
    pub(crate) fn nothing_is_lost(&self, state: &State) -> Result<(), String> {
        let labels = labels(state);
        let all_there = state.removed_nodes.is_empty();
        for (id, label) in &self.answered {
            let there = state.answer(id).is_some();
            let kept = label.is_none_or(|label| labels.contains(&label.to_string()));
            if !there || all_there && !kept {
                return Err(format!("command {id:?} was answered and is lost"));
            }
        }
        Ok(())
    }
}

fn labels(state: &State) -> BTreeSet<String> {
    let services = state.services.values();
    services
        .filter_map(|service| service.spec.container.labels.get("command").cloned())
        .collect()
}

/// Each command leaves one container with its number: two are one too many.
fn check_commands(state: &State) -> Result<(), String> {
    let mut found = BTreeSet::new();
    for service in state.services.values() {
        if let Some(label) = service.spec.container.labels.get("command")
            && !found.insert(label)
        {
            return Err(format!("command {label} was carried out twice"));
        }
    }
    Ok(())
}

/// No address is held twice, and no slot has more containers than one and the one that takes over.
fn check_tasks(state: &State) -> Result<(), String> {
    let mut holders = BTreeMap::new();
    let mut slots: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for task in state.tasks.values() {
        for place in &task.attachments {
            let holder = (&task.service, task.slot, &task.container);
            let known = holders
                .entry((&place.network, place.address))
                .or_insert(holder);
            if *known != holder {
                return Err(format!("address {} is held twice", place.address));
            }
        }
        let live = task.desired <= DesiredState::Running && !task.status.state.is_terminal();
        if live && task.status.state >= TaskState::Assigned {
            let slot = slots.entry((&task.service, task.slot)).or_default();
            slot.insert(&task.container);
            if slot.len() > 2 {
                return Err(format!(
                    "slot of {} has {} containers",
                    task.name,
                    slot.len()
                ));
            }
        }
    }
    Ok(())
}
