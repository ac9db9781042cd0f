//! The network between hosts, and what nodes and managers say to each other over it.

use scheduler::control_plane::Input;
use scheduler::raft::{Delivery, wire};
use scheduler::report::Report;

use super::{Event, MILLI, Packet, World};
use crate::wishes::node;

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
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

    pub(super) fn arrives(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
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

    pub(super) fn turn(&mut self, host: usize) -> Result<(), String> {
        let (date, now) = (self.clock_of(host), self.now);
        let it = &mut self.hosts[host];
        if it.node.turn(date, now) && it.up {
            self.speak(host);
        }
        self.check_machines()
    }

    pub(super) fn beat(&mut self, host: usize) {
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

    pub(super) fn speak(&mut self, host: usize) {
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
}
