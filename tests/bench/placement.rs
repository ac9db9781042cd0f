//! How fast the control plane places containers: `cargo bench --bench placement`.
//!
//! A manager as it is in a cluster, with its log, its answers and what it tells the nodes, but with a
//! disk that takes no time and nodes that say nothing. Printed are placements per second of the
//! wall clock, the longest single decision, and what a task costs in memory.
//!
//! `NODES=…`, `SERVICES=…`, `REPLICAS=…` (comma-separated, one case each) replace the usual cases.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::control_plane::command::DeployOptions;
use scheduler::control_plane::{Command, ControlPlane, Input, Output};
use scheduler::model::container::{ContainerSpec, NetworkMode, Resources};
use scheduler::model::id::NodeId;
use scheduler::model::node::{Availability, Node, NodeDescription, NodeStatus, Role};
use scheduler::model::service::{Placement, ServiceMode, ServiceSpec};
use scheduler::model::stack::Stack;
use scheduler::model::task::TaskState;
use scheduler::model::time::Timestamp;
use scheduler::raft::{Restored, number_of};
use scheduler::state::{RequestId, State};

#[derive(Clone, Copy)]
enum Wishes {
    /// Nothing but to run.
    Plain,
    /// A constraint, a spread over zones, and a reservation.
    Rich,
}

struct Case {
    nodes: usize,
    services: usize,
    replicas: u32,
    wishes: Wishes,
}

fn main() {
    println!(
        "| nodes | services | replicas | wishes | placements/s | one more service | bytes a task |"
    );
    println!("|---|---|---|---|---|---|---|");
    for case in cases() {
        run(&case);
    }
}

fn cases() -> Vec<Case> {
    let numbers = |name: &str| -> Option<Vec<usize>> {
        let text = std::env::var(name).ok()?;
        Some(text.split(',').map(|it| it.parse().unwrap()).collect())
    };
    if let Some(nodes) = numbers("NODES") {
        let services = numbers("SERVICES").expect("SERVICES beside NODES");
        let replicas = numbers("REPLICAS").expect("REPLICAS beside NODES");
        let sizes = nodes.into_iter().zip(services).zip(replicas);
        return sizes
            .flat_map(|((nodes, services), replicas)| pair(nodes, services, replicas as u32))
            .collect();
    }
    let sizes = [
        (1_000, 10, 1_000),
        (10_000, 10, 1_000),
        (10_000, 100, 1_000),
        (10_000, 1_000, 100),
    ];
    let sizes = sizes.into_iter();
    sizes
        .flat_map(|(nodes, services, replicas)| pair(nodes, services, replicas))
        .collect()
}

fn pair(nodes: usize, services: usize, replicas: u32) -> [Case; 2] {
    [Wishes::Plain, Wishes::Rich].map(|wishes| Case {
        nodes,
        services,
        replicas,
        wishes,
    })
}

fn run(case: &Case) {
    let mut manager = Manager::new(case.nodes);
    let before = resident();
    let began = Instant::now();
    // Ten services to a stack, one stack after the other, as people deploy them.
    let names: Vec<String> = (0..case.services).map(|it| format!("s{it}")).collect();
    for (number, names) in names.chunks(10).enumerate() {
        manager.deploy(&format!("stack{number}"), names, case.replicas, case.wishes);
    }
    let took = began.elapsed();
    let tasks = manager.placed();
    assert_eq!(
        tasks,
        case.services * case.replicas as usize,
        "all have a node"
    );
    let memory = resident().saturating_sub(before) / tasks as u64;
    let one = Instant::now();
    manager.deploy("last", &["one".to_owned()], 1, case.wishes);
    let one = one.elapsed();
    let wishes = match case.wishes {
        Wishes::Plain => "none",
        Wishes::Rich => "constraint, spread, reservation",
    };
    println!(
        "| {} | {} | {} | {wishes} | {:.0} | {} | {memory} |",
        case.nodes,
        case.services,
        case.replicas,
        tasks as f64 / took.as_secs_f64(),
        shown(one),
    );
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

struct Manager {
    plane: ControlPlane,
    now: Timestamp,
    commands: usize,
}

impl Manager {
    fn new(nodes: usize) -> Self {
        let own = NodeId::new("n0");
        let mut state = State::default();
        state.nodes = Arc::new(
            (0..nodes)
                .map(|number| (NodeId::new(format!("n{number}")), Arc::new(node(number))))
                .collect(),
        );
        let restored = Restored::founded(number_of(&own));
        let plane = ControlPlane::start(&own, [7; 32], restored, state).unwrap();
        let mut manager = Self {
            plane,
            now: Timestamp::from_nanos(1_000_000_000_000),
            commands: 0,
        };
        while !manager.plane.leads() {
            manager.handle(Input::Tick);
        }
        manager
    }

    /// Handles the input, and does at once what is to be made durable.
    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.plane.handle(input, self.now) {
                match output {
                    Output::Write(write) => inputs.push(Input::Persisted {
                        number: write.number,
                    }),
                    Output::Snapshot { position, .. } => inputs.push(Input::SnapshotSaved {
                        index: position.index,
                    }),
                    Output::Reply { result, .. } => {
                        result.unwrap();
                    }
                    Output::Install { .. }
                    | Output::Send(_)
                    | Output::Assign { .. }
                    | Output::ReadReady { .. }
                    | Output::Wake(_) => {}
                }
            }
        }
    }

    fn deploy(&mut self, name: &str, services: &[String], replicas: u32, wishes: Wishes) {
        self.commands += 1;
        let mut stack = Stack {
            name: name.to_owned(),
            ..Stack::default()
        };
        for service in services {
            let spec = spec(service, replicas, wishes);
            stack.services.insert(service.clone(), spec);
        }
        let options = DeployOptions::default();
        self.handle(Input::Command {
            id: RequestId(format!("c{}", self.commands).into()),
            command: Box::new(Command::Deploy { stack, options }),
        });
    }

    fn placed(&self) -> usize {
        let tasks = self.plane.state().tasks.values();
        tasks
            .filter(|task| task.status.state >= TaskState::Assigned)
            .count()
    }
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
    if let Wishes::Rich = wishes {
        container.resources = Resources {
            cpu_reservation_millis: Some(10),
            memory_reservation: Some(1 << 20),
            ..Resources::default()
        };
        spec.placement = Placement {
            constraints: vec!["node.labels.disk==ssd".to_owned()],
            spread: vec!["node.labels.zone".to_owned()],
            ..Placement::default()
        };
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
        address: None,
        public_key: String::new(),
        down_after_millis: None,
    }
}

/// Bytes of memory that this process has, as `/proc/self/statm` says (proc_pid_statm(5)).
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
