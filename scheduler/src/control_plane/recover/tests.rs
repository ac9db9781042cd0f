use std::sync::Arc;

use super::*;
use crate::control_plane::tests::world::World;
use crate::control_plane::{Command, ControlPlane, Input, Output};
use crate::model::cluster::{Authority, Cluster, ClusterSettings, Secret};
use crate::model::volume::VolumeSpec;
use crate::state::Change;

fn cluster() -> Cluster {
    let secret = || Secret::new("x");
    Cluster {
        id: "c".into(),
        epoch: 3,
        certificate_authority: Authority {
            certificate: String::new(),
            private_key: secret(),
            retiring: Vec::new(),
            id: String::new(),
            bridges: Vec::new(),
        },
        worker_token: secret(),
        manager_token: secret(),
        settings: ClusterSettings::default(),
        created: Timestamp::EPOCH,
    }
}

#[test]
fn what_was_in_the_log_is_kept_and_one_voter_goes_on_with_it() {
    let mut world = World::new();
    let spec = VolumeSpec {
        name: "data".into(),
        ..VolumeSpec::default()
    };
    world.command(Command::CreateVolume { spec }).unwrap();
    let node = crate::control_plane::tests::world::node();
    let mut state = State::default();
    state.cluster = Some(Arc::new(cluster()));
    // Two other managers vote, too, and will never answer.
    let mut members = Members::alone(raft::number_of(&node));
    members.voters.extend([1, 2]);
    members.voters.sort_unstable();
    let last = world.log.last().unwrap().term;
    let restored = Restored {
        vote: Vote {
            term: last,
            ..Vote::default()
        },
        snapshot: Position {
            members,
            ..Position::default()
        },
        entries: world.log.clone(),
    };
    let (restored, state) = recover(&node, restored, state, world.now).unwrap();
    assert!(state.volumes.contains_key("data"), "kept, agreed on or not");
    assert_eq!(state.cluster.as_ref().map(|it| it.epoch), Some(4));
    let version = state.version;
    assert_eq!(version, world.plane.state().version + 1);
    let mut plane = ControlPlane::start(&node, [9; 32], restored, state).unwrap();
    let mut written = plane.handle(Input::Woken, world.now);
    while let Some(Output::Write(write)) = written.pop() {
        let number = write.number;
        written = plane.handle(Input::Persisted { number }, world.now);
    }
    assert!(plane.leads(), "nobody else is asked");
}

#[test]
fn other_managers_are_left_behind() {
    let mut state = State::default();
    let own = NodeId::new("a");
    for name in ["a", "b", "c"] {
        let row = serde_json::json!({
            "id": name, "description": {}, "labels": {}, "availability": "active",
            "status": "ready", "role": if name == "c" { "worker" } else { "manager" },
        });
        let row = Change::SetNode(serde_json::from_value(row).unwrap());
        let batch = Batch {
            base: state.version,
            changes: vec![row],
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
    }
    state.cluster = Some(Arc::new(cluster()));
    let stranger = NodeId::new("x");
    let refused = recover(
        &stranger,
        Restored::default(),
        state.clone(),
        Timestamp::EPOCH,
    );
    assert_eq!(
        refused.unwrap_err(),
        RecoverError::Stranger { node: stranger }
    );
    let (_, state) = recover(&own, Restored::default(), state, Timestamp::EPOCH).unwrap();
    let rows = state
        .nodes
        .values()
        .map(|row| (row.id.as_str(), row.role, row.status));
    let expected = [
        ("a", Role::Manager, NodeStatus::Ready),
        ("b", Role::Worker, NodeStatus::Down),
        ("c", Role::Worker, NodeStatus::Ready),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn a_host_that_stands_alone_has_nothing_to_recover() {
    let refused = recover(
        &NodeId::new("a"),
        Restored::default(),
        State::default(),
        Timestamp::EPOCH,
    );
    assert_eq!(refused.unwrap_err(), RecoverError::NoCluster);
}
