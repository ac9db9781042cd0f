//! Clients: they ask for changes until they are told what became of them, and read.

use scheduler::control_plane::{Command, Input};
use scheduler::state::RequestId;

use super::{Event, MILLI, Outcome, Packet, Pending, SECOND, World};
use crate::lasting;
use crate::rules::Rule;
use crate::wishes::{self, Wish, node};

impl World {
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

    pub(super) fn next_setup(&mut self) {
        if let Some(command) = self.setup.pop_front() {
            let label = None;
            self.begin(Wish { command, label }, true);
        }
    }

    pub(super) fn wish(&mut self) {
        if self.calm {
            return;
        }
        let number = self.wishes + 1;
        let wish = wishes::draw(&mut self.chance, number);
        self.ask(wish);
        let delay = self.chance.between(SECOND / 4, 2 * SECOND);
        self.after(delay, Event::Wish);
    }

    pub(super) fn attempt(&mut self, number: u64, attempt: u32) {
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

    pub(super) fn answered(&mut self, id: &RequestId, outcome: Outcome) {
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

    pub(super) fn read(&mut self) -> Result<(), String> {
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

    /// One of those that are not known to be gone.
    pub(super) fn any_manager(&mut self) -> usize {
        let staying: Vec<usize> = self.staying_managers().collect();
        staying[self.chance.index(staying.len())]
    }
}
