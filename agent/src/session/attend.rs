//! The node's end of a session: finds the manager that leads, and stays with it while it does.
//!
//!     find ──Welcome──► stay ──Elsewhere, silence, end──► find …
//!      │                  └─► assignments, [`Contact::Open`]
//!      └── nobody for a while ─► [`Contact::Silent`]
//!
//! A node that is a manager itself attends to itself when it leads, without a connection. Reports
//! that were made for a session which has ended are dropped: the next one is told everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use scheduler::assignment::Assignment;
use scheduler::model::cluster::ClusterSettings;
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeDescription;
use scheduler::report::Report;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::frame::{FromNode, Hello, ToNode, VERSION, Welcome};
use super::lead::Leader;
use super::pipe::{self, Pipe};
use super::search::{Next, Search};
use crate::node::{Contact, Said};
use crate::peer::{Identities, PeerAddress, Peers};

/// A manager that is asked must have answered by then.
const ANSWER: Duration = Duration::from_secs(2);
/// After a silence, what has come meanwhile may still be read: this process may have stood still.
const SECOND_LOOK: Duration = Duration::from_millis(250);
/// Longer than any session: no beat is wanted.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who attends, and what it goes by.
pub struct Attendance {
    pub node: NodeId,
    pub description: NodeDescription,
    /// As last heard; the assignments bring newer ones.
    pub managers: Vec<PeerAddress>,
    /// The managers, whenever one has come and said where they are.
    pub found: watch::Receiver<Vec<PeerAddress>>,
    pub identities: Identities,
    pub peers: Peers,
    /// This node's own manager, if it is one.
    pub own: Option<Leader>,
    /// Of the assignment that is remembered.
    pub accepted: (u64, u64),
    /// Where assignments go.
    pub assignments: watch::Sender<Arc<Assignment>>,
    pub contact: watch::Sender<Contact>,
    pub reports: mpsc::Receiver<Said>,
}

/// A session that has just been opened.
struct Open {
    pipe: Pipe<FromNode, ToNode>,
    welcome: Welcome,
    /// `None`: this node's own manager.
    peer: Option<PeerAddress>,
    /// Who has signed the certificate that was spoken of.
    shown: String,
}

/// What became of knocking at a manager's door.
enum Knocked {
    Welcome(Box<Open>),
    Elsewhere(Option<PeerAddress>),
    Refused(String),
    NoAnswer,
}

struct Attending {
    given: Attendance,
    search: Search,
    session: u64,
    /// Until then it is only lost, not silent.
    silent_at: Instant,
}

/// Attends until dropped.
pub async fn attend(given: Attendance) {
    let managers = given.managers.iter().filter(|it| it.node != given.node);
    let mut attending = Attending {
        search: Search::new(managers.cloned().collect()),
        session: 0,
        silent_at: Instant::now() + ClusterSettings::default().suspect_after(),
        given,
    };
    loop {
        let Some(open) = attending.find().await else {
            return;
        };
        attending.session += 1;
        let session = attending.session;
        match &open.peer {
            Some(peer) => info!(manager = %peer.node, address = %peer.address, "it leads"),
            None => debug!("this node leads"),
        }
        attending
            .given
            .contact
            .send_replace(Contact::Open { session });
        attending.stay(open).await;
        attending.given.contact.send_replace(Contact::Lost);
        if attending.given.reports.is_closed() {
            // The node's loop has ended: nobody is left to attend for.
            return;
        }
        attending.search.begin();
    }
}

impl Attending {
    /// Asks until somebody says welcome. `None` when nobody is left to attend for.
    async fn find(&mut self) -> Option<Open> {
        let mut asking = BTreeSet::new();
        let mut asked: FuturesUnordered<BoxFuture<'static, (PeerAddress, Knocked)>> =
            FuturesUnordered::new();
        let mut own = self.given.own.as_ref().map(Leader::standing);
        // Not everybody at once after an election.
        let mut look_at = Instant::now() + Duration::from_millis(50).mul_f64(rand::random());
        loop {
            if let Some(leader) = self.given.own.clone()
                && own
                    .as_mut()
                    .is_some_and(|own| own.borrow_and_update().leads)
                && let Some(open) = self.attend_to_itself(&leader).await
            {
                return Some(open);
            }
            let silent = *self.given.contact.borrow() == Contact::Silent;
            tokio::select! {
                said = self.given.reports.recv() => { said?; }
                () = changed(own.as_mut()) => {}
                () = changed(Some(&mut self.given.found)) => {
                    let found = self.given.found.borrow_and_update().clone();
                    self.search.know(found);
                    self.search.begin();
                    look_at = Instant::now();
                }
                Some((peer, knocked)) = asked.next(), if !asked.is_empty() => {
                    asking.remove(&peer);
                    match knocked {
                        Knocked::Welcome(open) => return Some(*open),
                        Knocked::Elsewhere(Some(leader)) if leader.node != self.given.node => {
                            if self.search.hint(leader) {
                                look_at = Instant::now();
                            }
                        }
                        Knocked::Elsewhere(_) | Knocked::NoAnswer => {}
                        Knocked::Refused(reason) => {
                            warn!(manager = %peer.node, reason, "the manager does not want this node");
                        }
                    }
                }
                () = sleep_until(look_at) => match self.search.next(rand::random()) {
                    Next::Ask(peer, wait) => {
                        look_at = Instant::now() + wait;
                        if asking.insert(peer.clone()) {
                            asked.push(Box::pin(self.knock(peer)));
                        }
                    }
                    Next::Pause(wait) => look_at = Instant::now() + wait,
                },
                () = sleep_until(self.silent_at), if !silent => {
                    self.given.contact.send_replace(Contact::Silent);
                }
            }
        }
    }

    fn hello(&self) -> Hello {
        let told = self.given.assignments.borrow().number();
        let (epoch, generation) = told.max(self.given.accepted);
        let identity = self.given.identities.borrow().clone();
        let address = identity.as_ref().map(|it| it.credentials.advertise);
        Hello {
            version: VERSION,
            node: self.given.node.clone(),
            description: NodeDescription {
                authority: self.authority(),
                ..self.given.description.clone()
            },
            address,
            epoch,
            generation,
        }
    }

    async fn attend_to_itself(&self, leader: &Leader) -> Option<Open> {
        let (pipe, other) = pipe::within_process();
        tokio::spawn(leader.clone().serve(self.given.node.clone(), other));
        match greet(pipe, self.hello(), None).await {
            Knocked::Welcome(open) => Some(*open),
            Knocked::Elsewhere(_) | Knocked::Refused(_) | Knocked::NoAnswer => {
                // It has only just stopped leading: its standing says so in a moment.
                tokio::time::sleep(SECOND_LOOK).await;
                None
            }
        }
    }

    fn knock(&self, peer: PeerAddress) -> BoxFuture<'static, (PeerAddress, Knocked)> {
        let (peers, hello) = (self.given.peers.clone(), self.hello());
        Box::pin(async move {
            let asked = async {
                match peers.upgrade(&peer, super::PATH).await {
                    Ok(connection) => {
                        greet(pipe::over(connection), hello, Some(peer.clone())).await
                    }
                    Err(error) => {
                        debug!(manager = %peer.node, %error, "no session");
                        Knocked::NoAnswer
                    }
                }
            };
            let knocked = timeout(ANSWER, asked).await.unwrap_or(Knocked::NoAnswer);
            (peer, knocked)
        })
    }

    /// Whose certificate it has; empty on a host that stands alone.
    fn authority(&self) -> String {
        let identity = self.given.identities.borrow();
        let authority = identity.as_ref().map(|it| it.authority.clone());
        authority.unwrap_or_default()
    }

    /// Until the session ends, whoever ends it.
    async fn stay(&mut self, mut open: Open) {
        let mut welcome = open.welcome;
        let mut beat = beats(welcome);
        let mut own = match open.peer {
            Some(_) => self.given.own.as_ref().map(Leader::standing),
            None => None,
        };
        let mut report: Option<Report> = None;
        let mut looked_twice = false;
        loop {
            if self.authority() != open.shown {
                return debug!(
                    "another authority has signed its certificate: it shows the new one"
                );
            }
            let heard = open.pipe.heard.as_ref().map(|heard| *heard.borrow());
            let patience = Duration::from_millis(welcome.suspect_after_millis.max(1));
            self.silent_at = heard.unwrap_or_else(Instant::now) + patience;
            let overdue = match (heard, looked_twice) {
                (None, _) => Instant::now() + NEVER,
                (Some(_), false) => self.silent_at,
                (Some(_), true) => self.silent_at.max(Instant::now() + SECOND_LOOK),
            };
            tokio::select! {
                frame = open.pipe.receive.recv() => {
                    looked_twice = false;
                    match frame {
                        Some(ToNode::Welcome(other)) => {
                            welcome = other;
                            beat = beats(welcome);
                        }
                        Some(ToNode::Beat) => {}
                        Some(ToNode::Assign(assignment)) => self.accept(assignment),
                        Some(ToNode::Elsewhere { leader }) => {
                            if let Some((node, address)) = leader {
                                self.search.hint(PeerAddress { node, address });
                            }
                            return;
                        }
                        Some(ToNode::Refused { reason }) => {
                            return warn!(reason, "the manager does not want this node any longer");
                        }
                        None => return,
                    }
                }
                said = self.given.reports.recv(), if report.is_none() => match said {
                    Some(said) if said.session == self.session => report = Some(said.report),
                    // Made for a session that has ended.
                    Some(_) => {}
                    None => return,
                },
                permit = open.pipe.bulk.reserve(), if report.is_some() => match (permit, report.take()) {
                    (Ok(permit), Some(report)) => permit.send(FromNode::Report(Box::new(report))),
                    _ => return,
                },
                _ = beat.tick() => {
                    // When the lane is full, other signs of life are on their way.
                    let _ = open.pipe.urgent.try_send(FromNode::Beat);
                }
                () = sleep_until(overdue) => {
                    if looked_twice {
                        return info!("the manager is silent: looking for another one");
                    }
                    looked_twice = true;
                }
                () = changed(Some(&mut self.given.identities)) => {}
                () = changed(own.as_mut()) => {
                    if own.as_mut().is_some_and(|own| own.borrow_and_update().leads) {
                        return;
                    }
                }
            }
        }
    }

    fn accept(&mut self, assignment: Arc<Assignment>) {
        let managers = assignment.managers.iter();
        let managers = managers.filter(|(node, _)| *node != self.given.node);
        let managers = managers.map(|(node, address)| PeerAddress {
            node: node.clone(),
            address: *address,
        });
        self.search.know(managers.collect());
        let told = self.given.assignments.borrow().number();
        // One like the remembered one confirms it.
        if assignment.number() > told && assignment.number() >= self.given.accepted {
            self.given.assignments.send_replace(assignment);
        }
    }
}

async fn greet(
    mut pipe: Pipe<FromNode, ToNode>,
    hello: Hello,
    peer: Option<PeerAddress>,
) -> Knocked {
    let shown = hello.description.authority.clone();
    let hello = FromNode::Hello(Box::new(hello));
    if pipe.urgent.send(hello).await.is_err() {
        return Knocked::NoAnswer;
    }
    match pipe.receive.recv().await {
        Some(ToNode::Welcome(welcome)) => Knocked::Welcome(Box::new(Open {
            pipe,
            welcome,
            peer,
            shown,
        })),
        Some(ToNode::Elsewhere { leader }) => {
            Knocked::Elsewhere(leader.map(|(node, address)| PeerAddress { node, address }))
        }
        Some(ToNode::Refused { reason }) => Knocked::Refused(reason),
        // Nobody assigns before a welcome.
        Some(ToNode::Beat | ToNode::Assign(_)) | None => Knocked::NoAnswer,
    }
}

fn beats(welcome: Welcome) -> tokio::time::Interval {
    let period = match welcome.heartbeat_millis {
        0 => NEVER,
        millis => Duration::from_millis(millis),
    };
    let mut beats = tokio::time::interval_at(Instant::now() + period, period);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats
}

/// Never, when there is nothing that could change.
async fn changed<T>(watched: Option<&mut watch::Receiver<T>>) {
    if let Some(watched) = watched
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
