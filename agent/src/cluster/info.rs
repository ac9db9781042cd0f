//! What is shown of a cluster and its nodes: facts of the state, and what the group knows beyond it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use scheduler::control_plane::Standing;
use scheduler::model::id::{ContainerId, NodeId};
use scheduler::model::node::{Availability, Node, NodeDescription, NodeStatus, Role};
use scheduler::model::task::{DesiredState, Task, TaskState};
use scheduler::raft::number_of;
use scheduler::state::State;
use serde::{Deserialize, Serialize};

/// A node, as `node ls` and `node inspect` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub id: NodeId,
    pub hostname: String,
    /// The node that was asked.
    pub is_self: bool,
    pub status: NodeStatus,
    pub status_reason: String,
    /// RFC 3339.
    pub status_since: String,
    pub availability: Availability,
    pub role: Role,
    /// `None` for a worker.
    pub manager: Option<ManagerStatus>,
    pub address: Option<SocketAddr>,
    pub labels: BTreeMap<String, String>,
    /// What constraints call `engine.labels.NAME`.
    #[serde(default)]
    pub engine_labels: BTreeMap<String, String>,
    pub os: String,
    pub architecture: String,
    pub cpu_millis: u64,
    pub memory: u64,
    /// What it has of other kinds: names, or how many.
    #[serde(default)]
    pub generic_resources: BTreeMap<String, Vec<String>>,
    /// Its certificate is not yet one of the authority that signs now.
    #[serde(default)]
    pub needs_rotation: bool,
    pub engine_version: String,
    /// Containers that run there.
    pub running: usize,
    /// Containers on it see the addresses of clients who come through other nodes.
    #[serde(default)]
    pub keeps_clients: bool,
    /// Nodes, by host name, whose containers those on this one do not reach, and since when
    /// (RFC 3339).
    #[serde(default)]
    pub cut_off: BTreeMap<String, String>,
}

/// A manager's part in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagerStatus {
    Leader,
    Reachable,
    Unreachable,
    /// It gets the state, and votes once it has it.
    CatchingUp,
}

impl ManagerStatus {
    /// Swarm's word, where it has one.
    pub fn word(self) -> &'static str {
        match self {
            Self::Leader => "Leader",
            Self::Reachable => "Reachable",
            Self::Unreachable => "Unreachable",
            Self::CatchingUp => "Catching up",
        }
    }
}

/// A container of a node, as `node ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// The container's.
    pub id: String,
    pub name: String,
    pub stack: Option<String>,
    pub service: String,
    pub image: String,
    pub node: String,
    pub state: TaskState,
    pub desired: DesiredState,
    /// RFC 3339.
    pub since: String,
    /// Why it is in this state.
    pub reason: String,
    pub exit_code: Option<i32>,
}

/// `GET /x/cluster`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    /// Empty on a host that stands alone.
    pub id: String,
    pub epoch: u64,
    pub created: String,
    pub node: String,
    pub role: Option<Role>,
    pub address: Option<SocketAddr>,
    /// RFC 3339.
    pub certificate_expires: String,
    /// Base 36, as in the tokens.
    pub authority: String,
    pub managers: Vec<SocketAddr>,
    /// Absent where it is not known: on a worker.
    pub manager_count: Option<usize>,
    pub node_count: Option<usize>,
    /// Host name of the manager that leads; empty when none is known.
    pub leader: String,
    /// Something is wrong with the cluster as a whole, in a sentence.
    pub warning: Option<String>,
}

/// Every node, in the order of host names.
pub fn nodes(state: &State, standing: &Standing, own: &NodeId) -> Vec<NodeView> {
    let rows = state.nodes.values();
    let mut views: Vec<NodeView> = rows.map(|row| node(state, standing, own, row)).collect();
    views.sort_by(|one, other| (&one.hostname, &one.id).cmp(&(&other.hostname, &other.id)));
    views
}

/// One node.
pub fn node(state: &State, standing: &Standing, own: &NodeId, row: &Node) -> NodeView {
    let tasks = state.node_tasks(&row.id);
    let running = tasks.filter(|task| task.status.state == TaskState::Running);
    let description = &row.description;
    let cut_off = scheduler::status::cut_off(state, row);
    let authority = state.cluster.as_ref().map(|it| &it.certificate_authority);
    let rotates = authority.is_some_and(|it| !it.retiring.is_empty());
    let signer = authority.map_or("", |it| it.id.as_str());
    NodeView {
        id: row.id.clone(),
        hostname: description.hostname.clone(),
        is_self: row.id == *own,
        status: row.status,
        status_reason: row.status_reason.clone(),
        status_since: crate::api::time::rfc3339(row.status_since),
        availability: row.availability,
        role: row.role,
        manager: manager(standing, own, row),
        address: row.address,
        labels: row.labels.clone(),
        engine_labels: description.engine_labels.clone(),
        os: description.os.clone(),
        architecture: description.architecture.clone(),
        cpu_millis: description.cpu_millis,
        memory: description.memory,
        generic_resources: resources(description),
        needs_rotation: rotates && description.authority != signer,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        running: running.count(),
        keeps_clients: description.keeps_clients,
        cut_off: cut_off
            .map(|(other, since)| (other.name().to_owned(), crate::api::time::rfc3339(since)))
            .collect(),
    }
}

fn resources(description: &NodeDescription) -> BTreeMap<String, Vec<String>> {
    let counted = description.generic_resources.iter();
    let counted = counted.map(|(kind, count)| (kind.clone(), vec![count.to_string()]));
    let named = description.named_resources.iter();
    let named = named.map(|(kind, names)| (kind.clone(), names.iter().cloned().collect()));
    counted.chain(named).collect()
}

/// The last run of each container of a node, by the names of the containers.
pub fn tasks(state: &State, node: &Node) -> Vec<TaskView> {
    let mut last: BTreeMap<&ContainerId, &Task> = BTreeMap::new();
    for task in state.node_tasks(&node.id) {
        last.insert(&task.container, task);
    }
    let view = |task: &Task| {
        let service = state.service_of(task)?;
        let spec = service.versions.get(&task.version).unwrap_or(&service.spec);
        Some(TaskView {
            id: task.container.to_string(),
            name: task.name.clone(),
            stack: service.stack.clone(),
            service: service.spec.name.clone(),
            image: spec.container.image.clone(),
            node: node.name().to_owned(),
            state: task.status.state,
            desired: task.desired,
            since: crate::api::time::rfc3339(task.status.at),
            reason: task.status.reason.clone(),
            exit_code: task.status.exit_code,
        })
    };
    let mut views: Vec<TaskView> = last.into_values().filter_map(view).collect();
    views.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    views
}

/// The leader knows whom it reaches, and what it has agreed on with the others is in the row. Where
/// nobody leads, each manager knows only whom it hears itself.
fn manager(standing: &Standing, own: &NodeId, row: &Node) -> Option<ManagerStatus> {
    let number = number_of(&row.id);
    let member = standing.members.contains(number);
    if row.role == Role::Worker && !member {
        return None;
    }
    let follows = !standing.leads && standing.leader.is_some();
    let reached = match follows {
        true => row.status == NodeStatus::Ready,
        false => row.id == *own || standing.reached.contains(&number),
    };
    // Until the change is through, the voters of before decide.
    let members = &standing.members;
    let votes = members.voters.contains(&number)
        && (!members.is_joint() || members.outgoing.contains(&number));
    Some(match (standing.leader == Some(number), reached, votes) {
        (true, _, _) => ManagerStatus::Leader,
        (false, false, _) => ManagerStatus::Unreachable,
        (false, true, false) => ManagerStatus::CatchingUp,
        (false, true, true) => ManagerStatus::Reachable,
    })
}

/// Whether something is wrong with the number of managers, in a sentence.
pub fn warning(state: &State, standing: &Standing) -> Option<String> {
    if standing.alarm {
        return Some(
            "Half of the nodes or more fell silent at once: none of them is given up. Look at this manager's network.".into(),
        );
    }
    let managers = state.nodes.values().filter(|row| row.role == Role::Manager);
    let count = managers.count();
    (count > 0 && count % 2 == 0).then(|| {
        format!("There are {count} managers: an even number stands the loss of no more of them than {} would. Use an odd one.", count - 1)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use scheduler::state::{Batch, Change};

    use super::*;

    fn state(rows: &[(&str, &str, &str)]) -> State {
        let row = |(id, role, status): &(&str, &str, &str)| {
            let row = serde_json::json!({
                "id": id, "role": role, "status": status, "labels": {}, "availability": "active",
                "description": { "hostname": format!("host-{id}") },
            });
            Change::SetNode(Arc::new(serde_json::from_value(row).unwrap()))
        };
        let mut state = State::default();
        let batch = Batch {
            changes: rows.iter().map(row).collect(),
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
        state
    }

    #[test]
    fn workers_have_no_manager_status_and_managers_who_are_no_members_yet_catch_up() {
        let state = state(&[
            ("a", "manager", "ready"),
            ("b", "worker", "ready"),
            ("c", "manager", "ready"),
            ("d", "manager", "down"),
        ]);
        let mut standing = Standing {
            leads: true,
            leader: Some(number_of(&NodeId::new("a"))),
            members: scheduler::raft::Members::alone(number_of(&NodeId::new("a"))),
            ..Standing::default()
        };
        standing.reached.insert(number_of(&NodeId::new("c")));
        let shown = nodes(&state, &standing, &NodeId::new("a"));
        let words: Vec<_> = shown
            .iter()
            .map(|node| node.manager.map_or("", ManagerStatus::word))
            .collect();
        assert_eq!(words, ["Leader", "", "Catching up", "Unreachable"]);
    }

    #[test]
    fn without_a_leader_a_manager_shows_whom_it_hears_itself() {
        let state = state(&[
            ("a", "manager", "ready"),
            ("b", "manager", "ready"),
            ("c", "manager", "ready"),
        ]);
        let numbers = ["a", "b", "c"].map(|id| number_of(&NodeId::new(id)));
        let check = |leader: Option<u64>, reached: &[u64], expected: [&str; 3]| {
            let standing = Standing {
                leader,
                members: scheduler::raft::Members {
                    voters: numbers.to_vec(),
                    ..Default::default()
                },
                reached: reached.iter().copied().collect(),
                ..Standing::default()
            };
            let shown = nodes(&state, &standing, &NodeId::new("a"));
            let words = shown
                .iter()
                .map(|it| it.manager.map_or("", ManagerStatus::word));
            assert_eq!(words.collect::<Vec<_>>(), expected);
        };
        let [_, b, c] = numbers;
        check(Some(b), &[], ["Reachable", "Leader", "Reachable"]);
        check(None, &[c], ["Reachable", "Unreachable", "Reachable"]);
        check(None, &[], ["Reachable", "Unreachable", "Unreachable"]);
    }

    #[test]
    fn an_even_number_of_managers_is_warned_of() {
        let check = |rows: &[(&str, &str, &str)], expected: bool| {
            let warned = warning(&state(rows), &Standing::default()).is_some();
            assert_eq!(warned, expected);
        };
        let manager = |id| (id, "manager", "ready");
        check(&[manager("a")], false);
        check(&[manager("a"), manager("b")], true);
        check(
            &[manager("a"), manager("b"), ("c", "worker", "ready")],
            true,
        );
        check(&[manager("a"), manager("b"), manager("c")], false);
    }
}
