//! A manager with a disk that takes no time, and what is deployed on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use scheduler::assignment::Assignment;
use scheduler::control_plane::command::DeployOptions;
use scheduler::control_plane::{Command, ControlPlane, Input, Output};
use scheduler::model::container::{ContainerSpec, NetworkMode, Resources};
use scheduler::model::id::NodeId;
use scheduler::model::node::{Availability, Node, NodeDescription, NodeStatus, Role};
use scheduler::model::service::{Placement, ServiceMode, ServiceSpec};
use scheduler::model::stack::Stack;
use scheduler::model::task::{Task, TaskState};
use scheduler::model::time::Timestamp;
use scheduler::raft::{Restored, number_of};
use scheduler::report::Report;
use scheduler::state::{RequestId, State};

use crate::memory;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wishes {
    /// Nothing but to run.
    Plain,
    /// A constraint and a reservation.
    Constrained,
    /// The same, and a spread over five zones.
    Spread,
}

impl Wishes {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Constrained => "constraint, reservation",
            Self::Spread => "constraint, reservation, spread",
        }
    }
}

/// What a deployment took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Took {
    /// Until it was decided, and the log's entry was there to be written.
    pub(crate) decided: Duration,
    pub(crate) decided_cpu: Duration,
    /// Until the nodes were told.
    pub(crate) all: Duration,
}

impl Took {
    pub(crate) fn add(&mut self, other: Self) {
        self.decided += other.decided;
        self.decided_cpu += other.decided_cpu;
        self.all += other.all;
    }
}

pub(crate) struct Manager {
    plane: ControlPlane,
    pub(crate) now: Timestamp,
    commands: usize,
}

impl Manager {
    pub(crate) fn new(nodes: usize) -> Self {
        let own = NodeId::new("n0");
        let restored = Restored::founded(number_of(&own));
        let plane = ControlPlane::start(&own, [7; 32], restored, state(nodes)).unwrap();
        let mut manager = Self {
            // The log is short when a state is large.
            plane: plane.with_snapshots_every(10),
            now: Timestamp::from_nanos(1_000_000_000_000),
            commands: 0,
        };
        while !manager.plane.leads() {
            manager.tick();
        }
        manager
    }

    pub(crate) fn tick(&mut self) {
        self.handle(Input::Tick);
    }

    pub(crate) fn hear_of_all(&mut self) {
        let nodes: Vec<NodeId> = self.plane.state().nodes.keys().cloned().collect();
        for node in nodes {
            self.handle(Input::Heard { node, session: 1 });
        }
    }

    pub(crate) fn report(&mut self, node: &NodeId, report: Report) {
        let node = node.clone();
        self.handle(Input::Report { node, report });
    }

    /// The time of the CPU that something takes.
    pub(crate) fn cpu(&mut self, action: impl FnOnce(&mut Self)) -> Duration {
        let began = cpu();
        action(self);
        cpu() - began
    }

    fn handle(&mut self, input: Input) {
        let outputs = self.plane.handle(input, self.now);
        self.finish(outputs);
    }

    /// Does at once what is to be made durable.
    fn finish(&mut self, mut outputs: Vec<Output>) {
        while let Some(output) = outputs.pop() {
            let input = match output {
                Output::Write(write) => Input::Persisted {
                    number: write.number,
                },
                Output::Snapshot { position, .. } => Input::SnapshotSaved {
                    index: position.index,
                },
                Output::Reply { result, .. } => {
                    result.unwrap();
                    continue;
                }
                Output::Install { .. }
                | Output::Send(_)
                | Output::Assign { .. }
                | Output::ReadReady { .. }
                | Output::Wake(_) => continue,
            };
            outputs.extend(self.plane.handle(input, self.now));
        }
    }

    pub(crate) fn deploy(
        &mut self,
        name: &str,
        services: &[String],
        replicas: u32,
        wishes: Wishes,
    ) -> Took {
        self.commands += 1;
        let input = command(self.commands, name, services, replicas, wishes);
        let (began, began_cpu) = (Instant::now(), cpu());
        let outputs = self.plane.handle(input, self.now);
        let (decided, decided_cpu) = (began.elapsed(), cpu() - began_cpu);
        self.finish(outputs);
        Took {
            decided,
            decided_cpu,
            all: began.elapsed(),
        }
    }

    /// What a node is told.
    pub(crate) fn assignment(&self, node: &NodeId) -> Option<Arc<Assignment>> {
        self.plane.announced().assignment(node)
    }

    pub(crate) fn placed(&self) -> usize {
        placed(self.plane.state())
    }

    pub(crate) fn some_task(&self) -> Task {
        let tasks = &self.plane.state().tasks;
        (**tasks.values().next().unwrap()).clone()
    }

    pub(crate) fn into_state(self) -> State {
        self.plane.state().clone()
    }
}

pub(crate) fn command(
    number: usize,
    name: &str,
    services: &[String],
    replicas: u32,
    wishes: Wishes,
) -> Input {
    let mut stack = Stack {
        name: name.to_owned(),
        ..Stack::default()
    };
    for service in services {
        let spec = spec(service, replicas, wishes);
        stack.services.insert(service.clone(), spec);
    }
    let options = DeployOptions::default();
    Input::Command {
        id: RequestId(format!("c{number}").into()),
        command: Box::new(Command::Deploy { stack, options }),
    }
}

pub(crate) fn placed(state: &State) -> usize {
    let tasks = state.tasks.values();
    tasks
        .filter(|task| task.status.state >= TaskState::Assigned)
        .count()
}

/// A state with nodes, and nothing else.
pub(crate) fn state(nodes: usize) -> State {
    let mut state = State::default();
    state.nodes = (0..nodes)
        .map(|number| (NodeId::new(format!("n{number}")), Arc::new(node(number))))
        .collect();
    state
}

/// The same, with several managers among them.
pub(crate) fn managed(nodes: usize, managers: usize) -> State {
    let mut state = state(nodes);
    for number in 0..managers {
        let mut node = node(number);
        node.role = Role::Manager;
        state.nodes.insert(node.id.clone(), Arc::new(node));
    }
    state
}

/// What the nodes themselves take in a state.
pub(crate) fn bytes_of_nodes(nodes: usize) -> usize {
    let before = memory::bytes();
    let state = state(nodes).indexed();
    let bytes = memory::bytes() - before;
    drop(state);
    bytes
}

fn spec(name: &str, replicas: u32, wishes: Wishes) -> ServiceSpec {
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        mode: ServiceMode::Replicated { replicas },
        ..ServiceSpec::default()
    };
    let mut container = ContainerSpec {
        image: "busybox:1.35".to_owned(),
        network: NetworkMode::None,
        ..ContainerSpec::default()
    };
    if wishes != Wishes::Plain {
        container.resources = Resources {
            cpu_reservation_millis: Some(10),
            memory_reservation: Some(1 << 20),
            ..Resources::default()
        };
        spec.placement = Placement {
            constraints: vec!["node.labels.disk==ssd".to_owned()],
            ..Placement::default()
        };
    }
    if wishes == Wishes::Spread {
        spec.placement.spread = vec!["node.labels.zone".to_owned()];
    }
    spec.container = Arc::new(container);
    spec
}

fn node(number: usize) -> Node {
    let label = |key: &str, value: String| (key.to_owned(), value);
    let disk = if number.is_multiple_of(4) {
        "hdd"
    } else {
        "ssd"
    };
    let [.., high, low] = number.to_be_bytes();
    Node {
        id: NodeId::new(format!("n{number}")),
        description: NodeDescription {
            hostname: format!("n{number}"),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            cpu_millis: 64_000,
            memory: 256 << 30,
            ..NodeDescription::default()
        },
        labels: [
            label("disk", disk.to_owned()),
            label("zone", format!("z{}", number % 5)),
        ]
        .into(),
        availability: Availability::Active,
        role: if number == 0 {
            Role::Manager
        } else {
            Role::Worker
        },
        status: NodeStatus::Ready,
        status_reason: String::new(),
        status_since: Timestamp::EPOCH,
        address: Some(([10, 77, high, low], 2377).into()),
        public_key: String::new(),
        down_after_millis: None,
        cut_off: Default::default(),
    }
}

/// The time that this process has been on a CPU, to the nanosecond; what is in `/proc` is brought up
/// to date by ticks only (clock_gettime(2)).
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    Duration::from(now)
}
