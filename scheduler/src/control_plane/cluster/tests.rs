//! A cluster is drawn as `a:manager b:worker:down`, the first node being the one that founded it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::cluster::{Authority, ClusterSettings};
use crate::model::time::Timestamp;
use crate::model::volume::{Volume, VolumeSpec};
use crate::state::Batch;
use crate::state::draft::IdGenerator;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 2377))
}

fn cluster() -> Cluster {
    Cluster {
        id: "c1".into(),
        epoch: 0,
        certificate_authority: Authority {
            certificate: "certificate".into(),
            private_key: Secret::new("key"),
            retiring: Vec::new(),
            id: String::new(),
            bridges: Vec::new(),
        },
        worker_token: Secret::new("worker's"),
        manager_token: Secret::new("manager's"),
        settings: ClusterSettings::default(),
        created: Timestamp::EPOCH,
    }
}

fn newcomer(name: &str, role: Role) -> Newcomer {
    Newcomer {
        description: NodeDescription {
            hostname: format!("host-{name}"),
            ..NodeDescription::default()
        },
        role,
        address: address(9),
        public_key: format!("key of {name}"),
        availability: Availability::Active,
    }
}

/// Carries something out on a state, and puts what was decided into it.
fn decide<T>(
    state: &mut State,
    act: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut ids = IdGenerator::new([1; 32]);
    let voters = voters(state);
    let mut draft = Draft::new(state, &mut ids, Timestamp::from_nanos(5)).voted_on_by(voters);
    let outcome = act(&mut draft)?;
    let batch = Batch {
        base: state.version,
        changes: draft.into_changes(),
        ..Batch::default()
    };
    state.apply(&batch).unwrap();
    Ok(outcome)
}

/// Every manager votes, and those that are ready are heard.
fn voters(state: &State) -> Voters {
    let numbers = |ready: bool| {
        let heard = managers(state).filter(|node| !ready || node.status == NodeStatus::Ready);
        heard.map(|node| number_of(&node.id)).collect()
    };
    Voters {
        all: numbers(false),
        heard: numbers(true),
    }
}

fn drawn(drawing: &str) -> State {
    let mut state = State::default();
    for (index, node) in drawing.split_whitespace().enumerate() {
        let mut words = node.split(':');
        let name = words.next().unwrap();
        let role = match words.next().unwrap() {
            "manager" => Role::Manager,
            _ => Role::Worker,
        };
        let id = NodeId::new(name);
        decide(&mut state, |draft| {
            let description = newcomer(name, role).description;
            if index == 0 {
                register_node(draft, id.clone(), description)?;
                return init(draft, cluster(), &id, address(1), "key of a".into());
            }
            join(draft, id.clone(), newcomer(name, role))?;
            match words.next() {
                Some("down") => Ok(Reply::Done),
                _ => register_node(draft, id.clone(), description),
            }
        })
        .unwrap();
    }
    state
}

fn shown(state: &State) -> String {
    let node = |row: &Arc<Node>| {
        let down = match row.status {
            NodeStatus::Ready => "",
            NodeStatus::Down => ":down",
        };
        format!("{}:{}{down}", row.id, row.role)
    };
    let nodes: Vec<_> = state.nodes.values().map(node).collect();
    nodes.join(" ")
}

/// What becomes of the drawing, or why not.
#[track_caller]
fn check(
    drawing: &str,
    act: impl FnOnce(&mut Draft<'_>) -> Result<Reply, Refusal>,
    expected: &str,
) {
    let mut state = drawn(drawing);
    let text = match decide(&mut state, act) {
        Ok(_) => shown(&state),
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!(text, expected);
}

fn role(name: &'static str, role: Role) -> impl FnOnce(&mut Draft<'_>) -> Result<Reply, Refusal> {
    move |draft| {
        let wish = NodeUpdate {
            role: Some(role),
            ..NodeUpdate::default()
        };
        update(draft, name, &wish)
    }
}

fn rm(name: &'static str, force: Force) -> impl FnOnce(&mut Draft<'_>) -> Result<Reply, Refusal> {
    move |draft| remove(draft, name, force)
}

fn go(name: &'static str, force: Force) -> impl FnOnce(&mut Draft<'_>) -> Result<Reply, Refusal> {
    move |draft| leave(draft, &NodeId::new(name), force)
}

#[test]
fn a_host_becomes_a_cluster_once() {
    let again =
        |draft: &mut Draft<'_>| init(draft, cluster(), &NodeId::new("a"), address(1), "k".into());
    check("a:manager", again, "this host is a cluster already");
}

#[test]
fn a_node_that_joins_is_down_until_it_is_heard() {
    let joining =
        |draft: &mut Draft<'_>| join(draft, NodeId::new("b"), newcomer("b", Role::Worker));
    check("a:manager", joining, "a:manager b:worker:down");
    check("a:manager b:worker", joining, "a:manager b:worker");
}

#[test]
fn a_node_may_join_without_wanting_containers_yet_and_stays_what_it_became() {
    let mut state = drawn("a:manager");
    let drained = || Newcomer {
        availability: Availability::Drain,
        ..newcomer("b", Role::Worker)
    };
    let id = || NodeId::new("b");
    decide(&mut state, |draft| join(draft, id(), drained())).unwrap();
    assert_eq!(state.nodes[&id()].availability, Availability::Drain);
    let active = NodeUpdate {
        availability: Some(Availability::Active),
        ..NodeUpdate::default()
    };
    decide(&mut state, |draft| update(draft, "b", &active)).unwrap();
    // The answer to its first try was lost.
    decide(&mut state, |draft| join(draft, id(), drained())).unwrap();
    assert_eq!(state.nodes[&id()].availability, Availability::Active);
}

#[test]
fn nobody_comes_in_under_the_name_of_another_or_of_one_that_was_removed() {
    let thief = |draft: &mut Draft<'_>| join(draft, NodeId::new("b"), newcomer("x", Role::Manager));
    check(
        "a:manager b:worker",
        thief,
        "node `host-b` is in the cluster already, with another key",
    );
    let ghost = |draft: &mut Draft<'_>| {
        remove(draft, "b", Force::Yes)?;
        join(draft, NodeId::new("b"), newcomer("b", Role::Worker))
    };
    check(
        "a:manager b:worker",
        ghost,
        "node b was removed from the cluster",
    );
}

#[test]
fn a_stranger_does_not_register_with_a_cluster() {
    let stranger =
        |draft: &mut Draft<'_>| register_node(draft, NodeId::new("x"), NodeDescription::default());
    check("a:manager", stranger, "there is no node `x`");
}

#[test]
fn nobody_joins_a_host_that_stands_alone() {
    let mut state = State::default();
    let refused = decide(&mut state, |draft| {
        join(draft, NodeId::new("b"), newcomer("b", Role::Worker))
    });
    assert_eq!(refused, Err(Refusal::NoCluster));
}

#[test]
fn roles_change_while_a_majority_stays() {
    use Role::{Manager, Worker};
    check(
        "a:manager b:worker",
        role("b", Manager),
        "a:manager b:manager",
    );
    check(
        "a:manager b:manager",
        role("b", Worker),
        "a:manager b:worker",
    );
    check(
        "a:manager b:worker",
        role("a", Worker),
        "node `host-a` is the last manager of its cluster",
    );
    // Of the two that would remain one is down.
    check(
        "a:manager b:manager c:manager:down",
        role("b", Worker),
        "without node `host-b` the cluster would have 1 managers that answer, and needs 2",
    );
    check(
        "a:manager b:manager c:manager:down",
        role("c", Worker),
        "a:manager b:manager c:worker:down",
    );
}

#[test]
fn a_node_is_removed_when_it_is_gone_or_by_force() {
    check(
        "a:manager b:worker",
        rm("b", Force::No),
        "node `host-b` is not down",
    );
    check("a:manager b:worker:down", rm("b", Force::No), "a:manager");
    check("a:manager b:worker", rm("b", Force::Yes), "a:manager");
    check(
        "a:manager b:manager:down",
        rm("b", Force::No),
        "node `host-b` is a manager",
    );
    check(
        "a:manager b:manager:down c:manager",
        rm("b", Force::Yes),
        "a:manager c:manager",
    );
    check(
        "a:manager",
        rm("a", Force::Yes),
        "node `host-a` is the last manager of its cluster",
    );
}

/// What becomes of `b`, when only these of the managers `a`, `b` and `c` vote and are heard.
#[track_caller]
fn check_voters(all: &[&str], heard: &[&str], expected: &str) {
    let state = drawn("a:manager b:manager c:manager");
    let numbers = |names: &[&str]| {
        names
            .iter()
            .map(|name| number_of(&NodeId::new(*name)))
            .collect()
    };
    let voters = Voters {
        all: numbers(all),
        heard: numbers(heard),
    };
    let mut ids = IdGenerator::new([1; 32]);
    let mut draft = Draft::new(&state, &mut ids, Timestamp::EPOCH).voted_on_by(voters);
    let outcome = role("b", Role::Worker)(&mut draft);
    let text = outcome.map_or_else(|refusal| refusal.to_string(), |_| "demoted".to_owned());
    assert_eq!(text, expected);
}

#[test]
fn who_votes_and_is_heard_counts_and_not_what_the_rows_say() {
    check_voters(&["a", "b", "c"], &["a", "b", "c"], "demoted");
    check_voters(
        &["a", "b", "c"],
        &["a", "b"],
        "without node `host-b` the cluster would have 1 managers that answer, and needs 2",
    );
    // It has not begun to vote, and so nothing is lost.
    check_voters(&["a"], &["a"], "demoted");
    // The others have not begun to.
    check_voters(
        &["b"],
        &["b"],
        "without node `host-b` the cluster would have 0 managers that answer, and needs 1",
    );
}

#[test]
fn a_worker_leaves_a_manager_must_insist_and_the_last_one_stands_alone_again() {
    check("a:manager b:worker", go("b", Force::No), "a:manager");
    check(
        "a:manager b:manager c:manager",
        go("b", Force::No),
        "node `host-b` is a manager",
    );
    check(
        "a:manager b:manager c:manager",
        go("b", Force::Yes),
        "a:manager b:worker c:manager",
    );
    check(
        "a:manager b:manager",
        go("b", Force::Yes),
        "a:manager b:worker",
    );
    // Of the two that would remain one is down.
    check(
        "a:manager b:manager c:manager:down",
        go("b", Force::Yes),
        "without node `host-b` the cluster would have 1 managers that answer, and needs 2",
    );
    // One of two is needed to agree that there is only one.
    check(
        "a:manager b:manager",
        rm("b", Force::Yes),
        "node `host-b` is a manager without whose vote the others cannot agree on anything",
    );
    check(
        "a:manager b:manager",
        role("b", Role::Worker),
        "a:manager b:worker",
    );
    let mut state = drawn("a:manager b:worker");
    decide(&mut state, go("a", Force::Yes)).unwrap();
    assert_eq!(shown(&state), "a:manager");
    assert!(state.cluster.is_none());
    assert!(state.nodes[&NodeId::new("a")].address.is_none());
}

#[test]
fn a_manager_that_leaves_goes_when_its_vote_no_longer_counts() {
    let mut state = drawn("a:manager b:manager");
    let mut ask = |votes: &[&str]| {
        let numbers = votes.iter().map(|id| number_of(&NodeId::new(*id)));
        let all: BTreeSet<u64> = numbers.collect();
        let voters = Voters {
            heard: all.clone(),
            all,
        };
        let mut ids = IdGenerator::new([1; 32]);
        let mut draft = Draft::new(&state, &mut ids, Timestamp::EPOCH).voted_on_by(voters);
        let reply = leave(&mut draft, &NodeId::new("b"), Force::Yes).unwrap();
        let (changes, _) = draft.into_parts();
        let batch = Batch {
            base: state.version,
            changes,
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
        (reply, shown(&state))
    };
    let demoted = (Reply::NodeDemoted, "a:manager b:worker".to_owned());
    assert_eq!(ask(&["a", "b"]), demoted);
    assert_eq!(ask(&["a", "b"]), demoted);
    assert_eq!(ask(&["a"]).1, "a:manager");
}

#[test]
fn nodes_are_found_by_id_host_name_or_a_beginning_that_is_only_theirs() {
    let state = drawn("abc1:manager abd2:worker");
    let find = |name: &str| match row(&state, name) {
        Ok(row) => row.id.to_string(),
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!(find("abc1"), "abc1");
    assert_eq!(find("abd"), "abd2");
    assert_eq!(find("host-abd2"), "abd2");
    assert_eq!(find("ab"), "`ab` could be any of abc1, abd2");
    assert_eq!(find("x"), "there is no node `x`");
    assert_eq!(find(""), "there is no node ``");
}

#[test]
fn labels_are_set_and_removed_in_one_go() {
    let mut state = drawn("a:manager");
    let mut change = |set: &[(&str, &str)], removed: &[&str]| {
        let wish = NodeUpdate {
            set_labels: set
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            remove_labels: removed
                .iter()
                .map(|it| (*it).to_owned())
                .collect::<BTreeSet<_>>(),
            ..NodeUpdate::default()
        };
        decide(&mut state, |draft| update(draft, "a", &wish))?;
        Ok::<BTreeMap<_, _>, Refusal>(state.nodes[&NodeId::new("a")].labels.clone())
    };
    change(&[("disk", "ssd"), ("rack", "1")], &[]).unwrap();
    let left = change(&[("disk", "hdd")], &["rack", "nothing"]).unwrap();
    assert_eq!(
        left,
        BTreeMap::from([("disk".to_owned(), "hdd".to_owned())])
    );
    assert!(matches!(
        change(&[("", "x")], &[]),
        Err(Refusal::InvalidLabel { .. })
    ));
}

#[test]
fn the_data_of_a_removed_node_is_told_and_its_volumes_are_free() {
    let mut state = drawn("a:manager b:worker:down");
    let volume = |name: &str, removing| {
        Change::SetVolume(Arc::new(Volume {
            spec: VolumeSpec {
                name: name.into(),
                ..VolumeSpec::default()
            },
            node: Some(NodeId::new("b")),
            removing,
            stack: None,
            created_at: Timestamp::EPOCH,
        }))
    };
    let removed = decide(&mut state, |draft| {
        draft.push(volume("data", false));
        draft.push(volume("old", true));
        remove(draft, "b", Force::No)
    });
    let Ok(Reply::NodeRemoved { volumes, .. }) = removed else {
        panic!("{removed:?}");
    };
    assert_eq!(volumes, ["data"]);
    assert!(state.volumes["data"].node.is_none());
    assert!(!state.volumes.contains_key("old"));
}

#[test]
fn tokens_are_replaced_apart_and_say_as_what_one_may_join() {
    let mut state = drawn("a:manager");
    decide(&mut state, |draft| {
        rotate_token(draft, Role::Worker, Secret::new("new"))
    })
    .unwrap();
    let cluster = state.cluster.unwrap();
    let role = |secret: &str| cluster.role_of(&Secret::new(secret));
    assert_eq!(role("new"), Some(Role::Worker));
    assert_eq!(role("worker's"), None);
    assert_eq!(role("manager's"), Some(Role::Manager));
    assert_eq!(role(""), None);
    assert!(!format!("{cluster:?}").contains("manager's"));
}

fn new_authority() -> Authority {
    Authority {
        id: "new".into(),
        certificate: "new certificate".into(),
        ..cluster().certificate_authority
    }
}

fn rotates(replaces: &'static str) -> impl FnOnce(&mut Draft<'_>) -> Result<Reply, Refusal> {
    move |draft| {
        let tokens = (
            Secret::new("other worker's"),
            Secret::new("other manager's"),
        );
        rotate_authority(draft, replaces, new_authority(), tokens)
    }
}

/// Who is believed, after a node has said whose certificate it has.
fn believed(state: &mut State, node: &str, authority: &str) -> Vec<String> {
    let mut description = state.nodes[&NodeId::new(node)].description.clone();
    description.authority = authority.into();
    decide(state, |draft| {
        register_node(draft, NodeId::new(node), description)?;
        crate::reconcile::reconcile(draft, &mut Default::default());
        Ok(Reply::Done)
    })
    .unwrap();
    let cluster = state.cluster.as_ref().unwrap();
    cluster.certificate_authority.trusted()
}

#[test]
fn an_old_authority_is_believed_until_every_node_that_is_not_down_has_followed() {
    let mut state = drawn("a:manager b:worker c:worker:down");
    decide(&mut state, rotates("certificate")).unwrap();
    let cluster = state.cluster.clone().unwrap();
    assert_eq!(cluster.role_of(&Secret::new("worker's")), None);
    assert_eq!(
        cluster.role_of(&Secret::new("other worker's")),
        Some(Role::Worker)
    );
    let both = ["new certificate", "certificate"];
    assert_eq!(believed(&mut state, "a", ""), both);
    assert_eq!(believed(&mut state, "a", "new"), both);
    assert_eq!(believed(&mut state, "b", "new"), ["new certificate"]);
}

#[test]
fn only_the_authority_that_there_is_can_be_replaced() {
    let mut state = drawn("a:manager");
    let refused = decide(&mut state, rotates("another certificate"));
    assert_eq!(refused.unwrap_err(), Refusal::AuthorityChanged);
}

#[test]
fn a_slower_heartbeat_makes_the_leader_more_patient() {
    let settings = ClusterSettings::default().with_heartbeat(2000);
    assert_eq!(settings.down_after_millis, 10_000);
    assert_eq!(
        ClusterSettings::default().with_heartbeat(1000),
        ClusterSettings::default()
    );
    assert_eq!(
        ClusterSettings::default()
            .with_heartbeat(0)
            .heartbeat_millis,
        200
    );
}
