//! A control plane, a disk that never waits, and one node that does what it is told, a step a round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::assignment::{AssignedTask, Assignment};
use crate::control_plane::command::*;
use crate::control_plane::*;
use crate::model::container::*;
use crate::model::id::*;
use crate::model::network::NetworkSpec;
use crate::model::node::NodeDescription;
use crate::model::service::*;
use crate::model::stack::Stack;
use crate::model::task::*;
use crate::model::volume::VolumeSpec;
use crate::state::State;

/// What a service's containers do once they are started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    Run,
    Health(HealthStatus),
    Exit(i32),
    Reject,
}

pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    pub(crate) now: Timestamp,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) fates: BTreeMap<String, Fate>,
    /// What the node has done: `start shop-web-1`, in rounds separated by `|`.
    pub(crate) trace: Vec<String>,
    pub(crate) log: Vec<Entry>,
    held: Option<Vec<u64>>,
    node: BTreeMap<ContainerId, (TaskId, TaskStatus)>,
    replies: VecDeque<Result<Answer, Refusal>>,
    requests: u64,
}

pub(crate) fn node() -> NodeId {
    NodeId::new("n1")
}

impl World {
    pub(crate) fn new() -> Self {
        let founded = Restored::founded(raft::number_of(&node()));
        let plane = ControlPlane::start(&node(), [7; 32], founded, State::default());
        let mut world = Self {
            plane: plane.unwrap(),
            now: Timestamp::from_nanos(1_000_000_000_000),
            assignment: Arc::default(),
            fates: BTreeMap::new(),
            trace: Vec::new(),
            log: Vec::new(),
            held: None,
            node: BTreeMap::new(),
            replies: VecDeque::new(),
            requests: 0,
        };
        world.input(Input::Tick);
        world
            .command(Command::RegisterNode {
                node: node(),
                description: NodeDescription::default(),
            })
            .unwrap();
        world
    }

    /// From now on writes stay on their way to the disk, until [`World::flush`].
    pub(crate) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    pub(crate) fn flush(&mut self) {
        for number in self.held.take().unwrap_or_default() {
            self.input(Input::Persisted { number });
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.plane.handle(input, self.now) {
                match output {
                    Output::Write(write) => {
                        self.log.extend(write.entries.iter().cloned());
                        match &mut self.held {
                            Some(held) => held.push(write.number),
                            None => inputs.push_back(Input::Persisted {
                                number: write.number,
                            }),
                        }
                    }
                    Output::Assign { node } => {
                        let assignment = self.plane.announced().assignment(&node).unwrap();
                        assert!(assignment.generation >= self.assignment.generation);
                        self.assignment = assignment;
                    }
                    Output::Reply { result, .. } => self.replies.push_back(result),
                    Output::Snapshot { position, .. } => inputs.push_back(Input::SnapshotSaved {
                        index: position.index,
                    }),
                    Output::Send(_)
                    | Output::Wake(_)
                    | Output::Install { .. }
                    | Output::ReadReady { .. } => {}
                }
            }
        }
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.requests += 1;
        let id = RequestId(format!("r{}", self.requests).into());
        self.input(Input::Command {
            id,
            command: Box::new(command),
        });
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.send(command);
        let reply = self.replies.pop_front().expect("answered at once");
        reply.map(|answer| answer.reply)
    }

    pub(crate) fn up(&mut self, drawing: &str) -> Result<Reply, Refusal> {
        self.up_with(drawing, DeployOptions::default())
    }

    pub(crate) fn up_with(
        &mut self,
        drawing: &str,
        options: DeployOptions,
    ) -> Result<Reply, Refusal> {
        let stack = stack("shop", drawing);
        self.command(Command::Deploy { stack, options })
    }

    pub(crate) fn down(&mut self, volumes: Volumes) {
        let down = Command::RemoveStack {
            stack: "shop".into(),
            services: Vec::new(),
            volumes,
            grace_seconds: None,
        };
        self.command(down).unwrap();
    }

    pub(crate) fn fate(&mut self, service: &str, fate: Fate) {
        self.fates.insert(service.into(), fate);
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
        self.input(Input::Tick);
    }

    /// The node does one step of each task, and reports.
    pub(crate) fn round(&mut self) -> bool {
        let mut report = Report::default();
        let mut done = Vec::new();
        let assignment = self.assignment.clone();
        let known: Vec<ContainerId> = self.node.keys().cloned().collect();
        for container in known {
            let told = assignment
                .tasks
                .iter()
                .any(|task| task.container == container);
            assert!(told, "the node was not told what to do with {container}");
        }
        for task in &assignment.tasks {
            if let Some(word) = self.advance(task, &mut report) {
                done.push(format!("{word} {}", task.name));
            }
        }
        for volume in assignment.volumes.iter().filter(|volume| volume.remove) {
            report.removed_volumes.push(volume.spec.name.clone());
        }
        let busy = !report.is_empty();
        done.sort();
        if !done.is_empty() {
            self.trace.push(done.join(", "));
        }
        if busy {
            self.input(Input::Report {
                node: node(),
                report,
            });
        }
        busy
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            if !self.round() {
                return;
            }
        }
        panic!("the node is never done: {:?}", self.trace);
    }

    /// A container ends by itself.
    pub(crate) fn crash(&mut self, name: &str, code: i32) {
        let task = self.assignment.tasks.iter().find(|task| task.name == name);
        let task = task.unwrap().clone();
        let status = self.end(&task, code);
        self.say(&task, status);
    }

    pub(crate) fn say(&mut self, task: &AssignedTask, status: TaskStatus) {
        let known = (task.id.clone(), status.clone());
        self.node.insert(task.container.clone(), known);
        let report = Report {
            tasks: vec![(task.id.clone(), status)],
            ..Report::default()
        };
        self.input(Input::Report {
            node: node(),
            report,
        });
    }

    fn end(&self, task: &AssignedTask, code: i32) -> TaskStatus {
        let state = match code {
            0 => TaskState::Complete,
            _ => TaskState::Failed,
        };
        let (_, before) = &self.node[&task.container];
        TaskStatus {
            state,
            at: self.now,
            reason: format!("exit code {code}"),
            exit_code: Some(code),
            finished_at: Some(self.now),
            health: None,
            ..before.clone()
        }
    }

    fn advance(&mut self, task: &AssignedTask, report: &mut Report) -> Option<&'static str> {
        let known = self.node.get(&task.container);
        let status = known
            .filter(|(id, _)| *id == task.id)
            .map(|(_, status)| status.clone());
        let state = status
            .as_ref()
            .map_or(TaskState::Assigned, |status| status.state);
        let fate = self.fates.get(&task.service).cloned().unwrap_or(Fate::Run);
        let base = status.unwrap_or_else(|| TaskStatus::new(state, self.now, ""));
        let mut say = |status: TaskStatus| {
            report.tasks.push((task.id.clone(), status.clone()));
            self.node
                .insert(task.container.clone(), (task.id.clone(), status));
        };
        match task.desired {
            DesiredState::Ready | DesiredState::Running if state < TaskState::Ready => {
                if fate == Fate::Reject {
                    say(TaskStatus::new(
                        TaskState::Rejected,
                        self.now,
                        "no such image",
                    ));
                    return Some("reject");
                }
                say(TaskStatus::new(TaskState::Ready, self.now, "prepared"));
                Some("prepare")
            }
            DesiredState::Running if state == TaskState::Ready && task.start_after <= self.now => {
                let mut status = TaskStatus {
                    state: TaskState::Running,
                    at: self.now,
                    started_at: Some(self.now),
                    image_id: Some(format!("sha256:{}", task.spec.image).into()),
                    reason: String::new(),
                    ..base
                };
                if let Fate::Health(health) = fate {
                    status.health = Some(Box::new(health_of(health)));
                }
                say(status);
                Some("start")
            }
            DesiredState::Running if state == TaskState::Running => match fate {
                Fate::Exit(code) => {
                    let status = self.end(task, code);
                    report.tasks.push((task.id.clone(), status.clone()));
                    self.node
                        .insert(task.container.clone(), (task.id.clone(), status));
                    Some("exit")
                }
                Fate::Health(health) if base.health.as_deref() != Some(&health_of(health)) => {
                    say(TaskStatus {
                        health: Some(Box::new(health_of(health))),
                        ..base
                    });
                    None
                }
                Fate::Run | Fate::Health(_) | Fate::Reject => None,
            },
            DesiredState::Shutdown | DesiredState::Remove if !state.is_terminal() => {
                say(TaskStatus {
                    state: TaskState::Shutdown,
                    at: self.now,
                    reason: "stopped".into(),
                    finished_at: Some(self.now),
                    ..base
                });
                Some("stop")
            }
            DesiredState::Remove => {
                report.removed_containers.push(task.container.clone());
                self.node.remove(&task.container);
                Some("remove")
            }
            DesiredState::Ready | DesiredState::Running | DesiredState::Shutdown => None,
        }
    }

    /// `web.1 running, db.1 pending (waiting for …)`
    pub(crate) fn tasks(&self) -> String {
        let state = self.plane.state();
        let mut lines = Vec::new();
        for service in state.services.values() {
            for (slot, task) in state.slots(&service.id) {
                let status = &task.status;
                let word = format!("{:?}", status.state).to_lowercase();
                let line = format!("{}.{slot} {word}", service.spec.name);
                if status.state < TaskState::Assigned {
                    lines.push(format!("{line} ({})", status.reason));
                } else {
                    lines.push(line);
                }
            }
        }
        lines.sort();
        lines.join(", ")
    }

    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace).join(" | ")
    }

    pub(crate) fn container(&self, name: &str) -> ContainerId {
        let state = self.plane.state();
        let task = state.tasks.values().rev().find(|task| task.name == name);
        task.unwrap().container.clone()
    }
}

fn health_of(status: HealthStatus) -> Health {
    let failing = status != HealthStatus::Healthy;
    Health {
        status,
        failing_streak: if failing { 2 } else { 0 },
        retries: 3,
        last_probe: failing.then(|| "connection refused".into()),
    }
}

/// One service a line: `web v1 x2 needs db:healthy port 80 restart always volume data`.
pub(crate) fn stack(name: &str, drawing: &str) -> Stack {
    let mut stack = Stack {
        name: name.into(),
        ..Stack::default()
    };
    let network = NetworkSpec {
        name: format!("{name}_default"),
        ..NetworkSpec::default()
    };
    stack.networks.insert("default".into(), network);
    for line in drawing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let spec = service(name, line, &mut stack);
        stack.services.insert(spec.name.clone(), spec);
    }
    stack
}

fn service(stack_name: &str, line: &str, stack: &mut Stack) -> ServiceSpec {
    let mut words = line.split_whitespace();
    let mut spec = ServiceSpec {
        name: words.next().unwrap().into(),
        ..ServiceSpec::default()
    };
    let mut container = ContainerSpec {
        image: words.next().unwrap().into(),
        network: NetworkMode::Attached(vec![NetworkAttachment {
            network: format!("{stack_name}_default"),
            ..NetworkAttachment::default()
        }]),
        ..ContainerSpec::default()
    };
    while let Some(word) = words.next() {
        match word {
            "needs" => {
                let (need, condition) = words.next().unwrap().split_once(':').unwrap();
                spec.depends_on.insert(need.into(), dependency(condition));
            }
            "port" => container.ports.push(port(words.next().unwrap())),
            "restart" => {
                spec.restart.condition = match words.next().unwrap() {
                    "always" => RestartCondition::Always,
                    "on-failure" => RestartCondition::OnFailure,
                    other => panic!("{other}"),
                };
            }
            "volume" => {
                let key = words.next().unwrap();
                let name = format!("{stack_name}_{key}");
                stack.volumes.insert(
                    key.into(),
                    VolumeSpec {
                        name: name.clone(),
                        ..VolumeSpec::default()
                    },
                );
                container.mounts.push(Mount {
                    target: "/data".into(),
                    read_only: false,
                    source: MountSource::Volume {
                        name,
                        no_copy: false,
                        subpath: None,
                    },
                });
            }
            "inside" => {
                container.network = NetworkMode::Service(words.next().unwrap().into());
            }
            "named" => spec.container_name = Some(words.next().unwrap().into()),
            "start-first" => spec.update.order = UpdateOrder::StartFirst,
            "one-by-one" => spec.update.parallelism = 1,
            "two-by-two" => spec.update.parallelism = 2,
            "delay" => spec.update.delay = seconds(words.next().unwrap()),
            "monitor" => spec.update.monitor = seconds(words.next().unwrap()),
            "tolerates" => {
                spec.update.max_failure_ratio = words.next().unwrap().parse().unwrap();
            }
            "or-else" => {
                spec.update.failure_action = match words.next().unwrap() {
                    "pause" => FailureAction::Pause,
                    "continue" => FailureAction::Continue,
                    "rollback" => FailureAction::Rollback,
                    other => panic!("{other}"),
                };
            }
            "checked" => {
                container.healthcheck = Some(Healthcheck {
                    test: Some(HealthTest::Shell("true".into())),
                    ..Healthcheck::default()
                });
            }
            "on" => spec
                .placement
                .constraints
                .push(words.next().unwrap().into()),
            "spread" => spec.placement.spread.push(words.next().unwrap().into()),
            "most" => spec.placement.max_replicas_per_node = words.next().unwrap().parse().unwrap(),
            "cpus" => {
                let cpus: u64 = words.next().unwrap().parse().unwrap();
                container.resources.cpu_reservation_millis = Some(cpus * 1000);
            }
            "gpus" => {
                let gpus = words.next().unwrap().parse().unwrap();
                let wish = ("gpu".to_owned(), gpus);
                container.resources.generic_reservations.extend([wish]);
            }
            "platform" => container.platform = Some(words.next().unwrap().into()),
            "host-port" => {
                let mut port = port(words.next().unwrap());
                port.mode = PublishMode::Host;
                container.ports.push(port);
            }
            "global" => spec.mode = ServiceMode::Global,
            "global-job" => spec.mode = ServiceMode::GlobalJob,
            "job" => {
                let (completions, concurrent) = words.next().unwrap().split_once('/').unwrap();
                spec.mode = ServiceMode::ReplicatedJob {
                    completions: completions.parse().unwrap(),
                    concurrent: concurrent.parse().unwrap(),
                };
            }
            replicas => {
                let replicas = replicas.strip_prefix('x').unwrap().parse().unwrap();
                spec.mode = ServiceMode::Replicated { replicas };
            }
        }
    }
    spec.container = Arc::new(container);
    spec
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

fn dependency(text: &str) -> Dependency {
    let (condition, restart) = match text.strip_suffix("+restart") {
        Some(condition) => (condition, true),
        None => (text, false),
    };
    Dependency {
        condition: match condition {
            "started" => DependencyCondition::ServiceStarted,
            "healthy" => DependencyCondition::ServiceHealthy,
            "completed" => DependencyCondition::ServiceCompletedSuccessfully,
            other => panic!("{other}"),
        },
        restart,
        required: true,
    }
}

fn port(text: &str) -> PublishedPort {
    let port = text.parse().unwrap();
    PublishedPort {
        host_ip: None,
        published: Some((port, port)),
        target: 80,
        protocol: Protocol::Tcp,
        mode: PublishMode::Ingress,
    }
}
