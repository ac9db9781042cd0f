//! A machine without a kernel: containers, networks and volumes, which outlive the node's process.
//!
//!     absent ─Prepare─► prepared ─Start─► running ──Signal, Kill, or by itself──► ended ─Release─► released
//!
//! Operations take their time and fail now and then. What no correct node asks for is remembered as
//! [`Machine::wrong`]: a start of what runs, the removal of a network that something is connected to,
//! a second run of what was to run once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::clock::Clock;
use agent::container::Exit;
use agent::host::{Done, Hooks, Host, HostEvent, Observed, Op, OpError, Phase, Run, SeenContainer};
use scheduler::assignment::{AssignedNetwork, Assignment};
use scheduler::model::id::{ContainerId, NetworkId, TaskId};
use scheduler::model::service::RestartCondition;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;
use scheduler::reconcile::slot;
use tokio::sync::mpsc;

use crate::chance::Chance;
use crate::wishes::BAD;

/// More than a machine can have to say between two turns.
const EVENTS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Machine {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    containers: BTreeMap<ContainerId, Kept>,
    networks: BTreeMap<NetworkId, Arc<AssignedNetwork>>,
    volumes: BTreeMap<String, VolumeSpec>,
    chance: Chance,
    calm: bool,
    pids: u32,
    starts: BTreeMap<TaskId, u32>,
    wrong: Option<String>,
    /// To the node's process, while there is one.
    ears: Option<Ears>,
}

#[derive(Debug)]
struct Ears {
    events: mpsc::Sender<HostEvent>,
    clock: Clock,
}

#[derive(Debug)]
struct Kept {
    task: TaskId,
    phase: Phase,
    addresses: Vec<(NetworkId, IpAddr)>,
    volumes: Vec<String>,
    /// With which code it ends, and when.
    end: Option<(Timestamp, i32)>,
}

impl Machine {
    pub(crate) fn new(chance: Chance) -> Arc<Self> {
        let inner = Inner {
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            chance,
            calm: false,
            pids: 0,
            starts: BTreeMap::new(),
            wrong: None,
            ears: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process of the node begins.
    pub(crate) fn listen(&self, clock: Clock) -> mpsc::Receiver<HostEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        self.inner().ears = Some(Ears { events, clock });
        receiver
    }

    /// The process of the node has ended.
    pub(crate) fn deafen(&self) {
        self.inner().ears = None;
    }

    /// Containers live their lives, whether there is a node's process or not.
    pub(crate) fn live(&self, now: Timestamp) {
        let mut inner = self.inner();
        let running = inner.containers.iter().filter(|(_, it)| it.runs());
        let running: Vec<ContainerId> = running.map(|(id, _)| id.clone()).collect();
        for id in running {
            let crashes = !inner.calm && inner.chance.happens(2);
            let due = inner.containers[&id].end.filter(|(at, _)| *at <= now);
            let code = due.map(|(_, code)| code).or(crashes.then_some(1));
            if let Some(code) = code {
                inner.end(&id, code, now);
            }
        }
    }

    /// Nothing fails any more.
    pub(crate) fn calm(&self) {
        self.inner().calm = true;
    }

    /// Every process has ended, and nobody saw how; networks are gone, files are not.
    pub(crate) fn power_cut(&self, now: Timestamp) {
        let mut inner = self.inner();
        inner.ears = None;
        inner.networks.clear();
        let ids: Vec<ContainerId> = inner.containers.keys().cloned().collect();
        for id in ids {
            inner.end(&id, 255, now);
        }
    }

    /// What is still there of a node that has left its cluster: nothing.
    pub(crate) fn wipe(&self) {
        let mut inner = self.inner();
        inner.containers.clear();
        inner.networks.clear();
        inner.volumes.clear();
    }

    /// What no correct node would have asked for.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.inner().wrong.clone()
    }

    pub(crate) fn running(&self) -> BTreeSet<TaskId> {
        let inner = self.inner();
        let running = inner.containers.values().filter(|it| it.runs());
        running.map(|it| it.task.clone()).collect()
    }

    /// Named volumes that something runs on here.
    pub(crate) fn volumes_in_use(&self) -> BTreeSet<String> {
        let inner = self.inner();
        let running = inner.containers.values().filter(|it| it.runs());
        running.flat_map(|it| it.volumes.clone()).collect()
    }

    /// Addresses of running containers.
    pub(crate) fn addresses(&self) -> Vec<(NetworkId, IpAddr)> {
        let inner = self.inner();
        let running = inner.containers.values().filter(|it| it.runs());
        running.flat_map(|it| it.addresses.clone()).collect()
    }

    /// Whether there is nothing here that this assignment does not speak of.
    pub(crate) fn check_leftovers(&self, told: &Assignment) -> Result<(), String> {
        let inner = self.inner();
        let wanted: BTreeSet<_> = told.tasks.iter().map(|task| &task.container).collect();
        if let Some(id) = inner.containers.keys().find(|id| !wanted.contains(id)) {
            return Err(format!("container {id} is left over"));
        }
        let wanted: BTreeSet<_> = told.networks.iter().map(|network| &network.id).collect();
        match inner.networks.keys().find(|id| !wanted.contains(id)) {
            Some(id) => Err(format!("network {id} is left over")),
            None => Ok(()),
        }
    }
}

impl Kept {
    fn runs(&self) -> bool {
        self.phase.is_alive()
    }

    fn seen(&self) -> SeenContainer {
        let phase = match &self.phase {
            Phase::Running { started_at, .. } => Phase::Found {
                started_at: *started_at,
            },
            other => other.clone(),
        };
        SeenContainer::new(Some(self.task.clone()), phase)
    }
}

impl Inner {
    fn end(&mut self, id: &ContainerId, code: i32, now: Timestamp) {
        let Some(kept) = self.containers.get_mut(id) else {
            return;
        };
        let Phase::Running { started_at, .. } = kept.phase else {
            return;
        };
        let exit = Exit {
            code,
            oom_killed: false,
            started_at: Some(started_at),
            finished_at: now,
            error: None,
        };
        kept.phase = Phase::Ended(exit.clone());
        kept.end = None;
        let event = HostEvent::Ended {
            container: id.clone(),
            task: kept.task.clone(),
            exit,
        };
        if let Some(ears) = &self.ears
            && ears.events.try_send(event).is_err()
        {
            self.accuse("nobody reads what the machine says".to_owned());
        }
    }

    fn accuse(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// How long an operation takes, and whether it fails.
    fn draw(&mut self) -> (Duration, bool) {
        let slow = !self.calm && self.chance.happens(20);
        let millis = match slow {
            true => self.chance.between(500, 5000),
            false => self.chance.between(1, 120),
        };
        let fails = !self.calm && self.chance.happens(5);
        (Duration::from_millis(millis), fails)
    }

    fn carry_out(&mut self, op: &Op, now: Timestamp) -> Result<Done, OpError> {
        match op {
            Op::EnsureNetwork(network) => {
                self.networks.insert(network.id.clone(), network.clone());
            }
            Op::RemoveNetwork(id) => {
                let holds = |it: &&Kept| it.runs() && it.addresses.iter().any(|(net, _)| net == id);
                if let Some(kept) = self.containers.values().find(holds) {
                    let what = format!("network {id} is removed while {} runs on it", kept.task);
                    self.accuse(what);
                }
                self.networks.remove(id);
            }
            Op::EnsureVolume(spec) => {
                self.volumes.insert(spec.name.clone(), spec.clone());
            }
            Op::RemoveVolume(name) => {
                if self
                    .containers
                    .values()
                    .any(|it| it.runs() && it.volumes.contains(name))
                {
                    return Err(failure("the volume is in use"));
                }
                self.volumes.remove(name);
            }
            Op::Prepare(run) => return self.prepare(run),
            Op::Start(run) => return self.start(run, now),
            Op::Adopt(run) => return self.adopt(run, now),
            Op::PostStart(_) | Op::PreStop { .. } => {}
            Op::Signal { container, .. } => {
                let deaf = !self.calm && self.chance.happens(30);
                let patience = Duration::from_millis(self.chance.between(1, 1500));
                if let Some(kept) = self.containers.get_mut(container)
                    && !deaf
                {
                    kept.end = Some((now.plus(patience), 143));
                }
            }
            Op::Kill(container) => self.end(container, 137, now),
            Op::Release(id) => self.release(id),
            Op::Remove { container, .. } => {
                if self.containers.get(container).is_some_and(Kept::runs) {
                    self.accuse(format!("container {container} is removed while it runs"));
                }
                self.containers.remove(container);
            }
        }
        Ok(Done::Plainly)
    }

    fn prepare(&mut self, run: &Run) -> Result<Done, OpError> {
        let id = &run.task.container;
        if self.containers.get(id).is_some_and(Kept::runs) {
            self.accuse(format!("{} is prepared while {id} runs", run.task.id));
        }
        if run.task.spec.image == BAD {
            return Err(failure("there is no such image"));
        }
        let interfaces = run.task.interfaces.iter();
        let kept = Kept {
            task: run.task.id.clone(),
            phase: Phase::Prepared,
            addresses: interfaces
                .map(|it| (it.network.clone(), it.address))
                .collect(),
            volumes: slot::volumes(&run.task.spec).map(str::to_owned).collect(),
            end: None,
        };
        self.containers.insert(id.clone(), kept);
        let image_id = format!("sha256:{}", run.task.spec.image);
        Ok(Done::Prepared { image_id })
    }

    fn start(&mut self, run: &Run, now: Timestamp) -> Result<Done, OpError> {
        let task = &run.task;
        let missing = run
            .networks
            .iter()
            .find(|it| !self.networks.contains_key(&it.id));
        if let Some(network) = missing {
            let what = format!("{} is started without network {}", task.id, network.id);
            self.accuse(what);
        }
        let starts = self.starts.entry(task.id.clone()).or_default();
        *starts += 1;
        if *starts > 1 && task.restart.condition == RestartCondition::Never {
            let what = format!("{} was to run once, and runs again", task.id);
            self.accuse(what);
        }
        self.pids += 1;
        let pid = self.pids;
        let runs_for = Duration::from_millis(self.chance.between(100, 3000));
        let Some(kept) = self.containers.get_mut(&task.container) else {
            return Err(failure("there is no such container"));
        };
        if kept.phase != Phase::Prepared || kept.task != task.id {
            let what = format!(
                "{} is started while {} is {:?}",
                task.id, kept.task, kept.phase
            );
            self.accuse(what);
            return Err(failure("it is not prepared"));
        }
        kept.phase = Phase::Running {
            pid,
            started_at: now,
        };
        let ends = task.service.ends_with("job");
        kept.end = ends.then_some((now.plus(runs_for), 0));
        Ok(started(pid, now))
    }

    fn adopt(&mut self, run: &Run, now: Timestamp) -> Result<Done, OpError> {
        let id = &run.task.container;
        match self.containers.get(id).map(|kept| kept.phase.clone()) {
            Some(Phase::Running { pid, started_at }) => Ok(started(pid, started_at)),
            // It has ended since it was looked at: that is said as well.
            Some(Phase::Ended(exit)) => {
                let event = HostEvent::Ended {
                    container: id.clone(),
                    task: run.task.id.clone(),
                    exit: exit.clone(),
                };
                if let Some(ears) = &self.ears {
                    let _ = ears.events.try_send(event);
                }
                Ok(started(1, exit.started_at.unwrap_or(now)))
            }
            _ => Err(failure("it does not run")),
        }
    }

    fn release(&mut self, id: &ContainerId) {
        let Some(kept) = self.containers.get_mut(id) else {
            return;
        };
        match &kept.phase {
            Phase::Ended(exit) => kept.phase = Phase::Released(exit.clone()),
            phase if phase.is_alive() => {
                let what = format!("container {id} is released while it runs");
                self.accuse(what);
            }
            _ => {}
        }
    }
}

fn started(pid: u32, started_at: Timestamp) -> Done {
    Done::Started {
        pid,
        started_at,
        ports: BTreeMap::new(),
        health: None,
        hooks: Hooks::Idle,
    }
}

fn failure(reason: &str) -> OpError {
    OpError {
        reason: reason.to_owned(),
        exit_code: None,
    }
}

impl Host for Machine {
    async fn observe(&self) -> Result<Observed, OpError> {
        let inner = self.inner();
        let containers = inner.containers.iter();
        Ok(Observed {
            containers: containers.map(|(id, it)| (id.clone(), it.seen())).collect(),
            networks: inner.networks.keys().map(|id| (id.clone(), None)).collect(),
            volumes: inner.volumes.clone(),
        })
    }

    /// The process may die before anything was done, after it, or while nobody knows yet.
    async fn execute(&self, op: &Op) -> Result<Done, OpError> {
        let (half, fails) = self.inner().draw();
        tokio::time::sleep(half).await;
        // A day that has turned out well is over for what it had begun badly, too.
        if fails && !self.inner().calm {
            return Err(failure("it is a bad day"));
        }
        let done = {
            let mut inner = self.inner();
            let Some(ears) = &inner.ears else {
                return Err(failure("there is no process"));
            };
            let now = ears.clock.now();
            inner.carry_out(op, now)
        };
        tokio::time::sleep(half).await;
        done
    }

    async fn announce(&self, _assignment: &Assignment) {}
}
