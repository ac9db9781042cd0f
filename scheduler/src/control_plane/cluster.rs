//! Who belongs to the cluster, as what: decided here, row by row.
//!
//!     init ─► join ─► update (availability, labels, promote, demote) ─► leave, or rm
//!
//! A row says what is wanted. The consensus group follows it (`reconcile` of its members), and so
//! does the node, whose certificate is renewed with another role. What would leave the managers
//! without a majority that answers is refused here, before anything has happened.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::command::{ClusterUpdate, Force, NodeUpdate, Reply};
use super::refusal::{Busy, Refusal};
use super::resource;
use crate::model::cluster::{Authority, Cluster, Secret};
use crate::model::id::NodeId;
use crate::model::node::{Availability, Node, NodeDescription, NodeStatus, Role};
use crate::raft::members::may_lose;
use crate::raft::number_of;
use crate::state::draft::Voters;
use crate::state::{Change, Draft, State};

/// A joiner's row before its first heartbeat.
const NOT_HEARD_OF: &str = "has joined, but not connected yet";

/// What is known of a node that joins.
pub(super) struct Newcomer {
    pub(super) description: NodeDescription,
    pub(super) role: Role,
    pub(super) address: SocketAddr,
    pub(super) public_key: String,
    pub(super) availability: Availability,
}

/// A node says who it is. The first one of all founds the cluster; any other must have joined.
pub(super) fn register_node(
    draft: &mut Draft<'_>,
    id: NodeId,
    description: NodeDescription,
) -> Result<Reply, Refusal> {
    let known = draft.state().nodes.get(&id);
    let stranger = known.is_none() && !draft.state().nodes.is_empty();
    if stranger && draft.state().cluster.is_some() {
        let node = id.to_string();
        return Err(Refusal::UnknownNode { node });
    }
    let mut node = match known {
        Some(known) => (**known).clone(),
        None => founder(id, draft),
    };
    node.description = description;
    if node.status != NodeStatus::Ready {
        node.status = NodeStatus::Ready;
        node.status_since = draft.now;
    }
    node.status_reason.clear();
    set(draft, node);
    resource::bring_bridge(draft)?;
    Ok(Reply::Done)
}

fn founder(id: NodeId, draft: &Draft<'_>) -> Node {
    Node {
        id,
        description: NodeDescription::default(),
        labels: Default::default(),
        availability: Availability::Active,
        role: Role::Manager,
        status: NodeStatus::Ready,
        status_reason: String::new(),
        status_since: draft.now,
        address: None,
        public_key: String::new(),
        down_after_millis: None,
        cut_off: Default::default(),
    }
}

pub(super) fn init(
    draft: &mut Draft<'_>,
    mut cluster: Cluster,
    node: &NodeId,
    address: SocketAddr,
    public_key: String,
) -> Result<Reply, Refusal> {
    if draft.state().cluster.is_some() {
        return Err(Refusal::ClusterExists);
    }
    let mut founder = (**row(draft.state(), node.as_str())?).clone();
    founder.address = Some(address);
    founder.public_key = public_key;
    founder.role = Role::Manager;
    set(draft, founder);
    cluster.created = draft.now;
    draft.push(Change::SetCluster(Arc::new(cluster)));
    Ok(Reply::Done)
}

/// Lets a node in. One that is in already and has the same key may ask again, as the answer to its
/// first try may have been lost; nobody else can come in under its name.
pub(super) fn join(
    draft: &mut Draft<'_>,
    id: NodeId,
    newcomer: Newcomer,
) -> Result<Reply, Refusal> {
    if draft.state().cluster.is_none() {
        return Err(Refusal::NoCluster);
    }
    if draft.state().removed_nodes.contains(&id) {
        let node = id.to_string();
        return Err(Refusal::NodeRemoved { node });
    }
    let node = match draft.state().nodes.get(&id) {
        Some(known) if known.public_key == newcomer.public_key => Node {
            address: Some(newcomer.address),
            description: newcomer.description,
            ..(**known).clone()
        },
        Some(known) => {
            let node = known.name().to_owned();
            return Err(Refusal::NodeExists { node });
        }
        None => Node {
            role: newcomer.role,
            availability: newcomer.availability,
            address: Some(newcomer.address),
            public_key: newcomer.public_key,
            description: newcomer.description,
            status: NodeStatus::Down,
            status_reason: NOT_HEARD_OF.to_owned(),
            ..founder(id, draft)
        },
    };
    set(draft, node);
    Ok(Reply::Done)
}

pub(super) fn update(
    draft: &mut Draft<'_>,
    node: &str,
    update: &NodeUpdate,
) -> Result<Reply, Refusal> {
    let mut labels = update.set_labels.keys();
    if let Some(label) = labels.find(|label| label.is_empty() || label.starts_with(' ')) {
        let label = label.clone();
        return Err(Refusal::InvalidLabel { label });
    }
    let mut node = (**row(draft.state(), node)?).clone();
    if update.role == Some(Role::Worker) && node.role == Role::Manager {
        keeps_majority(draft, &node)?;
    }
    node.role = update.role.unwrap_or(node.role);
    node.availability = update.availability.unwrap_or(node.availability);
    node.down_after_millis = update.down_after_millis.or(node.down_after_millis);
    for label in &update.remove_labels {
        node.labels.remove(label);
    }
    node.labels.extend(update.set_labels.clone());
    set(draft, node);
    Ok(Reply::Done)
}

/// `node rm`: somebody says that the node is gone.
pub(super) fn remove(draft: &mut Draft<'_>, node: &str, force: Force) -> Result<Reply, Refusal> {
    let node = row(draft.state(), node)?.clone();
    if force == Force::No {
        let busy = match (node.role, node.status) {
            (Role::Manager, _) => Some(Busy::Manager),
            (Role::Worker, NodeStatus::Ready) => Some(Busy::NotDown),
            (Role::Worker, NodeStatus::Down) => None,
        };
        refuse_busy(&node, busy)?;
    }
    if node.role == Role::Manager {
        can_agree_without(draft, &node)?;
    }
    Ok(forget(draft, &node))
}

/// The node itself goes. A manager is demoted first, and goes when it is asked for again and the
/// others have agreed that its vote does not count: until then it can be heard. The last one stays,
/// and stands alone again.
pub(super) fn leave(draft: &mut Draft<'_>, id: &NodeId, force: Force) -> Result<Reply, Refusal> {
    let node = row(draft.state(), id.as_str())?.clone();
    if node.role == Role::Worker {
        return Ok(match draft.voters().all.contains(&number_of(id)) {
            true => Reply::NodeDemoted,
            false => forget(draft, &node),
        });
    }
    let others = managers(draft.state()).any(|manager| manager.id != *id);
    if force == Force::No {
        let busy = match others {
            true => Busy::Manager,
            false => Busy::LastManager,
        };
        refuse_busy(&node, Some(busy))?;
    }
    if others {
        keeps_majority(draft, &node)?;
        let role = Role::Worker;
        set(
            draft,
            Node {
                role,
                ..(*node).clone()
            },
        );
        return Ok(Reply::NodeDemoted);
    }
    let workers: Vec<_> = draft.state().nodes.values().cloned().collect();
    for worker in workers.iter().filter(|worker| worker.id != *id) {
        forget(draft, worker);
    }
    let mut alone = (*node).clone();
    alone.address = None;
    alone.public_key.clear();
    set(draft, alone);
    draft.push(Change::RemoveCluster);
    Ok(Reply::Done)
}

pub(super) fn rotate_token(
    draft: &mut Draft<'_>,
    role: Role,
    secret: Secret,
) -> Result<Reply, Refusal> {
    let Some(cluster) = &draft.state().cluster else {
        return Err(Refusal::NoCluster);
    };
    let mut cluster = (**cluster).clone();
    match role {
        Role::Worker => cluster.worker_token = secret,
        Role::Manager => cluster.manager_token = secret,
    }
    draft.push(Change::SetCluster(Arc::new(cluster)));
    Ok(Reply::Done)
}

/// The one before it, and those before that, are believed until no node needs them any more.
pub(super) fn rotate_authority(
    draft: &mut Draft<'_>,
    replaces: &str,
    mut authority: Authority,
    (worker, manager): (Secret, Secret),
) -> Result<Reply, Refusal> {
    let Some(cluster) = &draft.state().cluster else {
        return Err(Refusal::NoCluster);
    };
    let mut cluster = (**cluster).clone();
    let old = &cluster.certificate_authority;
    if old.certificate != replaces {
        return Err(Refusal::AuthorityChanged);
    }
    authority.retiring = old.trusted();
    authority.retiring.retain(|it| *it != authority.certificate);
    cluster.certificate_authority = authority;
    cluster.worker_token = worker;
    cluster.manager_token = manager;
    draft.push(Change::SetCluster(Arc::new(cluster)));
    Ok(Reply::Done)
}

pub(super) fn update_settings(
    draft: &mut Draft<'_>,
    update: &ClusterUpdate,
) -> Result<Reply, Refusal> {
    let Some(cluster) = &draft.state().cluster else {
        return Err(Refusal::NoCluster);
    };
    let mut cluster = (**cluster).clone();
    let settings = &mut cluster.settings;
    if let Some(hours) = update.certificate_hours {
        settings.certificate_hours = hours.max(1);
    }
    if let Some(millis) = update.heartbeat_millis {
        *settings = settings.with_heartbeat(millis);
    }
    if draft.state().cluster.as_deref() != Some(&cluster) {
        draft.push(Change::SetCluster(Arc::new(cluster)));
    }
    Ok(Reply::Done)
}

pub(super) fn set_address(
    draft: &mut Draft<'_>,
    node: &NodeId,
    address: SocketAddr,
) -> Result<Reply, Refusal> {
    let mut node = (**row(draft.state(), node.as_str())?).clone();
    node.address = Some(address);
    set(draft, node);
    Ok(Reply::Done)
}

/// Finds a node by its identifier, its host name, or the beginning of its identifier.
///
/// # Errors
///
/// Returns [`Refusal::UnknownNode`] or [`Refusal::AmbiguousNode`].
pub fn row<'a>(state: &'a State, name: &str) -> Result<&'a Arc<Node>, Refusal> {
    if let Some(node) = state.nodes.get(&NodeId::new(name)) {
        return Ok(node);
    }
    let named: Vec<_> = state
        .nodes
        .values()
        .filter(|node| node.description.hostname == name)
        .collect();
    let found = if named.is_empty() && !name.is_empty() {
        let begins = |node: &&Arc<Node>| node.id.as_str().starts_with(name);
        state.nodes.values().filter(begins).collect()
    } else {
        named
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Refusal::UnknownNode { node: name.into() }),
        several => Err(Refusal::AmbiguousNode {
            node: name.into(),
            matches: several.iter().map(|node| node.id.to_string()).collect(),
        }),
    }
}

fn managers(state: &State) -> impl Iterator<Item = &Arc<Node>> {
    let nodes = state.nodes.values();
    nodes.filter(|node| node.role == Role::Manager)
}

/// Whether those who go on voting could still agree on something without this one: with the voters
/// that there are, not with the rows, which say what is wanted.
fn keeps_majority(draft: &Draft<'_>, without: &Node) -> Result<(), Refusal> {
    let others = managers(draft.state()).filter(|node| node.id != without.id);
    let staying: BTreeSet<u64> = others.map(|node| number_of(&node.id)).collect();
    if staying.is_empty() {
        return refuse_busy(without, Some(Busy::LastManager));
    }
    let Voters { all, heard } = draft.voters();
    let leaving: BTreeSet<u64> = all.difference(&staying).copied().collect();
    if may_lose(all, heard, &leaving) {
        return Ok(());
    }
    // Those of before must agree on the change as well: they may be the ones that cannot.
    let remaining: BTreeSet<u64> = all.intersection(&staying).copied().collect();
    let heard_of = |set: &BTreeSet<u64>| set.intersection(heard).count();
    let judges = match heard_of(&remaining) > remaining.len() / 2 {
        true => all,
        false => &remaining,
    };
    Err(Refusal::QuorumLost {
        node: without.name().to_owned(),
        voters: heard_of(judges),
        needed: judges.len() / 2 + 1,
    })
}

/// A manager that is removed is not heard any more, although its vote counts until the voters have
/// agreed that it does not: the others must be able to do so alone. One that is demoted stays for it.
fn can_agree_without(draft: &Draft<'_>, leaving: &Node) -> Result<(), Refusal> {
    keeps_majority(draft, leaving)?;
    let others = managers(draft.state()).filter(|node| node.id != leaving.id);
    let others: BTreeSet<u64> = others.map(|node| number_of(&node.id)).collect();
    let Voters { all, heard } = draft.voters();
    let agreeing = all.intersection(heard).filter(|it| others.contains(it));
    let is_voter = all.contains(&number_of(&leaving.id));
    match !is_voter || agreeing.count() > all.len() / 2 {
        true => Ok(()),
        false => refuse_busy(leaving, Some(Busy::Needed)),
    }
}

fn refuse_busy(node: &Node, busy: Option<Busy>) -> Result<(), Refusal> {
    match busy {
        Some(what) => Err(Refusal::NodeBusy {
            node: node.name().to_owned(),
            what,
        }),
        None => Ok(()),
    }
}

/// The node, and everything that was only there, is gone: its containers and the place of its
/// volumes. What it ran is wanted still, and so is made anew elsewhere.
fn forget(draft: &mut Draft<'_>, node: &Node) -> Reply {
    let tasks = draft.state().node_tasks(&node.id);
    let mut containers: Vec<_> = tasks.map(|task| task.container.clone()).collect();
    containers.sort_unstable();
    containers.dedup();
    for container in containers {
        draft.push(Change::ForgetContainer(container));
    }
    let volumes: Vec<_> = draft.state().volumes.values().cloned().collect();
    let mut lost = Vec::new();
    for volume in volumes {
        if volume.node.as_ref() != Some(&node.id) {
            continue;
        }
        if volume.removing {
            draft.push(Change::RemoveVolume(volume.spec.name.clone()));
            continue;
        }
        lost.push(volume.spec.name.clone());
        let mut volume = (*volume).clone();
        volume.node = None;
        draft.push(Change::SetVolume(Arc::new(volume)));
    }
    draft.push(Change::RemoveNode(node.id.clone()));
    Reply::NodeRemoved {
        id: node.id.clone(),
        volumes: lost,
    }
}

/// Writes the row, if it says something new.
fn set(draft: &mut Draft<'_>, node: Node) {
    let known = draft.state().nodes.get(&node.id);
    if known.is_none_or(|known| **known != node) {
        draft.push(Change::SetNode(Arc::new(node)));
    }
}

#[cfg(test)]
mod tests;
