//! Hosts, the network between them, clients, and what goes wrong: one queue of events, one seed.
//!
//!     client ─► packet ─► [ member: control plane + disk ] ─► packet ─► member
//!                              ▲        │
//!                    heartbeat, report  assignment
//!                              │        ▼
//!                            [ node: the node loop + machine ]
//!
//! After every event the [`Checker`] looks at what it can have changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::control_plane::{Command, ControlPlane, Input, Output, Refusal};
use scheduler::model::node::Role;
use scheduler::model::time::Timestamp;
use scheduler::raft::{self, Delivery, Message, wire};
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

    pub(crate) fn boot(&mut self, host: usize) {
        if self.gone.contains(&host) {
            return;
        }
        let (seed, date, now) = (self.chance.bytes(), self.date(host), self.now);
        let clock = self.clock_of(host);
        let it = &mut self.hosts[host];
        it.up = true;
        it.node.start(clock, now);
        if host >= self.managers {
            return;
        }
        it.life += 1;
        it.syncing = 0;
        it.waiting.clear();
        it.member = Some(Member::start(&node(host), seed, &it.disk, date, now));
        let life = it.life;
        self.checker.restarted(host);
        let at = self.chance.between(0, TICK);
        self.after(at, Event::Tick { host, life });
        self.after(
            0,
            Event::Input {
                host,
                life,
                input: Box::new(Input::Woken),
            },
        );
    }

    /// The process ends on the spot.
    pub(crate) fn crash(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.life += 1;
        it.up = false;
        it.crash_at_write = false;
        it.backlog.clear();
        it.node.crash();
        if std::mem::take(&mut it.paused) {
            self.after(TURN, Event::Turn { host });
            self.after(TURN, Event::Beat { host });
        }
        self.stop_manager(host);
    }

    /// Its disk has failed: it decides nothing any more until its process is started again.
    pub(crate) fn stop_manager(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.life += 1;
        it.full_disk = false;
        if let Some(member) = it.member.take() {
            let done = self.chance.index(member.jobs() + 1);
            member.crash(&mut it.disk, done);
        }
    }

    pub(crate) fn resume(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.paused = false;
        let mut ticked = false;
        for event in std::mem::take(&mut it.backlog) {
            // A clock that was stopped does not make up for it.
            if matches!(event, Event::Tick { .. }) && std::mem::replace(&mut ticked, true) {
                continue;
            }
            self.after(0, event);
        }
    }

    /// Gives the control plane of a host something, and carries out what it wants.
    pub(crate) fn feed(&mut self, host: usize, input: Input) -> Result<(), String> {
        let date = self.date(host);
        let (now, broken) = (self.now, self.broken);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(member) = &mut self.hosts[host].member else {
                return Ok(());
            };
            let time = member.time(date, now);
            let outputs = member.handle(input, time);
            inputs.extend(member.claim_sync(broken));
            self.checker.member(host, &member.plane)?;
            for output in outputs {
                self.output(host, output, time)?;
            }
            self.write(host);
        }
        Ok(())
    }

    fn output(&mut self, host: usize, output: Output, time: Timestamp) -> Result<(), String> {
        match output {
            Output::Send(message) => {
                let count = self.hosts.len();
                let to = (0..count).find(|to| raft::number_of(&node(*to)) == message.to);
                let to = to.ok_or("a message to nobody")?;
                self.send(host, to, Packet::Raft(message));
            }
            Output::Assign { node: id } => {
                let to = (0..self.hosts.len()).find(|to| node(*to) == id);
                let member = self.hosts[host].member.as_mut();
                let assignment = member.and_then(|member| member.assign(&id));
                self.send(
                    host,
                    to.ok_or("an assignment for nobody")?,
                    Packet::Assign(assignment.ok_or("an assignment of nobody")?),
                );
            }
            Output::Reply { id, result } => {
                let leader = |refused: &Refusal| match refused {
                    Refusal::NotLeader { leader } => {
                        let mut hosts = 0..self.managers;
                        hosts.find(|to| leader.as_ref() == Some(&node(*to)))
                    }
                    _ => None,
                };
                let outcome = match &result {
                    Ok(answer) => Outcome::Done {
                        revision: answer.revision,
                    },
                    Err(
                        refused @ (Refusal::NotLeader { .. }
                        | Refusal::Stale
                        | Refusal::Unsettled
                        | Refusal::NoMajority
                        | Refusal::NoRoom { .. }
                        | Refusal::Stopped { .. }),
                    ) => Outcome::Again {
                        leader: leader(refused),
                    },
                    Err(_) => Outcome::Refused,
                };
                if let Some(asked) = self.hosts[host].waiting.remove(&id) {
                    self.send(host, asked, Packet::Answer { id, outcome });
                }
            }
            Output::ReadReady { id } => {
                let version = self.hosts[host].member.as_ref();
                let version = version.map_or(0, |it| it.plane.state().version);
                let known = self.reads.remove(&id).unwrap_or(0);
                if version < known {
                    return Err(format!(
                        "host {host} reads {version} after {known} was answered"
                    ));
                }
                self.reads_done += 1;
            }
            Output::Wake(at) => {
                let it = &mut self.hosts[host];
                it.wake += 1;
                let (life, number) = (it.life, it.wake);
                let delay = at.since(time).as_micros() as u64 + 1;
                self.after(delay, Event::Woken { host, life, number });
            }
            Output::Write(_) | Output::Snapshot { .. } | Output::Install { .. } => {
                return Err("the disk was passed over".to_owned());
            }
        }
        Ok(())
    }

    /// The disk begins with what waits, if it is idle.
    fn write(&mut self, host: usize) {
        let jobs = self.hosts[host].member.as_ref().map_or(0, Member::jobs);
        let it = &mut self.hosts[host];
        if jobs == 0 || it.syncing > 0 || it.full_disk {
            return;
        }
        it.syncing = jobs;
        let life = it.life;
        let delay = if it.slow_disk {
            self.chance.between(200 * MILLI, 800 * MILLI)
        } else {
            self.chance.between(MILLI / 2, 8 * MILLI)
        };
        if std::mem::take(&mut self.hosts[host].crash_at_write) {
            self.say(format!("host {host} loses power while it writes"));
            self.after(delay / 2, Event::Undo(Fault::PowerCut { host }));
        }
        self.after(delay, Event::Synced { host, life });
    }

    fn synced(&mut self, host: usize) -> Result<(), String> {
        let it = &mut self.hosts[host];
        let count = std::mem::take(&mut it.syncing);
        let Some(member) = &mut it.member else {
            return Ok(());
        };
        for input in member.sync(&mut it.disk, count) {
            self.feed(host, input)?;
        }
        self.write(host);
        Ok(())
    }

    /// There is no room on a disk any more, or there is again.
    pub(crate) fn fill(&mut self, host: usize, full: bool) -> Result<(), String> {
        self.hosts[host].full_disk = full;
        if full {
            return self.feed(host, Input::DiskFull);
        }
        self.write(host);
        Ok(())
    }

    // The network.

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let lost = from != to && (self.cut[from][to] || self.chance.happens(self.loss));
        let is_state = matches!(&packet, Packet::Raft(message) if wire::carries_state(message));
        if from < self.hosts.len()
            && let Packet::Raft(message) = &packet
        {
            // The sender learns of it, mostly.
            let (member, life) = (message.to, self.hosts[from].life);
            let delivery = if lost {
                Delivery::Failed
            } else {
                Delivery::Done
            };
            self.installs += u64::from(is_state && !lost);
            let mut notices = Vec::new();
            if is_state {
                notices.push(Input::StateSent { member, delivery });
            }
            if lost && self.chance.happens(500) {
                notices.push(Input::Unreachable { member });
            }
            for input in notices {
                let input = Box::new(input);
                let host = from;
                self.after(20 * MILLI, Event::Input { host, life, input });
            }
        }
        if lost {
            return;
        }
        let delay = self.delay(from == to);
        if self.chance.happens(10) {
            let (again, packet) = (self.delay(from == to), packet.clone());
            self.after(again, Event::Arrives { from, to, packet });
        }
        self.after(delay, Event::Arrives { from, to, packet });
    }

    fn delay(&mut self, same_host: bool) -> u64 {
        if same_host {
            return 50;
        }
        match self.chance.happens(20) {
            true => self.chance.between(MILLI, 90 * MILLI),
            false => self.chance.between(MILLI / 5, 3 * MILLI),
        }
    }

    fn arrives(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
        if to < self.hosts.len() && !self.hosts[to].up {
            return Ok(());
        }
        match packet {
            Packet::Raft(message) => {
                // What travels is bytes; looking at some of them is enough.
                let message = if self.chance.happens(30) {
                    let bytes = wire::encode(&message).map_err(|it| it.to_string())?;
                    Box::new(wire::decode(&bytes).map_err(|it| it.to_string())?)
                } else {
                    message
                };
                self.feed(to, Input::Message(message))
            }
            Packet::Command { id, command } => {
                self.hosts[to].waiting.insert(id.clone(), from);
                self.feed(to, Input::Command { id, command })
            }
            Packet::Answer { id, outcome } => {
                self.answered(&id, outcome);
                Ok(())
            }
            Packet::Beat {
                session,
                number,
                report,
            } => self.beaten(from, to, session, number, report),
            Packet::Assign(assignment) => {
                let it = &mut self.hosts[to];
                if it.node.leader != from {
                    it.node.turn_to(from);
                }
                it.node.answered(self.now);
                if it.node.accept(assignment, self.broken, self.now) {
                    let number = it.node.told.number();
                    self.checker.accept(&node(to), number)?;
                }
                Ok(())
            }
            Packet::Leader(leader) => {
                let it = &mut self.hosts[to].node;
                match leader {
                    Some(leader) if leader == from && leader == it.leader => it.answered(self.now),
                    Some(leader) => it.turn_to(leader),
                    None => {
                        let next = self.chance.index(self.managers);
                        it.turn_to(next);
                    }
                }
                Ok(())
            }
        }
    }

    // Nodes.

    fn turn(&mut self, host: usize) -> Result<(), String> {
        let (date, now) = (self.clock_of(host), self.now);
        let it = &mut self.hosts[host];
        if it.node.turn(date, now) && it.up {
            self.speak(host);
        }
        self.check_machines()
    }

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

    fn beat(&mut self, host: usize) {
        if !self.hosts[host].up {
            return;
        }
        if self.hosts[host].node.unanswered >= 2 {
            let next = self.any_manager();
            self.hosts[host].node.turn_to(next);
        }
        self.hosts[host].node.unanswered += 1;
        self.speak(host);
    }

    fn speak(&mut self, host: usize) {
        let it = &mut self.hosts[host].node;
        let (to, packet) = (
            it.leader,
            Packet::Beat {
                session: it.session,
                number: it.told.number(),
                report: it.report(),
            },
        );
        self.send(host, to, packet);
    }

    fn beaten(
        &mut self,
        from: usize,
        to: usize,
        session: u64,
        number: (u64, u64),
        report: Report,
    ) -> Result<(), String> {
        let Some(member) = &self.hosts[to].member else {
            return Ok(());
        };
        if !member.plane.leads() {
            let leader = member.plane.leader();
            let leader = (0..self.managers).find(|host| leader.as_ref() == Some(&node(*host)));
            // One that has lost it does not send anybody to itself.
            let leader = leader.filter(|leader| *leader != to);
            self.send(to, from, Packet::Leader(leader));
            return Ok(());
        }
        let assignment = member.assignments.get(&node(from)).cloned();
        let (id, known) = (
            node(from),
            member.plane.state().nodes.contains_key(&node(from)),
        );
        if known {
            let heard = id.clone();
            self.feed(
                to,
                Input::Heard {
                    node: heard,
                    session,
                },
            )?;
            if !report.is_empty() {
                self.feed(to, Input::Report { node: id, report })?;
            }
        }
        match assignment.filter(|it| it.number() != number) {
            Some(assignment) => self.send(to, from, Packet::Assign(assignment)),
            None => self.send(to, from, Packet::Leader(Some(to))),
        }
        Ok(())
    }

    // Clients.

    pub(crate) fn ask(&mut self, wish: Wish) {
        self.begin(wish, false);
    }

    fn begin(&mut self, wish: Wish, setup: bool) {
        self.wishes += 1;
        let number = self.wishes;
        let pending = Pending {
            id: RequestId(format!("r{number}").into()),
            wish,
            attempt: 0,
            setup,
        };
        self.pending.insert(number, pending);
        self.after(
            0,
            Event::Try {
                wish: number,
                attempt: 0,
            },
        );
    }

    fn next_setup(&mut self) {
        if let Some(command) = self.setup.pop_front() {
            let label = None;
            self.begin(Wish { command, label }, true);
        }
    }

    fn wish(&mut self) {
        if self.calm {
            return;
        }
        let number = self.wishes + 1;
        let wish = wishes::draw(&mut self.chance, number);
        self.ask(wish);
        let delay = self.chance.between(SECOND / 4, 2 * SECOND);
        self.after(delay, Event::Wish);
    }

    fn attempt(&mut self, number: u64, attempt: u32) {
        let leader = self.last_leader;
        let staying: Vec<usize> = self.staying_managers().collect();
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        if pending.attempt != attempt {
            return;
        }
        pending.attempt += 1;
        if self.broken == Some(Rule::KeepTheId) {
            pending.id = RequestId(format!("r{number}-{attempt}").into());
        }
        let (id, command) = (pending.id.clone(), Box::new(pending.wish.command.clone()));
        let anybody = staying[self.chance.index(staying.len())];
        let to = match leader {
            _ if pending.setup && attempt == 0 => 0,
            Some(leader) if attempt.is_multiple_of(2) => leader,
            _ => anybody,
        };
        let client = self.hosts.len();
        self.send(client, to, Packet::Command { id, command });
        let patience = self.chance.between(SECOND, 3 * SECOND);
        self.after(
            patience,
            Event::Try {
                wish: number,
                attempt: attempt + 1,
            },
        );
    }

    fn answered(&mut self, id: &RequestId, outcome: Outcome) {
        let found = self.pending.iter().find(|(_, it)| it.id == *id);
        let Some((number, pending)) = found.map(|(number, it)| (*number, it)) else {
            return;
        };
        match outcome {
            Outcome::Again { leader } => {
                let attempt = pending.attempt;
                self.last_leader = leader.or(self.last_leader);
                let delay = self.chance.between(50 * MILLI, 400 * MILLI);
                self.after(
                    delay,
                    Event::Try {
                        wish: number,
                        attempt,
                    },
                );
                return;
            }
            Outcome::Done { revision } => {
                self.revision = self.revision.max(revision);
                let label = pending.wish.label;
                // Commands that changed nothing leave no answer behind.
                if label.is_some() {
                    self.checker.answer(id.clone(), label);
                }
            }
            Outcome::Refused => {}
        }
        let setup = pending.setup;
        let asked = self.pending.remove(&number);
        if let Some(Command::LeaveCluster { node: id, .. }) = asked.map(|it| it.wish.command)
            && let Some(host) = (0..self.hosts.len()).find(|host| node(*host) == id)
        {
            lasting::left(self, host, outcome == Outcome::Refused);
        }
        if setup {
            self.next_setup();
        }
    }

    fn read(&mut self) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        let delay = self.chance.between(SECOND / 10, SECOND);
        self.after(delay, Event::Read);
        let host = self.chance.index(self.managers);
        if !self.hosts[host].up || self.hosts[host].paused {
            return Ok(());
        }
        let id = self.chance.number();
        self.reads.insert(id, self.revision);
        self.feed(host, Input::Read { id })
    }

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

    /// One of those that are not known to be gone.
    fn any_manager(&mut self) -> usize {
        let staying: Vec<usize> = self.staying_managers().collect();
        staying[self.chance.index(staying.len())]
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
