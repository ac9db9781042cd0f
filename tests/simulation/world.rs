//! Hosts, the network between them, clients, and what goes wrong: one queue of events, one seed.
//!
//!     client ─► packet ─► [ member: control plane + disk ] ─► packet ─► member
//!                              ▲        │
//!                    heartbeat, report  assignment
//!                              │        ▼
//!                            [ node: the node loop + machine ]
//!
//! After every event the [`Checker`] looks at what it can have changed.

mod clients;
mod hosts;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::control_plane::{Command, ControlPlane, Input};
use scheduler::model::node::Role;
use scheduler::model::time::Timestamp;
use scheduler::raft::{self, Message};
use scheduler::report::Report;
use scheduler::state::RequestId;

use crate::chance::Chance;
use crate::faults::{self, Fault};
use crate::lasting;
use crate::member::{Disk, Member};
use crate::node::Node;
use crate::rules::{Checker, Rule};
use crate::wishes::{self, Wish, node};

pub(crate) const MILLI: u64 = 1000;
pub(crate) const SECOND: u64 = 1000 * MILLI;
/// The date when everything begins: some time in 2026.
const DATE: u64 = 1_790_000_000 * SECOND;
const TICK: u64 = raft::TICK.as_micros() as u64;
const TURN: u64 = 250 * MILLI;
const BEAT: u64 = SECOND;
/// Nobody has ever needed as many.
const MOST_EVENTS: usize = 3_000_000;
const TRACE: usize = 80;

pub(crate) enum Event {
    Tick {
        host: usize,
        life: u64,
    },
    Woken {
        host: usize,
        life: u64,
        number: u64,
    },
    Synced {
        host: usize,
        life: u64,
    },
    Input {
        host: usize,
        life: u64,
        input: Box<Input>,
    },
    Arrives {
        from: usize,
        to: usize,
        packet: Packet,
    },
    Turn {
        host: usize,
    },
    Beat {
        host: usize,
    },
    Try {
        wish: u64,
        attempt: u32,
    },
    Wish,
    Read,
    Fault,
    Undo(Fault),
}

#[derive(Clone)]
pub(crate) enum Packet {
    Raft(Box<Message>),
    Command {
        id: RequestId,
        command: Box<Command>,
    },
    Answer {
        id: RequestId,
        outcome: Outcome,
    },
    Beat {
        session: u64,
        number: (u64, u64),
        report: Report,
    },
    Assign(Arc<Assignment>),
    /// The answer to a beat: where the leader is, as far as is known.
    Leader(Option<usize>),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Done { revision: u64 },
    Refused,
    Again { leader: Option<usize> },
}

pub(crate) struct Host {
    pub(crate) member: Option<Member>,
    pub(crate) disk: Disk,
    pub(crate) node: Node,
    /// Goes up with each crash: events of an earlier life are void.
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    /// What came while it was paused.
    backlog: Vec<Event>,
    /// How far its date is off, in microseconds.
    pub(crate) date_off: i64,
    syncing: usize,
    pub(crate) slow_disk: bool,
    /// Nothing can be written for want of room.
    pub(crate) full_disk: bool,
    pub(crate) crash_at_write: bool,
    wake: u64,
    waiting: BTreeMap<RequestId, usize>,
}

struct Pending {
    id: RequestId,
    wish: Wish,
    attempt: u32,
    /// Asked for before everything else, one after the other.
    setup: bool,
}

pub(crate) struct World {
    pub(crate) now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(crate) chance: Chance,
    pub(crate) hosts: Vec<Host>,
    pub(crate) managers: usize,
    /// From and to: nothing arrives. The last one is where clients are.
    pub(crate) cut: Vec<Vec<bool>>,
    pub(crate) loss: u64,
    pub(crate) calm: bool,
    pub(crate) demoted: Option<usize>,
    /// They have left, were removed, or are lost for good.
    pub(crate) gone: BTreeSet<usize>,
    broken: Option<Rule>,
    setup: VecDeque<Command>,
    pending: BTreeMap<u64, Pending>,
    wishes: u64,
    reads: BTreeMap<u64, u64>,
    /// The highest revision that a client was told of.
    revision: u64,
    pub(crate) checker: Checker,
    pub(crate) trace: VecDeque<String>,
    pub(crate) events: usize,
    pub(crate) faults: u64,
    pub(crate) reads_done: u64,
    installs: u64,
    /// Where clients believe the leader to be.
    pub(crate) last_leader: Option<usize>,
}

/// What a run was like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) seeds: u64,
    pub(crate) events: usize,
    pub(crate) faults: u64,
    pub(crate) versions: usize,
    pub(crate) reads: u64,
    pub(crate) simulated: u64,
    /// States that were sent to members far behind.
    pub(crate) installs: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.faults += other.faults;
        self.versions += other.versions;
        self.reads += other.reads;
        self.simulated += other.simulated;
        self.installs += other.installs;
    }
}

impl World {
    pub(crate) fn new(seed: u64, broken: Option<Rule>) -> Self {
        let mut chance = Chance::new(seed);
        let managers = if chance.happens(300) { 5 } else { 3 };
        let workers = chance.index(3);
        let count = managers + workers;
        let hosts = (0..count).map(|host| Host {
            member: None,
            disk: if host == 0 {
                Disk::founded(raft::number_of(&node(0)))
            } else {
                Disk::default()
            },
            node: Node::new(Chance::new(seed ^ (host as u64 + 1) << 32)),
            life: 0,
            up: true,
            paused: false,
            backlog: Vec::new(),
            date_off: 0,
            syncing: 0,
            slow_disk: false,
            full_disk: false,
            crash_at_write: false,
            wake: 0,
            waiting: BTreeMap::new(),
        });
        let mut setup = VecDeque::from([wishes::register(0), wishes::init()]);
        setup.extend((1..count).map(|host| {
            let role = if host < managers {
                Role::Manager
            } else {
                Role::Worker
            };
            wishes::join(host, role)
        }));
        let mut world = Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            hosts: hosts.collect(),
            managers,
            cut: vec![vec![false; count + 1]; count + 1],
            loss: 5,
            calm: false,
            demoted: None,
            gone: BTreeSet::new(),
            broken,
            setup,
            pending: BTreeMap::new(),
            wishes: 0,
            reads: BTreeMap::new(),
            revision: 0,
            checker: Checker::default(),
            trace: VecDeque::new(),
            events: 0,
            faults: 0,
            reads_done: 0,
            installs: 0,
            last_leader: None,
            chance,
        };
        for host in 0..count {
            world.boot(host);
            let at = world.chance.between(0, TURN);
            world.after(at, Event::Turn { host });
            world.after(at, Event::Beat { host });
        }
        world
    }

    /// How long writes are not accepted when the leader dies on a quiet day, in microseconds.
    pub(crate) fn failover(&mut self) -> Result<u64, String> {
        self.next_setup();
        self.until(15 * SECOND)?;
        self.is_settled()?;
        let leader = self.leader().ok_or("there is no leader")?;
        self.crash(leader);
        let died = self.now;
        while self.now < died + 10 * SECOND {
            self.until(self.now + 10 * MILLI)?;
            let Some(leader) = self.leader() else {
                continue;
            };
            let made = |world: &Self| {
                let plane = world.plane(leader);
                plane.map_or(0, |plane| plane.state().services.len())
            };
            if made(self) > 0 {
                return Ok(self.now - died);
            }
            self.wishes += 1;
            let id = RequestId(format!("r{}", self.wishes).into());
            let command = Box::new(wishes::container(self.wishes));
            self.feed(leader, Input::Command { id, command })?;
        }
        Err("no write was accepted for ten seconds".to_owned())
    }

    /// Some quiet time, then faults, then healing until everything is as it should be.
    pub(crate) fn run(&mut self) -> Result<Summary, String> {
        let quiet = if self.chance.happens(250) {
            SECOND
        } else {
            5 * SECOND
        };
        let chaos = self.chance.between(8, 20) * SECOND;
        self.next_setup();
        self.after(quiet, Event::Wish);
        self.after(quiet, Event::Read);
        self.after(quiet, Event::Fault);
        self.until(quiet + chaos)?;
        if self.chance.happens(80) {
            lasting::recover(self)?;
        }
        self.heal()?;
        let end = self.now + 120 * SECOND;
        let mut good = false;
        loop {
            self.until(self.now + SECOND / 2)?;
            self.promote_all();
            lasting::clear_away(self);
            good = good && !lasting::is_refused(self) || lasting::make_good(self);
            let Err(lacks) = self.is_settled() else {
                break;
            };
            if self.now > end {
                return Err(format!("two minutes after the last fault: {lacks}"));
            }
        }
        let leader = self.leader().ok_or("there is no leader")?;
        if let Some(member) = &self.hosts[leader].member {
            self.checker.nothing_is_lost(member.plane.state())?;
        }
        Ok(Summary {
            seeds: 1,
            events: self.events,
            faults: self.faults,
            versions: self.checker.versions(),
            reads: self.reads_done,
            simulated: self.now,
            installs: self.installs,
        })
    }

    fn until(&mut self, end: u64) -> Result<(), String> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.events += 1;
            if self.events > MOST_EVENTS {
                return Err("it never comes to an end".to_owned());
            }
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn say(&mut self, line: String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        let (seconds, millis) = (self.now / SECOND, self.now % SECOND / MILLI);
        self.trace
            .push_back(format!("{seconds:3}.{millis:03} {line}"));
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let host = match &event {
            Event::Tick { host, .. }
            | Event::Woken { host, .. }
            | Event::Synced { host, .. }
            | Event::Input { host, .. }
            | Event::Turn { host }
            | Event::Beat { host } => Some(*host),
            Event::Arrives { to, .. } if *to < self.hosts.len() => Some(*to),
            Event::Arrives { .. }
            | Event::Try { .. }
            | Event::Wish
            | Event::Read
            | Event::Fault
            | Event::Undo(_) => None,
        };
        if let Some(host) = host
            && self.hosts[host].paused
        {
            self.hosts[host].backlog.push(event);
            return Ok(());
        }
        match event {
            Event::Tick { host, life } if life == self.hosts[host].life => {
                self.after(TICK, Event::Tick { host, life });
                self.feed(host, Input::Tick)
            }
            Event::Woken { host, life, number }
                if life == self.hosts[host].life && number == self.hosts[host].wake =>
            {
                self.feed(host, Input::Woken)
            }
            Event::Synced { host, life } if life == self.hosts[host].life => self.synced(host),
            Event::Input { host, life, input } if life == self.hosts[host].life => {
                self.feed(host, *input)
            }
            // Of an earlier life.
            Event::Tick { .. }
            | Event::Woken { .. }
            | Event::Synced { .. }
            | Event::Input { .. } => Ok(()),
            Event::Arrives { from, to, packet } => self.arrives(from, to, packet),
            Event::Turn { host } => {
                self.after(TURN, Event::Turn { host });
                self.turn(host)
            }
            Event::Beat { host } => {
                self.after(BEAT, Event::Beat { host });
                self.beat(host);
                Ok(())
            }
            Event::Try { wish, attempt } => {
                self.attempt(wish, attempt);
                Ok(())
            }
            Event::Wish => {
                self.wish();
                Ok(())
            }
            Event::Read => self.read(),
            Event::Fault => faults::happen(self),
            Event::Undo(fault) => faults::undo(self, fault),
        }
    }

    // Hosts.

    fn date(&self, host: usize) -> u64 {
        (DATE + self.now).saturating_add_signed(self.hosts[host].date_off)
    }

    /// What the host believes to be the time.
    pub(crate) fn clock_of(&self, host: usize) -> Timestamp {
        Timestamp::from_nanos(self.date(host) * 1000)
    }

    // The network.

    // Nodes.

    /// A volume has one owner, wherever the network is cut, and no node asks for what is wrong.
    fn check_machines(&self) -> Result<(), String> {
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for (host, it) in self.hosts.iter().enumerate() {
            // Whoever says that a node is gone answers for what still runs there.
            if self.gone.contains(&host) {
                continue;
            }
            if let Some(wrong) = it.node.machine.wrong() {
                return Err(format!("host {host}: {wrong}"));
            }
            for volume in it.node.machine.volumes_in_use() {
                let owner = *owners.entry(volume.clone()).or_insert(host);
                if owner != host {
                    return Err(format!(
                        "volume {volume} is used on hosts {owner} and {host}"
                    ));
                }
            }
        }
        Ok(())
    }

    // Clients.

    // Healing.

    fn heal(&mut self) -> Result<(), String> {
        self.say("everything is repaired".to_owned());
        self.calm = true;
        self.loss = 0;
        for row in &mut self.cut {
            row.fill(false);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].slow_disk = false;
            self.hosts[host].crash_at_write = false;
            self.hosts[host].node.machine.calm();
            self.fill(host, false)?;
            if self.hosts[host].paused {
                self.resume(host);
            }
            if self.hosts[host].member.is_none() {
                self.crash(host);
            }
            if !self.hosts[host].up {
                self.boot(host);
            }
        }
        Ok(())
    }

    /// A demotion may have been answered late.
    fn promote_all(&mut self) {
        let Some(plane) = self.leader().and_then(|leader| self.plane(leader)) else {
            return;
        };
        let nodes = plane.state().nodes.clone();
        let is_worker = |host: &usize| {
            let row = nodes.get(&node(*host));
            row.is_some_and(|row| row.role == Role::Worker)
        };
        let demoted = self.staying_managers().find(is_worker);
        if self.pending.is_empty()
            && let Some(host) = demoted
        {
            let command = wishes::make(host, Role::Manager);
            let label = None;
            self.ask(Wish { command, label });
        }
    }

    /// Hosts that are to be managers in the end.
    pub(crate) fn staying_managers(&self) -> impl Iterator<Item = usize> {
        (0..self.managers).filter(|host| !self.gone.contains(host))
    }

    /// Nothing is asked for that was not answered yet.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |host: &usize| {
            let member = self.hosts[*host].member.as_ref();
            member.is_some_and(|member| member.plane.leads())
        };
        (0..self.managers)
            .filter(leads)
            .max_by_key(|host| self.plane(*host).map(ControlPlane::term))
    }

    pub(crate) fn plane(&self, host: usize) -> Option<&ControlPlane> {
        self.hosts[host].member.as_ref().map(|it| &it.plane)
    }

    fn is_settled(&self) -> Result<(), String> {
        let leader = self.leader().ok_or("there is no leader")?;
        let plane = self.plane(leader).ok_or("the leader is down")?;
        if !self.pending.is_empty() || !self.setup.is_empty() {
            let pending = self.pending.values().map(|it| (&it.id, &it.wish.command));
            let pending: Vec<_> = pending.collect();
            return Err(format!("not answered: {pending:?}"));
        }
        let standing = plane.standing();
        let mut wanted: Vec<u64> = self
            .staying_managers()
            .map(|host| raft::number_of(&node(host)))
            .collect();
        wanted.sort_unstable();
        if standing.members.voters != wanted || standing.members.is_joint() {
            return Err(format!("the members are {:?}", standing.members));
        }
        let state = plane.state();
        for host in self.staying_managers() {
            let other = self.plane(host).ok_or("a manager is down")?;
            if other.state().version != state.version {
                return Err(format!(
                    "host {host} is at version {}",
                    other.state().version
                ));
            }
            if other.state() != state {
                return Err(format!("host {host} has another state"));
            }
        }
        crate::rest::check(self, leader, state)
    }
}
