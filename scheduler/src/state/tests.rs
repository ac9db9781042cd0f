use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::container::{ContainerSpec, Resources};
use crate::model::node::Availability;
use crate::model::rollout::Rollout;
use crate::model::service::{AnonymousVolumes, ServiceMode, ServiceSpec};
use crate::model::task::{DesiredState, StopOrder, TaskStatus, WaitsFor};
use crate::model::volume::{Volume, VolumeSpec};

fn batch(base: u64, name: &str) -> Batch {
    let volume = Volume {
        spec: VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        },
        stack: None,
        node: None,
        removing: false,
        created_at: Timestamp::EPOCH,
    };
    Batch {
        base,
        changes: vec![Change::SetVolume(Arc::new(volume))],
        answers: vec![(RequestId(name.into()), Reply::Done)],
        ..Batch::default()
    }
}

#[test]
fn a_batch_decided_on_another_state_is_refused_whole() {
    let mut state = State::default();
    state.apply(&batch(0, "a")).unwrap();
    let before = state.clone();
    let stale = StaleBatch {
        base: 0,
        version: 1,
    };
    assert_eq!(state.apply(&batch(0, "b")), Err(stale));
    assert!(state == before);
    state.apply(&batch(1, "b")).unwrap();
    assert_eq!(state.version, 2);
}

#[test]
fn a_reader_keeps_what_it_has_seen() {
    let mut state = State::default();
    state.apply(&batch(0, "a")).unwrap();
    let seen = state.clone();
    state.apply(&batch(1, "b")).unwrap();
    assert_eq!((seen.volumes.len(), state.volumes.len()), (1, 2));
    assert!(seen.nodes.is_same(&state.nodes), "copied only what changed");
}

#[test]
fn answers_are_remembered_for_a_while() {
    let mut state = State::default();
    for number in 0..600 {
        state.apply(&batch(number, &format!("r{number}"))).unwrap();
    }
    assert_eq!(state.answer(&RequestId("r599".into())), Some(&Reply::Done));
    assert_eq!(state.answer(&RequestId("r0".into())), None);
}

fn service(number: u8, version: u64, replicas: u32, memory: u64) -> Arc<Service> {
    let container = ContainerSpec {
        resources: Resources {
            memory_reservation: Some(memory),
            ..Resources::default()
        },
        ..ContainerSpec::default()
    };
    let spec = Arc::new(ServiceSpec {
        name: format!("s{number}"),
        container: Arc::new(container),
        mode: ServiceMode::Replicated { replicas },
        ..ServiceSpec::default()
    });
    Arc::new(Service {
        id: ServiceId::new(format!("s{number}")),
        stack: Some("shop".to_owned()),
        spec: spec.clone(),
        version,
        versions: BTreeMap::from([(version, spec)]),
        halted: BTreeSet::new(),
        stop: StopOrder::default(),
        removal: None,
        rollout: Rollout::default(),
        anonymous_volumes: AnonymousVolumes::TakeOver,
        virtual_addresses: BTreeMap::new(),
        virtual_addresses_ipv6: BTreeMap::new(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    })
}

fn node(number: u8, availability: Availability) -> Arc<Node> {
    Arc::new(Node {
        availability,
        ..Node::test(&format!("n{number}"))
    })
}

/// Tasks of few services on few nodes, in states of all kinds.
fn task() -> impl Strategy<Value = Arc<Task>> {
    let states = [
        TaskState::New,
        TaskState::Assigned,
        TaskState::Running,
        TaskState::Failed,
    ];
    let desired = [
        DesiredState::Ready,
        DesiredState::Running,
        DesiredState::Shutdown,
    ];
    let node = prop::option::of(0..4u8);
    let what = (0..24u8, 1..4u64, node);
    (what, select(states.to_vec()), select(desired.to_vec())).prop_map(
        |((id, version, node), state, desired)| {
            let service = id % 3;
            Arc::new(Task {
                id: TaskId::new(format!("t{id:02}")),
                container: ContainerId::new(format!("c{}", id / 2)),
                service: ServiceId::new(format!("s{service}")),
                slot: u32::from(id / 6) + 1,
                name: format!("shop-s{service}"),
                version,
                node: node.map(|node| NodeId::new(format!("n{node}"))),
                desired,
                stop: None,
                status: TaskStatus::new(state, Timestamp::EPOCH, ""),
                attachments: Vec::new(),
                waits_for: WaitsFor::Nothing,
                replaces: None,
                failures: 0,
                restarts: 0,
                avoids: None,
                resources: BTreeMap::new(),
                condemned: None,
                start_after: Timestamp::EPOCH,
                created_at: Timestamp::EPOCH,
            })
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let availability = select(vec![Availability::Active, Availability::Drain]);
    let set_service = (0..3u8, 1..4u64, 0..5u32, 0..3u64);
    prop_oneof![
        12 => task().prop_map(Change::SetTask),
        4 => (0..24u8).prop_map(|id| Change::RemoveTask(TaskId::new(format!("t{id:02}")))),
        1 => (0..12u8).prop_map(|id| Change::ForgetContainer(ContainerId::new(format!("c{id}")))),
        4 => set_service.prop_map(|(id, version, replicas, memory)| {
            Change::SetService(service(id, version, replicas, memory))
        }),
        1 => (0..3u8).prop_map(|id| Change::RemoveService(ServiceId::new(format!("s{id}")))),
        2 => (0..4u8, availability).prop_map(|(id, it)| Change::SetNode(node(id, it))),
        1 => (0..4u8).prop_map(|id| Change::RemoveNode(NodeId::new(format!("n{id}")))),
    ]
}

proptest! {
    #[test]
    fn what_is_derived_is_the_same_step_by_step_and_at_once(
        changes in prop::collection::vec(change(), 0..120),
    ) {
        let mut state = State::default();
        let base = |version| Batch { base: version, ..Batch::default() };
        for (version, change) in (0..).zip(&changes) {
            state.apply(&Batch { changes: vec![change.clone()], ..base(version) }).unwrap();
        }
        let anew = state.clone().indexed();
        prop_assert_eq!(anew, state);
    }
}
