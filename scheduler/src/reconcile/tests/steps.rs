//! Whatever happens in whatever order, updates keep what they promise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fleet::{Fate, Fleet, Leader};
use crate::control_plane::command::Command;
use crate::model::node::Availability;
use crate::model::rollout::RolloutPhase;
use crate::model::task::{DesiredState, TaskState};

#[derive(Clone, Debug)]
enum Act {
    Deploy { version: u32, fate: Option<Fate> },
    Drain(usize),
    Down(usize),
    Back(usize),
    Scale(u32),
    RollBack,
    Run(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let fate = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Fate::Missing)),
        1 => Just(Some(Fate::Crashes)),
        1 => Just(Some(Fate::Hangs)),
    ];
    prop_oneof![
        3 => (2u32..9, fate).prop_map(|(version, fate)| Act::Deploy { version, fate }),
        1 => (1usize..4).prop_map(Act::Drain),
        1 => (1usize..4).prop_map(Act::Down),
        3 => (1usize..4).prop_map(Act::Back),
        1 => (1u32..5).prop_map(Act::Scale),
        1 => Just(Act::RollBack),
        4 => (1u64..900).prop_map(Act::Run),
    ]
}

fn node(fleet: &mut Fleet, number: usize, update: impl FnOnce(&mut Fleet, &str)) {
    update(fleet, &format!("n{number}"));
    fleet.settle();
}

fn carry_out(fleet: &mut Fleet, service: &str, act: &Act) {
    match act {
        Act::Deploy { version, fate } => {
            let image = format!("v{version}");
            match fate {
                Some(fate) => fleet.fates.insert(image.clone(), *fate),
                None => fleet.fates.remove(&image),
            };
            fleet.up(&format!("web {image} {service}"));
        }
        Act::Drain(number) => node(fleet, *number, |fleet, name| fleet.drain(name)),
        Act::Down(number) => node(fleet, *number, |fleet, name| fleet.down(name)),
        Act::Back(number) => node(fleet, *number, |fleet, name| {
            fleet.back(name);
            fleet.node(name, |node| node.availability = Availability::Active);
        }),
        Act::Scale(replicas) => {
            let replicas = [("web".to_owned(), *replicas)].into();
            let stack = "shop".to_owned();
            fleet
                .command(Command::ScaleServices { stack, replicas })
                .unwrap();
            fleet.settle();
        }
        Act::RollBack => {
            let services = vec!["web".to_owned()];
            let stack = "shop".to_owned();
            // Refused when there is nothing to go back to.
            let _ = fleet.command(Command::RollBack { stack, services });
            fleet.settle();
        }
        Act::Run(seconds) => fleet.run(*seconds),
    }
}

/// A slot is run by one container, and by a second one while it takes over.
fn check_slots(fleet: &Fleet) {
    let mut running: BTreeMap<u32, usize> = BTreeMap::new();
    for task in fleet.state.tasks.values() {
        let lives = matches!(task.status.state, TaskState::Starting | TaskState::Running);
        if lives && task.desired <= DesiredState::Running {
            *running.entry(task.slot).or_default() += 1;
        }
    }
    assert!(running.values().all(|count| *count <= 2), "{running:?}");
}

fn check_rest(fleet: &Fleet) {
    let rollout = fleet.rollout("web");
    assert!(
        !matches!(
            rollout.phase,
            RolloutPhase::Updating | RolloutPhase::RollingBack
        ),
        "{rollout:?} {}",
        fleet.shown()
    );
    let mut serving: BTreeMap<String, usize> = BTreeMap::new();
    for slot in fleet.serving("web").split_whitespace() {
        let (slot, _) = slot.split_once(':').unwrap();
        *serving.entry(slot.to_owned()).or_default() += 1;
    }
    assert!(serving.values().all(|count| *count == 1), "{serving:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_update_comes_to_an_end(
        acts in proptest::collection::vec(act(), 1..12),
        service in prop_oneof![
            Just("x3 one-by-one"),
            Just("x3 one-by-one start-first or-else rollback restart always"),
            Just("x4 two-by-two delay 7 or-else rollback"),
            Just("x3 one-by-one or-else continue restart always"),
            Just("x2 restart always"),
            Just("global one-by-one start-first or-else rollback"),
        ],
    ) {
        let mut fleet = Fleet::new("n1\nn2\nn3");
        fleet.leader = Leader::Changes;
        fleet.up(&format!("web v1 {service}"));
        fleet.run(60);
        for act in &acts {
            carry_out(&mut fleet, service, act);
            check_slots(&fleet);
        }
        for number in 1..4 {
            carry_out(&mut fleet, service, &Act::Back(number));
        }
        fleet.run(7 * 3600);
        check_rest(&fleet);
    }

    #[test]
    fn a_good_version_never_has_fewer_or_more_than_it_may(
        replicas in 1usize..6,
        parallelism in prop_oneof![Just(("one-by-one", 1usize)), Just(("two-by-two", 2))],
        start_first in any::<bool>(),
        pauses in proptest::collection::vec(0u64..30, 1..6),
    ) {
        let order = if start_first { "start-first" } else { "" };
        let service = format!("x{replicas} {} {order}", parallelism.0);
        let mut fleet = Fleet::new("n1\nn2\nn3");
        fleet.up(&format!("web v1 {service}"));
        fleet.run(60);
        fleet.watch();
        for (number, pause) in pauses.iter().enumerate() {
            fleet.up(&format!("web v{} {service}", number + 2));
            fleet.run(*pause);
        }
        fleet.run(600);
        prop_assert_eq!(fleet.rollout("web").phase, RolloutPhase::Completed);
        let (surge, gap) = if start_first { (parallelism.1, 0) } else { (0, parallelism.1) };
        prop_assert!(fleet.most_alive["web"] <= replicas + surge);
        prop_assert!(fleet.fewest["web"] >= replicas.saturating_sub(gap));
        prop_assert_eq!(fleet.state.tasks.len(), replicas);
    }
}
