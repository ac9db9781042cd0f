//! What must hold whatever happens: tried on random commands, crashes and delays.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::task::{DesiredState, TaskState, TaskStatus};
use crate::reconcile::{gate, restart, slot};
use crate::state::{Batch, State};

#[derive(Clone, Debug)]
enum Act {
    Up(u8),
    Stop(u8),
    Start,
    Restart(u8),
    Down,
    Crash(u8, i32),
    Wait(u16),
    Round,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..6u8).prop_map(Act::Up),
        1 => (0..3u8).prop_map(Act::Stop),
        1 => Just(Act::Start),
        1 => (0..3u8).prop_map(Act::Restart),
        1 => Just(Act::Down),
        2 => (any::<u8>(), 0..2i32).prop_map(|(which, code)| Act::Crash(which, code)),
        2 => (0..20_000u16).prop_map(Act::Wait),
        8 => Just(Act::Round),
    ]
}

const SERVICES: [&str; 3] = ["web", "api", "db"];

fn drawing(which: u8) -> String {
    let image = if which.is_multiple_of(2) { "v1" } else { "v2" };
    match which / 2 {
        0 => format!("web {image} x2 needs api:started\napi v1 restart always\ndb v1"),
        1 => format!("web v1 x3 one-by-one needs db:healthy\napi {image} start-first\ndb {image}"),
        _ => format!("web {image} restart on-failure\napi v1 x2 needs db:started+restart\ndb v1"),
    }
}

fn play(world: &mut World, act: &Act) {
    let stack = || "shop".to_owned();
    let services = |which: &u8| vec![SERVICES[usize::from(*which) % 3].to_owned()];
    // Refusals are fine: there may be no such stack.
    let command = match act {
        Act::Up(which) => Command::Deploy {
            stack: world::stack("shop", &drawing(*which)),
            options: DeployOptions::default(),
        },
        Act::Stop(which) => Command::StopServices {
            stack: stack(),
            services: services(which),
            grace_seconds: None,
        },
        Act::Start => Command::StartServices {
            stack: stack(),
            services: Vec::new(),
        },
        Act::Restart(which) => Command::RestartServices {
            stack: stack(),
            services: services(which),
            grace_seconds: None,
            dependents: Dependents::Restart,
        },
        Act::Down => Command::RemoveStack {
            stack: stack(),
            services: Vec::new(),
            volumes: Volumes::Keep,
            grace_seconds: None,
        },
        Act::Crash(which, code) => {
            let state = world.plane.state();
            let running: Vec<String> = world
                .assignment
                .tasks
                .iter()
                .filter(|task| state.tasks[&task.id].status.state == TaskState::Running)
                .map(|task| task.name.clone())
                .collect();
            if let Some(name) = running.get(usize::from(*which) % running.len().max(1)) {
                world.crash(name, *code);
            }
            return;
        }
        Act::Wait(millis) => return world.wait(Duration::from_millis(u64::from(*millis))),
        Act::Round => {
            world.round();
            return;
        }
    };
    let _ = world.command(command);
}

/// No address is held twice, and no slot runs twice unless one container takes over from another.
fn check_state(state: &State) {
    let mut holders = BTreeMap::new();
    for task in state.tasks.values() {
        for place in &task.attachments {
            let holder = (&task.service, task.slot, &task.container);
            let key = (&place.network, place.address);
            assert_eq!(
                *holders.entry(key).or_insert(holder),
                holder,
                "an address is held twice"
            );
        }
    }
    for service in state.services.values() {
        for (network, address) in &service.virtual_addresses {
            assert!(
                !holders.contains_key(&(network, *address)),
                "a virtual address is held by a container"
            );
        }
        let mut running: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for task in state.service_tasks(&service.id) {
            let wanted = task.desired <= DesiredState::Running;
            if task.status.state == TaskState::Running && wanted {
                running.entry(task.slot).or_default().push(&task.container);
            }
        }
        for containers in running.values() {
            assert!(containers.len() <= 2, "{containers:?}");
            assert!(containers.len() < 2 || containers[0] != containers[1]);
        }
    }
}

/// Everything that can be done has been done.
fn check_rest(world: &World) {
    let state = world.plane.state();
    for service in state.services.values() {
        assert!(
            service.removal.is_none(),
            "{} is never gone",
            service.spec.name
        );
        let slots = state.slots(&service.id);
        for slot in slot::active(state, service) {
            let task = slots.get(&slot).expect("an active slot has a container");
            let done = task.status.state == TaskState::Running || restart::is_final(state, task);
            let current = done && task.version == service.version;
            let held = gate::gate(state, service) != gate::Gate::Open;
            let paused = service.rollout.is_paused();
            assert!(
                current || held || paused,
                "{}: {}",
                service.spec.name,
                world.tasks()
            );
        }
        for task in state.service_tasks(&service.id) {
            let last = slots
                .get(&task.slot)
                .is_some_and(|last| last.container == task.container);
            let halted = service.halted.contains(&task.slot);
            let live = slot::is_live(task);
            let ready = task.desired == DesiredState::Ready;
            assert!(!live || !halted || ready, "{} was stopped", task.name);
            let held = gate::gate(state, service) != gate::Gate::Open;
            let paused = service.rollout.is_paused();
            assert!(
                !live || last || held || paused,
                "{} was replaced",
                task.name
            );
        }
    }
}

/// What has ended stays as it ended.
fn check_ends(before: &State, after: &State) {
    for (id, task) in before.tasks.iter() {
        if let Some(now) = after.tasks.get(id) {
            assert!(now.status.state >= task.status.state);
            assert!(now.desired >= task.desired);
            if task.status.state.is_terminal() {
                assert_eq!(now.status, task.status);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_held_twice_and_every_member_comes_to_the_same(
        acts in proptest::collection::vec(act(), 1..60)
    ) {
        let mut world = World::new();
        world.fate("db", Fate::Health(HealthStatus::Healthy));
        for act in &acts {
            let before = world.plane.state().clone();
            play(&mut world, act);
            check_state(world.plane.state());
            check_ends(&before, world.plane.state());
        }
        // Time heals: whatever was begun comes to an end.
        for _ in 0..20 {
            world.settle();
            world.wait(Duration::from_secs(61));
        }
        check_state(world.plane.state());
        check_rest(&world);

        let mut replayed = State::default();
        for entry in world.log.iter().filter(|entry| !entry.data.is_empty()) {
            let batch: Batch = serde_json::from_slice(&entry.data).unwrap();
            replayed.apply(&batch).unwrap();
        }
        prop_assert!(replayed == *world.plane.state());
        let json = serde_json::to_vec(&replayed).unwrap();
        let read: State = serde_json::from_slice(&json).unwrap();
        prop_assert!(read.indexed() == replayed);
    }
}

#[test]
fn what_comes_in_while_the_disk_is_slow_goes_into_one_batch() {
    let mut world = World::new();
    world.hold();
    world.send(Command::CreateVolume { spec: volume("a") });
    world.send(Command::CreateVolume { spec: volume("b") });
    world.send(Command::CreateVolume { spec: volume("c") });
    assert_eq!(
        world.plane.state().volumes.len(),
        0,
        "nothing counts before it is on disk"
    );
    let before = world.plane.state().version;
    world.flush();
    assert_eq!(world.plane.state().volumes.len(), 3);
    assert_eq!(world.plane.state().version, before + 2);
}

fn volume(name: &str) -> crate::model::volume::VolumeSpec {
    crate::model::volume::VolumeSpec {
        name: name.into(),
        ..Default::default()
    }
}

#[test]
fn a_command_that_is_sent_again_is_carried_out_once() {
    let mut world = World::new();
    let up = || Input::Command {
        id: RequestId("same".into()),
        command: Box::new(Command::CreateNetwork {
            spec: crate::model::network::NetworkSpec {
                name: "front".into(),
                ..Default::default()
            },
        }),
    };
    world.input(up());
    let before = world.plane.state().version;
    world.input(up());
    assert_eq!(world.plane.state().version, before);
}

#[test]
fn a_report_about_the_past_changes_nothing() {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    let before = world.plane.state().clone();
    let task = world.assignment.tasks[0].id.clone();
    let report = Report {
        tasks: vec![(
            task,
            TaskStatus::new(TaskState::Preparing, world.now, "late"),
        )],
        removed_containers: vec![world.container("shop-web-1")],
        ..Report::default()
    };
    let node = world::node();
    world.input(Input::Report { node, report });
    assert!(*world.plane.state() == before);
}
