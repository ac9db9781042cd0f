//! Whether containers here reach those on the nodes that they share networks with.
//!
//!     assignment ─► [`probes`] ─► [`Reach::pick`] ─► a few tries each 5 s ─► [`Reach::note`] ─┐
//!                                                      report, when something has changed ◄───┘
//!
//! Managers see each node; what two nodes see of each other only they can tell. Tried is the whole
//! way of the containers' packets: from the network namespace of a container here, over bridge and
//! tunnel, a TCP connection to a port that nobody uses of a container there that serves. Refused or
//! accepted, the way is whole. That large packets pass, or that a program there answers, is not
//! proved by it; a container that drops such packets itself looks as if it was cut off.
//!
//! Nothing is moved because of it: which of the two is to blame cannot be known here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use scheduler::assignment::{AssignedNetwork, Assignment};
use scheduler::model::id::ContainerId;
use scheduler::model::task::DesiredState;
use scheduler::report::Report;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::container::Containers;
use crate::namespace::NetworkNamespace;
use crate::node::{Contact, Said};

const INTERVAL: Duration = Duration::from_secs(5);
/// One lost packet is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nodes that are tried in a round: in a cluster of a hundred each is tried every minute or so.
const AT_ONCE: usize = 8;
/// Of these, nodes that did not answer the last time, so that the others have their turn as well.
const AGAIN: usize = AT_ONCE / 2;
/// Tries in vain after which a node counts as cut off. By then managers have found out, and told,
/// which containers have gone with their node.
const IN_VAIN: u32 = 3;
/// "discard" (RFC 863): nobody serves it, and the kernel refuses for nobody.
const PORT: u16 = 9;

/// One try: from a container here to an address on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    from: ContainerId,
    to: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Reached,
    Lost,
}

/// What has been tried. Nodes are told apart by where their tunnels end.
#[derive(Debug, Default)]
struct Reach {
    /// Tries in vain in a row; nodes that answer are not in it.
    lost: BTreeMap<IpAddr, u32>,
    /// Whose turn it was last.
    last: Option<IpAddr>,
}

impl Reach {
    /// Whom to try now; those with whom nothing is shared any more are forgotten.
    fn pick(&mut self, nodes: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        self.lost.retain(|node, _| nodes.contains(node));
        let mut picked: BTreeSet<IpAddr> = self.lost.keys().copied().take(AGAIN).collect();
        let last = self.last;
        let (before, after): (Vec<&IpAddr>, Vec<&IpAddr>) =
            (nodes.iter()).partition(|node| last.is_some_and(|last| **node <= last));
        for node in after.into_iter().chain(before) {
            if picked.len() == AT_ONCE {
                break;
            }
            picked.insert(*node);
            self.last = Some(*node);
        }
        picked
    }

    fn note(&mut self, node: IpAddr, outcome: Outcome) {
        match outcome {
            Outcome::Reached => {
                self.lost.remove(&node);
            }
            Outcome::Lost => {
                let count = self.lost.entry(node).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    fn cut_off(&self) -> BTreeSet<IpAddr> {
        let lost = self.lost.iter().filter(|(_, count)| **count >= IN_VAIN);
        lost.map(|(node, _)| *node).collect()
    }
}

/// What can be tried, by node.
fn probes(assignment: &Assignment) -> BTreeMap<IpAddr, Vec<Probe>> {
    let mut probes: BTreeMap<IpAddr, Vec<Probe>> = BTreeMap::new();
    for network in assignment.networks.iter().filter(|it| it.inter_container) {
        let (Some(overlay), Some(from)) = (&network.overlay, someone_on(assignment, network))
        else {
            continue;
        };
        let serving: BTreeSet<IpAddr> = network.names.values().flatten().copied().collect();
        for remote in overlay
            .remote
            .iter()
            .filter(|it| serving.contains(&it.address))
        {
            probes.entry(remote.node).or_default().push(Probe {
                from: from.clone(),
                to: remote.address,
            });
        }
    }
    probes
}

/// A container of this node that is on a network.
fn someone_on<'a>(
    assignment: &'a Assignment,
    network: &AssignedNetwork,
) -> Option<&'a ContainerId> {
    let mut tasks = assignment.tasks.iter();
    let found = tasks.find(|task| {
        task.desired == DesiredState::Running
            && task.interfaces.iter().any(|it| it.network == network.id)
    });
    found.map(|task| &task.container)
}

/// What it listens to, and where it says what it has found.
pub(crate) struct Sources {
    pub(crate) assignments: watch::Receiver<Arc<Assignment>>,
    pub(crate) contact: watch::Receiver<Contact>,
    pub(crate) reports: mpsc::Sender<Said>,
    pub(crate) containers: Arc<Containers>,
}

/// Until it is dropped, or nobody is there to be told.
pub(crate) async fn run(mut sources: Sources) {
    let mut reach = Reach::default();
    let mut rounds = interval(INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    for round in 0.. {
        tokio::select! {
            _ = rounds.tick() => look(&mut reach, &sources, round).await,
            changed = sources.contact.changed() => if changed.is_err() {
                return;
            },
        }
        let Contact::Open { session } = *sources.contact.borrow_and_update() else {
            continue;
        };
        let now = (session, reach.cut_off());
        if told.as_ref() == Some(&now) {
            continue;
        }
        let report = Report {
            cut_off: Some(now.1.clone()),
            ..Report::default()
        };
        if sources
            .reports
            .send(Said { session, report })
            .await
            .is_err()
        {
            return;
        }
        told = Some(now);
    }
}

async fn look(reach: &mut Reach, sources: &Sources, round: usize) {
    let probes = probes(&sources.assignments.borrow().clone());
    let picked = reach.pick(&probes.keys().copied().collect());
    let tries = picked.iter().filter_map(|node| {
        // Not always the same container: one may have reasons of its own.
        let probes = probes.get(node)?;
        let probe = probes.get(round % probes.len())?;
        Some(async move { (*node, attempt(&sources.containers, probe).await) })
    });
    for (node, outcome) in join_all(tries).await {
        if let Some(outcome) = outcome {
            reach.note(node, outcome);
        }
    }
}

/// `None` when it could not be tried, as with a container that does not run yet.
async fn attempt(containers: &Containers, probe: &Probe) -> Option<Outcome> {
    let pids = containers.pids(&probe.from).await.ok()?;
    let namespace = NetworkNamespace::of(*pids.first()?).ok()?;
    if namespace.is_ours().ok()? {
        return None;
    }
    let to = SocketAddr::new(probe.to, PORT);
    let connect = move || TcpStream::connect_timeout(&to, PATIENCE).map(drop);
    match namespace.run(connect).await.map_err(|error| error.kind()) {
        Ok(()) | Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Some(Outcome::Reached)
        }
        Err(ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            Some(Outcome::Lost)
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
