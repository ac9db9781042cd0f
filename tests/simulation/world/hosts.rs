//! What happens on a host: its life, its manager and that one's disk.

use std::collections::VecDeque;

use scheduler::control_plane::{Input, Output, Refusal};
use scheduler::model::time::Timestamp;
use scheduler::raft;

use super::{Event, MILLI, Outcome, Packet, TICK, TURN, World};
use crate::faults::Fault;
use crate::member::Member;
use crate::wishes::node;

impl World {
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

    pub(super) fn synced(&mut self, host: usize) -> Result<(), String> {
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
}
