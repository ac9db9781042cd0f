//! What this node does next: a pure function of what is wanted, what is seen, and the time.
//!
//! A plan holds only steps that can be taken now. Whatever a step needs first (a network before
//! a start, an end before a removal) is seen as missing, and its own step is in the plan; when
//! that has been taken the node looks again. So nothing is remembered between plans, and a plan
//! made after a crash is right by the same rule.
//!
//!     absent ─Prepare─► prepared ─Start─► running ─Signal, Kill─► ended ─Release─► released ─Remove─► absent
//!                          ▲                                                          │
//!                          └──────────────── Prepare, for a new task ─────────────────┘

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::{AssignedNetwork, AssignedTask, Assignment};
use scheduler::model::container::{MountSource, VOLUMES_OF};
use scheduler::model::id::ContainerId;
use scheduler::model::task::{DesiredState, StopOrder};
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;
use scheduler::reconcile::restart;

use crate::container::spec::parse_signal;
use crate::host::{AnonymousVolumes, Hooks, Means, Observed, Op, Phase, Run, SeenContainer};

/// Docker's wait between the stop signal and the kill.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Containers that are made on their own come and go: as Docker's, their network stays once made.
const DEFAULT_NETWORK: &str = "bridge";

/// Steps that can be taken now, in any order or all at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// When to look again though nothing has happened.
    pub wake_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub op: Op,
    /// Why, for people.
    pub because: String,
}

/// Decides what to do next.
pub fn plan(wanted: &Wanted, observed: &Observed, now: Timestamp) -> Plan {
    let mut planner = Planner {
        wanted,
        observed,
        now,
        plan: Plan::default(),
    };
    planner.networks();
    planner.volumes();
    for task in &wanted.assignment.tasks {
        planner.container(task, observed.containers.get(&task.container));
    }
    if wanted.basis == Basis::Told {
        planner.strays();
    }
    planner.plan
}

/// How sure it is that an assignment is the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// A manager said so since this process began.
    #[default]
    Told,
    /// It was read from the disk: there may be a later one, so nothing is deleted on its word, and
    /// what is newer than it is left alone.
    Remembered,
}

/// An assignment with what is looked up in it again and again.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub assignment: Arc<Assignment>,
    pub basis: Basis,
    pub networks: Vec<Arc<AssignedNetwork>>,
    secrets: BTreeMap<String, Arc<[u8]>>,
    configs: BTreeMap<String, Arc<[u8]>>,
    tasks: BTreeMap<ContainerId, usize>,
}

impl Wanted {
    pub fn new(assignment: Arc<Assignment>, basis: Basis) -> Self {
        let shared = |files: &BTreeMap<String, Vec<u8>>| {
            files
                .iter()
                .map(|(name, bytes)| (name.clone(), Arc::from(bytes.as_slice())))
                .collect()
        };
        Self {
            networks: assignment.networks.iter().cloned().map(Arc::new).collect(),
            secrets: shared(&assignment.secrets),
            configs: shared(&assignment.configs),
            tasks: (assignment.tasks.iter().enumerate())
                .map(|(index, task)| (task.container.clone(), index))
                .collect(),
            assignment,
            basis,
        }
    }

    pub fn task(&self, container: &ContainerId) -> Option<&Arc<AssignedTask>> {
        self.tasks
            .get(container)
            .and_then(|index| self.assignment.tasks.get(*index))
    }

    /// Everything that one container needs of the assignment.
    fn run(&self, task: &Arc<AssignedTask>) -> Run {
        let granted = |all: &BTreeMap<String, Arc<[u8]>>,
                       grants: &[scheduler::model::container::FileGrant]| {
            (grants.iter())
                .filter_map(|grant| Some((grant.source.clone(), all.get(&grant.source)?.clone())))
                .collect()
        };
        Run {
            networks: (task.interfaces.iter())
                .filter_map(|interface| {
                    self.networks
                        .iter()
                        .find(|n| n.id == interface.network)
                        .cloned()
                })
                .collect(),
            volumes: task
                .spec
                .mounts
                .iter()
                .filter_map(|mount| self.volume(&mount.source))
                .collect(),
            secrets: granted(&self.secrets, &task.spec.secrets),
            configs: granted(&self.configs, &task.spec.configs),
            login: self.assignment.logins.get(&task.container).cloned(),
            task: task.clone(),
        }
    }

    /// The definition of a mounted volume; a plain local one when nobody declared it.
    fn volume(&self, source: &MountSource) -> Option<VolumeSpec> {
        let MountSource::Volume { name, .. } = source else {
            return None;
        };
        let declared = self
            .assignment
            .volumes
            .iter()
            .find(|volume| volume.spec.name == *name);
        Some(declared.map_or_else(
            || VolumeSpec {
                name: name.clone(),
                ..VolumeSpec::default()
            },
            |volume| volume.spec.clone(),
        ))
    }
}

struct Planner<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    now: Timestamp,
    plan: Plan,
}

impl Planner<'_> {
    fn networks(&mut self) {
        for network in &self.wanted.networks {
            match self.observed.networks.get(&network.id) {
                Some(Some(made)) if same_bridge(made, network) => {}
                Some(Some(_)) => self.step(
                    Op::EnsureNetwork(network.clone()),
                    "its definition has changed",
                ),
                Some(None) => self.step(
                    Op::EnsureNetwork(network.clone()),
                    "it was found after a start",
                ),
                None => self.step(
                    Op::EnsureNetwork(network.clone()),
                    "it is assigned and missing",
                ),
            }
        }
        if self.wanted.basis == Basis::Remembered {
            return;
        }
        for (id, made) in &self.observed.networks {
            let assigned = self.wanted.networks.iter().any(|network| network.id == *id);
            let default = made
                .as_ref()
                .is_some_and(|made| made.name == DEFAULT_NETWORK);
            if !assigned && !default && !self.is_connected(id) {
                self.step(Op::RemoveNetwork(id.clone()), "no longer assigned");
            }
        }
    }

    /// A container that is still there may hold an interface on the network.
    fn is_connected(&self, id: &scheduler::model::id::NetworkId) -> bool {
        self.observed.containers.iter().any(|(container, seen)| {
            (seen.phase.is_alive() || matches!(seen.phase, Phase::Ended(_)))
                && self
                    .wanted
                    .task(container)
                    .is_none_or(|task| task.interfaces.iter().any(|i| i.network == *id))
        })
    }

    fn volumes(&mut self) {
        for volume in &self.wanted.assignment.volumes {
            let seen = self.observed.volumes.contains_key(&volume.spec.name);
            match (volume.remove, seen) {
                (true, true) if self.wanted.basis == Basis::Remembered => {}
                (true, true) => self.step(
                    Op::RemoveVolume(volume.spec.name.clone()),
                    "a person asked for it",
                ),
                (false, false) if !volume.spec.external => {
                    self.step(
                        Op::EnsureVolume(volume.spec.clone()),
                        "it is assigned and missing",
                    );
                }
                _ => {}
            }
        }
    }

    fn container(&mut self, task: &Arc<AssignedTask>, seen: Option<&SeenContainer>) {
        let Some(seen) = seen else {
            if task.desired <= DesiredState::Running {
                self.prepare(task, "it is assigned and missing");
            }
            return;
        };
        let of_this_task = seen.task.as_ref() == Some(&task.id);
        // Identifiers of tasks sort in the order of their making.
        let of_a_later_one = seen.task.as_ref() > Some(&task.id);
        if self.wanted.basis == Basis::Remembered && of_a_later_one {
            return;
        }
        match (&seen.phase, task.desired) {
            (Phase::Found { .. }, _) if of_this_task => self.adopt(task),
            (
                Phase::Found { .. } | Phase::Running { .. },
                DesiredState::Shutdown | DesiredState::Remove,
            ) => {
                self.end(task, seen, task.stop.as_ref(), "it must not run any longer");
            }
            (Phase::Found { .. } | Phase::Running { .. }, _) if !of_this_task => {
                self.end(task, seen, None, "a newer run takes its place");
            }
            (Phase::Found { .. }, _) => {}
            (Phase::Running { .. }, _) => match seen.hooks {
                Hooks::Idle | Hooks::BeforeStop => {}
                Hooks::AfterStart => {
                    let run = Arc::new(self.wanted.run(task));
                    self.step(Op::PostStart(run), "it has started");
                }
                Hooks::Failed(_) => {
                    self.end(task, seen, None, "a command after its start has failed");
                }
            },
            (Phase::Ended(_), _) => self.step(Op::Release(task.container.clone()), "it has ended"),
            (_, DesiredState::Shutdown) => {}
            (_, DesiredState::Remove) if self.wanted.basis == Basis::Remembered => {}
            (_, DesiredState::Remove) => {
                self.remove(&task.container, task.stop.as_ref(), "a removal was decided")
            }
            (Phase::Bare, _) => self.prepare(task, "it is not prepared"),
            (Phase::Rejected { .. }, _) if !of_this_task && self.is_early(task) => {
                self.wake(task.start_after);
            }
            (Phase::Prepared | Phase::Released(_) | Phase::Rejected { .. }, _) if !of_this_task => {
                self.prepare(task, "a new run is wanted");
            }
            (Phase::Prepared, DesiredState::Running) => self.start(task),
            (Phase::Prepared | Phase::Released(_) | Phase::Rejected { .. }, _) => {}
        }
    }

    /// Containers that nobody wants are ended and deleted.
    fn strays(&mut self) {
        for (id, seen) in &self.observed.containers {
            if self.wanted.task(id).is_some() {
                continue;
            }
            match seen.phase {
                Phase::Found { .. } | Phase::Running { .. } => {
                    self.tell_to_end(id, seen, None, DEFAULT_GRACE, "no longer assigned");
                }
                Phase::Ended(_) => self.step(Op::Release(id.clone()), "it has ended"),
                Phase::Bare | Phase::Prepared | Phase::Released(_) | Phase::Rejected { .. } => {
                    self.remove(id, None, "no longer assigned");
                }
            }
        }
    }

    fn prepare(&mut self, task: &Arc<AssignedTask>, because: &str) {
        self.step(Op::Prepare(Arc::new(self.wanted.run(task))), because);
    }

    fn is_early(&self, task: &AssignedTask) -> bool {
        restart::is_early(&task.restart, task.start_after, self.now)
    }

    fn start(&mut self, task: &Arc<AssignedTask>) {
        if self.is_early(task) {
            return self.wake(task.start_after);
        }
        if waits_for(task, self.observed).is_none() {
            self.step(
                Op::Start(Arc::new(self.wanted.run(task))),
                "it is prepared, and wanted running",
            );
        }
    }

    /// Its networks come first: they must be known before its names are served.
    fn adopt(&mut self, task: &Arc<AssignedTask>) {
        if waits_for(task, self.observed).is_none() {
            self.step(
                Op::Adopt(Arc::new(self.wanted.run(task))),
                "it runs since before this process began",
            );
        }
    }

    /// Ends a container whose definition is known: first run the commands that come before.
    fn end(
        &mut self,
        task: &Arc<AssignedTask>,
        seen: &SeenContainer,
        order: Option<&StopOrder>,
        because: &str,
    ) {
        let limit = patience(order, grace(task));
        let due = match seen.hooks {
            Hooks::Idle | Hooks::AfterStart => !task.spec.pre_stop.is_empty(),
            Hooks::Failed(_) | Hooks::BeforeStop => false,
        };
        if due && seen.stop.is_none() && limit != Some(Duration::ZERO) && !is_kill(order) {
            let run = Arc::new(self.wanted.run(task));
            return self.step(Op::PreStop { run, limit }, because);
        }
        self.tell_to_end(&task.container, seen, order, grace(task), because);
    }

    fn tell_to_end(
        &mut self,
        id: &ContainerId,
        seen: &SeenContainer,
        order: Option<&StopOrder>,
        grace: Duration,
        because: &str,
    ) {
        let grace = patience(order, grace);
        let signal = order.and_then(|order| order.signal.clone());
        let container = id.clone();
        let tell = Op::Signal { container, signal };
        let Some(stopping) = &seen.stop else {
            return self.step(tell, because);
        };
        if stopping.by == Means::Kill {
            return;
        }
        let signal = order.and_then(|order| order.signal.as_ref());
        if signal.is_some() && stopping.signal.as_ref() != signal {
            return self.step(tell, "it is told more urgently");
        }
        let deadline = grace.map(|grace| stopping.since.plus(grace));
        if deadline.is_some_and(|deadline| self.now >= deadline) {
            let because = "it has not ended within its grace period";
            return self.step(Op::Kill(id.clone()), because);
        }
        if stopping.by == Means::Nothing {
            self.step(tell, "it could not be told before");
        }
        if let Some(deadline) = deadline {
            self.wake(deadline);
        }
    }

    fn remove(&mut self, id: &ContainerId, order: Option<&StopOrder>, because: &str) {
        let volumes = match order {
            Some(order) if order.remove_volumes => AnonymousVolumes::Remove,
            _ => AnonymousVolumes::Keep,
        };
        self.step(
            Op::Remove {
                container: id.clone(),
                volumes,
            },
            because,
        );
    }

    fn step(&mut self, op: Op, because: &str) {
        self.plan.steps.push(Step {
            op,
            because: because.to_owned(),
        });
    }

    fn wake(&mut self, at: Timestamp) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What a prepared container still waits for on this host, in words.
pub fn waits_for(task: &AssignedTask, observed: &Observed) -> Option<String> {
    for interface in &task.interfaces {
        if !matches!(observed.networks.get(&interface.network), Some(Some(_))) {
            return Some(format!("waiting for network {}", interface.network.short()));
        }
    }
    for (namespace, container) in &task.joins {
        let seen = observed.containers.get(container);
        if namespace.starts_with(VOLUMES_OF) {
            if seen.is_none_or(|seen| matches!(seen.phase, Phase::Bare)) {
                return Some(format!("waiting for container {}", container.short()));
            }
            continue;
        }
        let running = seen.is_some_and(|seen| seen.phase.is_alive());
        if !running {
            return Some(format!(
                "waiting for container {} whose {namespace} namespace it joins",
                container.short()
            ));
        }
    }
    None
}

/// How long it may take to stop; `None` is for ever, Docker's meaning of a negative number.
fn patience(order: Option<&StopOrder>, grace: Duration) -> Option<Duration> {
    match order.and_then(|order| order.grace_seconds) {
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        None => Some(grace),
    }
}

/// Whether it is to end at once.
pub fn is_kill(order: Option<&StopOrder>) -> bool {
    let signal = order.and_then(|order| order.signal.as_deref());
    let number = signal.and_then(|text| parse_signal(text).ok());
    number == Some(libc::SIGKILL)
}

fn grace(task: &AssignedTask) -> Duration {
    task.spec.stop_grace.unwrap_or(DEFAULT_GRACE)
}

/// Names and virtual addresses change all the time and need no new bridge.
fn same_bridge(a: &AssignedNetwork, b: &AssignedNetwork) -> bool {
    let bridge = |n: &AssignedNetwork| {
        (
            n.subnet,
            n.gateway,
            n.ipv6,
            n.internal,
            n.mtu,
            n.bridge_name.clone(),
            n.inter_container,
            n.masquerade,
            n.overlay.clone(),
        )
    };
    bridge(a) == bridge(b)
}

#[cfg(test)]
pub(crate) mod drawing;
#[cfg(test)]
mod tests;
