//! A state, and nodes that do at once what they are told: only decisions are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::assignment::build::Source;
use crate::control_plane::command::{Command, DeployOptions};
use crate::control_plane::tests::world::stack;
use crate::control_plane::{Refusal, carry_out};
use crate::model::id::NodeId;
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::rollout::Rollout;
use crate::model::task::{DesiredState, Health, HealthStatus, Task, TaskState, TaskStatus};
use crate::model::time::Timestamp;
use crate::reconcile::{Memory, observe, reconcile, slot};
use crate::report::Report;
use crate::state::draft::IdGenerator;
use crate::state::{Batch, Change, Draft, State, is_on_node};

/// What containers of an image do instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There is no such image.
    Missing,
    /// The image is still on its way.
    Pulls,
    /// It ends as soon as it has been started.
    Crashes,
    /// The health check never says anything.
    Hangs,
    Unhealthy,
}

/// What becomes of the state between two decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Stays,
    /// Each decision is another leader's, who knows what was written down.
    Changes,
}

pub(super) struct Fleet {
    pub(super) state: State,
    pub(super) leader: Leader,
    pub(super) fates: BTreeMap<String, Fate>,
    /// When the control plane wants to look again, if nothing happens.
    pub(super) wake_at: Option<Timestamp>,
    /// The most containers that ran at once, serving or not, by service.
    pub(super) most_alive: BTreeMap<String, usize>,
    pub(super) now: Timestamp,
    memory: Memory,
    ids: IdGenerator,
    /// Services whose containers fail at once, and the node on which they do.
    failing: BTreeSet<(String, String)>,
    /// The most containers that were alive at once, by service.
    pub(super) most: BTreeMap<String, usize>,
    pub(super) fewest: BTreeMap<String, usize>,
}

impl Fleet {
    /// One node a line: its name, and what it has: `n1 zone=a cpus=2 gpus=1 arch=arm64`.
    pub(super) fn new(nodes: &str) -> Self {
        let mut fleet = Self {
            state: State::default(),
            leader: Leader::Stays,
            fates: BTreeMap::new(),
            wake_at: None,
            most_alive: BTreeMap::new(),
            now: Timestamp::from_nanos(1_000_000_000_000),
            memory: Memory::default(),
            ids: IdGenerator::new([7; 32]),
            failing: BTreeSet::new(),
            most: BTreeMap::new(),
            fewest: BTreeMap::new(),
        };
        for line in nodes.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let node = node(line);
            fleet.change(|_| vec![Change::SetNode(Arc::new(node))]);
        }
        fleet
    }

    pub(super) fn change(&mut self, changes: impl FnOnce(&State) -> Vec<Change>) {
        let batch = Batch {
            base: self.state.version,
            at: self.now,
            changes: changes(&self.state),
            answers: Vec::new(),
        };
        self.state.apply(&batch).unwrap();
    }

    pub(super) fn node(&mut self, name: &str, update: impl FnOnce(&mut Node)) {
        let mut node = (*self.state.nodes[&NodeId::new(name)]).clone();
        update(&mut node);
        self.change(|_| vec![Change::SetNode(Arc::new(node))]);
    }

    pub(super) fn down(&mut self, name: &str) {
        self.node(name, |node| node.status = NodeStatus::Down);
    }

    pub(super) fn back(&mut self, name: &str) {
        self.node(name, |node| node.status = NodeStatus::Ready);
    }

    pub(super) fn drain(&mut self, name: &str) {
        self.node(name, |node| node.availability = Availability::Drain);
    }

    pub(super) fn fails_on(&mut self, service: &str, node: &str) {
        self.failing.insert((service.into(), node.into()));
    }

    pub(super) fn up(&mut self, drawing: &str) {
        let stack = stack("shop", drawing);
        let options = DeployOptions::default();
        self.command(Command::Deploy { stack, options }).unwrap();
        self.settle();
    }

    pub(super) fn command(&mut self, command: Command) -> Result<(), Refusal> {
        let mut draft = Draft::new(&self.state, &mut self.ids, self.now);
        carry_out(&mut draft, command)?;
        let changes = draft.into_changes();
        self.change(|_| changes);
        Ok(())
    }

    pub(super) fn report(&mut self, node: &str, report: &Report) {
        let mut draft = Draft::new(&self.state, &mut self.ids, self.now);
        observe(&mut draft, &NodeId::new(node), report);
        let changes = draft.into_changes();
        self.change(|_| changes);
    }

    /// One decision, and one step of each container. Whether there was anything to do.
    fn turn(&mut self) -> bool {
        if self.leader == Leader::Changes {
            let written = serde_json::to_string(&self.state).unwrap();
            let state: State = serde_json::from_str(&written).unwrap();
            self.state = state.indexed();
        }
        let mut draft = Draft::new(&self.state, &mut self.ids, self.now);
        self.wake_at = reconcile(&mut draft, &mut self.memory);
        let changes = draft.into_changes();
        let decided = !changes.is_empty();
        self.change(|_| changes);
        self.count();
        let done = self.obey();
        let obeyed = !done.is_empty();
        self.change(|_| done);
        self.count();
        decided || obeyed
    }

    /// Lets time pass, and acts whenever the control plane wants to and at the end.
    pub(super) fn run(&mut self, seconds: u64) {
        let end = self.now.plus(Duration::from_secs(seconds));
        while let Some(at) = self.wake_at.filter(|at| *at < end) {
            assert!(at > self.now, "wants to look again at once, for ever");
            self.now = at;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Decides and obeys until there is nothing left to do now.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if !self.turn() {
                return;
            }
        }
        panic!("never done: {}", self.shown());
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.settle();
    }

    pub(super) fn watch(&mut self) {
        self.most.clear();
        self.fewest.clear();
        self.most_alive.clear();
        self.count();
    }

    fn count(&mut self) {
        let mut alive: BTreeMap<String, usize> = BTreeMap::new();
        let mut running_now: BTreeMap<String, usize> = BTreeMap::new();
        for service in self.state.services.values() {
            let name = &service.spec.name;
            let tasks = self.state.service_tasks(&service.id);
            let serving = tasks.filter(|task| slot::is_serving(task) && self.is_ready(task));
            alive.insert(name.clone(), serving.count());
            let tasks = self.state.service_tasks(&service.id);
            let running = tasks.filter(|task| {
                let state = task.status.state;
                state == TaskState::Starting || state == TaskState::Running
            });
            let count = running.filter(|task| self.is_ready(task)).count();
            running_now.insert(name.clone(), count);
        }
        for (name, count) in running_now {
            let most = self.most_alive.entry(name).or_default();
            *most = (*most).max(count);
        }
        for (name, count) in alive {
            let most = self.most.entry(name.clone()).or_insert(count);
            *most = (*most).max(count);
            let fewest = self.fewest.entry(name).or_insert(count);
            *fewest = (*fewest).min(count);
        }
    }

    /// `1:v1 2:v2`: the images that serve, by slot.
    pub(super) fn serving(&self, service: &str) -> String {
        let service = self.state.service_named("shop", service).unwrap();
        let tasks = self.state.service_tasks(&service.id);
        let serving = tasks.filter(|task| slot::is_serving(task) && self.is_ready(task));
        let mut lines: Vec<String> = serving
            .map(|task| format!("{}:{}", task.slot, self.image(task)))
            .collect();
        lines.sort();
        lines.join(" ")
    }

    fn image(&self, task: &Task) -> String {
        let spec = crate::assignment::build::spec_of(&self.state, task).unwrap();
        spec.container.image.clone()
    }

    pub(super) fn rollout(&self, service: &str) -> &Rollout {
        &self.state.service_named("shop", service).unwrap().rollout
    }

    fn is_ready(&self, task: &Task) -> bool {
        let node = task
            .node
            .as_ref()
            .and_then(|node| self.state.nodes.get(node));
        node.is_some_and(|node| node.status == NodeStatus::Ready)
    }

    /// One step of each task on each node that is not down.
    fn obey(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let tasks = self.state.tasks.values();
        for task in tasks.filter(|task| is_on_node(task) && self.is_ready(task)) {
            let last = self.state.container(&task.container).unwrap();
            if last.id == task.id {
                changes.extend(self.step(task));
            }
        }
        changes
    }

    fn step(&self, task: &Task) -> Option<Change> {
        let state = task.status.state;
        let say = |state| {
            let status = TaskStatus {
                started_at: Some(self.now),
                ..TaskStatus::new(state, self.now, format!("{state:?}"))
            };
            Some(Change::Observe(task.id.clone(), Box::new(status)))
        };
        let fate = self.fates.get(&self.image(task)).copied();
        let ill = |status| {
            let health = Health {
                status,
                failing_streak: 0,
                retries: 3,
                last_probe: None,
            };
            let status = TaskStatus {
                started_at: Some(self.now),
                health: Some(Box::new(health)),
                ..TaskStatus::new(TaskState::Running, self.now, "up")
            };
            Some(Change::Observe(task.id.clone(), Box::new(status)))
        };
        match task.desired {
            DesiredState::Ready | DesiredState::Running
                if state < TaskState::Ready && fate == Some(Fate::Missing) =>
            {
                // What was refused once is not tried at once again.
                let early = task.start_after > self.now;
                match early {
                    true => None,
                    false => say(TaskState::Rejected),
                }
            }
            DesiredState::Ready | DesiredState::Running
                if state < TaskState::Ready && fate == Some(Fate::Pulls) =>
            {
                None
            }
            DesiredState::Running
                if state < TaskState::Running
                    && fate == Some(Fate::Hangs)
                    && state >= TaskState::Ready =>
            {
                ill(HealthStatus::Starting)
            }
            DesiredState::Running
                if state < TaskState::Running
                    && fate == Some(Fate::Unhealthy)
                    && state >= TaskState::Ready =>
            {
                ill(HealthStatus::Unhealthy)
            }
            DesiredState::Remove if state.is_terminal() => {
                Some(Change::ForgetContainer(task.container.clone()))
            }
            DesiredState::Shutdown | DesiredState::Remove if !state.is_terminal() => {
                say(TaskState::Shutdown)
            }
            DesiredState::Ready | DesiredState::Running if state < TaskState::Ready => {
                say(TaskState::Ready)
            }
            DesiredState::Running if state < TaskState::Running && task.start_after <= self.now => {
                say(TaskState::Running)
            }
            DesiredState::Running if state == TaskState::Running => {
                let service = self.state.service_of(task).unwrap();
                let node = task.node.as_ref().unwrap().to_string();
                let key = (service.spec.name.clone(), node);
                match () {
                    () if fate == Some(Fate::Crashes) => say(TaskState::Failed),
                    () if self.failing.contains(&key) => say(TaskState::Failed),
                    () if service.is_job() => say(TaskState::Complete),
                    () => None,
                }
            }
            _ => None,
        }
    }

    /// Whether the ports of a node's containers are answered by the node.
    pub(super) fn shares_ports(&self, node: &str) -> bool {
        let assignment = Source::read(&self.state).assignment(&NodeId::new(node), 0);
        assignment.tasks.iter().all(|task| task.shares_ports)
    }

    /// What one node is told of the others: `4097 at 10.0.0.1: .3@10.0.0.2, …; 80 → .3 .4`.
    pub(super) fn told(&self, node: &str) -> String {
        let assignment = Source::read(&self.state).assignment(&NodeId::new(node), 0);
        let last = |address: &std::net::IpAddr| {
            let text = address.to_string();
            format!(".{}", text.rsplit('.').next().unwrap_or_default())
        };
        let mut lines = Vec::new();
        for overlay in assignment
            .networks
            .iter()
            .filter_map(|it| it.overlay.as_ref())
        {
            let remote = overlay.remote.iter();
            let remote: Vec<String> = remote
                .map(|it| format!("{}@{}", last(&it.address), it.node))
                .collect();
            let own = overlay.address.as_ref().map(last).unwrap_or_default();
            let at = format!("{} at {}{own}", overlay.vni, overlay.local);
            lines.push(format!("{at}: {}", remote.join(" ")));
        }
        for port in &assignment.published {
            let backends: Vec<String> = port.backends.iter().map(last).collect();
            lines.push(format!("{} → {}", port.port, backends.join(" ")));
        }
        lines.join("; ")
    }

    /// `n1: web.1 web.3 | n2: db.1! | ?: web.4 (…)`; `!` is stopped or failed, `+` done.
    pub(super) fn shown(&self) -> String {
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in self.state.nodes.keys() {
            nodes.insert(node.to_string(), Vec::new());
        }
        for task in self.state.tasks.values() {
            let service = self.state.service_of(task).unwrap();
            let name = format!("{}.{}", service.spec.name, task.slot);
            let last = self.state.container(&task.container).unwrap();
            if last.id != task.id {
                continue;
            }
            let placed = task.status.state >= TaskState::Assigned;
            let (node, line) = match &task.node {
                Some(node) if placed => (node.to_string(), format!("{name}{}", mark(task))),
                _ => ("?".to_owned(), format!("{name} ({})", task.status.reason)),
            };
            nodes.entry(node).or_default().push(line);
        }
        let shown = |(node, mut tasks): (String, Vec<String>)| {
            tasks.sort();
            format!("{node}: {}", tasks.join(" ")).trim_end().to_owned()
        };
        let mut lines: Vec<String> = nodes.into_iter().map(shown).collect();
        lines.sort_by_key(|line| line.starts_with('?'));
        lines.join(" | ")
    }
}

fn mark(task: &Task) -> &'static str {
    match task.status.state {
        TaskState::Complete => "+",
        state if state.is_terminal() => "!",
        _ => "",
    }
}

fn node(line: &str) -> Node {
    let mut words = line.split_whitespace();
    let mut node = Node::test(words.next().unwrap());
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "cpus" => node.description.cpu_millis = value.parse::<u64>().unwrap() * 1000,
            "gpus" => {
                let gpus = ("gpu".to_owned(), value.parse().unwrap());
                node.description.generic_resources.extend([gpus]);
            }
            "gpu-names" => {
                let names = value.split(',').map(str::to_owned).collect();
                let gpus = ("gpu".to_owned(), names);
                node.description.named_resources.extend([gpus]);
            }
            "at" => node.address = format!("{value}:2377").parse().ok(),
            "arch" => node.description.architecture = value.into(),
            label => {
                node.labels.insert(label.into(), value.into());
            }
        }
    }
    node
}
