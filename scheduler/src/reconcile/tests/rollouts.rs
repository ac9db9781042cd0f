//! Updates: step by step, failing, overtaken by other events, and under other leaders.

use super::fleet::{Fate, Fleet, Leader};
use crate::control_plane::Refusal;
use crate::control_plane::command::{Command, DeployOptions, Recreate};
use crate::control_plane::tests::world::stack;
use crate::model::node::Availability;
use crate::model::rollout::RolloutPhase;

/// Brings `web v1` up, updates it to `web v2` with the fates of some images, lets time pass, and
/// says what serves and what has become of the update. Does it all again with a new leader for
/// each decision: nothing may be different.
#[track_caller]
fn check(service: &str, fates: &[(&str, Fate)], seconds: u64, expected: &str) {
    for leader in [Leader::Stays, Leader::Changes] {
        let mut fleet = updated(service, fates, leader);
        fleet.run(seconds);
        assert_eq!(shown(&fleet), expected, "{leader:?}");
    }
}

fn updated(service: &str, fates: &[(&str, Fate)], leader: Leader) -> Fleet {
    let mut fleet = Fleet::new("n1\nn2\nn3");
    fleet.leader = leader;
    fleet.up(&format!("web v1 {service}"));
    fleet.run(60);
    for (image, fate) in fates {
        fleet.fates.insert((*image).into(), *fate);
    }
    fleet.watch();
    fleet.up(&format!("web v2 {service}"));
    fleet
}

/// `1:v2 2:v1 | paused: container 1: …`
fn shown(fleet: &Fleet) -> String {
    let rollout = fleet.rollout("web");
    let phase = serde_json::to_value(rollout.phase).unwrap();
    let phase = phase.as_str().unwrap();
    let said = format!("{} | {phase}: {}", fleet.serving("web"), rollout.reason);
    said.trim_end_matches(": ").to_owned()
}

#[test]
fn without_a_configuration_all_are_replaced_at_once() {
    check("x3", &[], 0, "1:v2 2:v2 3:v2 | updating");
    check("x3", &[], 6, "1:v2 2:v2 3:v2 | completed");
}

#[test]
fn one_after_the_other_each_has_to_prove_itself() {
    let web = "x3 one-by-one monitor 10";
    check(web, &[], 0, "1:v2 2:v1 3:v1 | updating");
    check(web, &[], 9, "1:v2 2:v1 3:v1 | updating");
    check(web, &[], 10, "1:v2 2:v2 3:v1 | updating");
    check(web, &[], 20, "1:v2 2:v2 3:v2 | updating");
    check(web, &[], 30, "1:v2 2:v2 3:v2 | completed");
}

#[test]
fn the_delay_is_waited_for_after_each_step() {
    let web = "x5 two-by-two monitor 5 delay 10";
    check(web, &[], 14, "1:v2 2:v2 3:v1 4:v1 5:v1 | updating");
    check(web, &[], 15, "1:v2 2:v2 3:v2 4:v2 5:v1 | updating");
    check(web, &[], 30, "1:v2 2:v2 3:v2 4:v2 5:v2 | updating");
    check(web, &[], 35, "1:v2 2:v2 3:v2 4:v2 5:v2 | completed");
}

#[test]
fn never_fewer_serve_and_never_more_run_than_is_allowed() {
    for (order, fewest, most) in [("", 3, 4), ("start-first", 4, 5)] {
        let mut fleet = updated(&format!("x4 one-by-one {order}"), &[], Leader::Stays);
        fleet.run(60);
        assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 4:v2 | completed");
        assert_eq!(
            (fleet.fewest["web"], fleet.most_alive["web"]),
            (fewest, most),
            "{order}"
        );
    }
}

#[test]
fn what_was_made_for_many_at_a_time_takes_over_one_by_one_when_that_is_asked_for_meanwhile() {
    let mut fleet = updated("x4 monitor 5", &[("v2", Fate::Pulls)], Leader::Changes);
    fleet.run(10);
    fleet.up("web v2 x4 one-by-one monitor 5");
    fleet.fates.clear();
    fleet.run(4);
    assert_eq!(shown(&fleet), "1:v2 2:v1 3:v1 4:v1 | updating");
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 4:v2 | completed");
    assert_eq!(fleet.fewest["web"], 3);
}

#[test]
fn a_failure_pauses_and_the_rest_stays_as_it_was() {
    let fates = [("v2", Fate::Crashes)];
    let web = "x3 one-by-one";
    check(web, &fates, 60, "2:v1 3:v1 | paused: container 1: Failed");
    check(
        "x3 one-by-one start-first",
        &fates,
        60,
        "1:v1 2:v1 3:v1 | paused: container 1: Failed",
    );
    check(
        "x3 one-by-one",
        &[("v2", Fate::Missing)],
        60,
        "1:v1 2:v1 3:v1 | paused: container 1: Rejected",
    );
    check(
        "x3 one-by-one start-first checked",
        &[("v2", Fate::Unhealthy)],
        60,
        "1:v1 2:v1 3:v1 | paused: container 1: it is unhealthy",
    );
}

#[test]
fn a_slot_that_crashes_again_and_again_counts() {
    check(
        "x3 one-by-one restart always",
        &[("v2", Fate::Crashes)],
        10,
        "2:v1 3:v1 | paused: container 1: Failed",
    );
}

#[test]
fn as_many_may_fail_as_are_tolerated() {
    let mut fleet = Fleet::new("n1\nn2\nn3");
    let web = "x3 one-by-one start-first tolerates 0.4 restart always";
    fleet.up(&format!("web v1 {web}"));
    fleet.fails_on("web", "n2");
    fleet.up(&format!("web v2 {web} on node.hostname!=n9"));
    fleet.run(3600);
    assert_ne!(fleet.rollout("web").phase, RolloutPhase::Updating);
}

#[test]
fn continue_goes_on_and_says_what_failed() {
    check(
        "x3 one-by-one or-else continue",
        &[("v2", Fate::Crashes)],
        60,
        " | completed: 3 of 3 containers failed: container 1: Failed",
    );
}

#[test]
fn a_rollback_touches_only_what_was_changed() {
    let web = "x4 two-by-two or-else rollback";
    for leader in [Leader::Stays, Leader::Changes] {
        let mut fleet = Fleet::new("n1\nn2\nn3");
        fleet.leader = leader;
        fleet.up(&format!("web v1 {web}"));
        fleet.run(60);
        let untouched: Vec<String> = containers(&fleet, &[3, 4]);
        fleet.fates.insert("v2".into(), Fate::Crashes);
        fleet.up(&format!("web v2 {web}"));
        fleet.run(60);
        assert_eq!(
            shown(&fleet),
            "1:v1 2:v1 3:v1 4:v1 | rollback_completed: container 1: Failed"
        );
        assert_eq!(containers(&fleet, &[3, 4]), untouched);
        assert_eq!(fleet.state.tasks.len(), 4, "nothing is left behind");
    }
}

fn containers(fleet: &Fleet, slots: &[u32]) -> Vec<String> {
    let tasks = fleet.state.tasks.values();
    let tasks = tasks.filter(|task| slots.contains(&task.slot));
    tasks.map(|task| task.container.to_string()).collect()
}

#[test]
fn start_first_going_back_keeps_what_still_serves() {
    let web = "x2 one-by-one start-first or-else rollback";
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up(&format!("web v1 {web}"));
    fleet.run(60);
    let before = containers(&fleet, &[1, 2]);
    fleet.fates.insert("v2".into(), Fate::Crashes);
    fleet.watch();
    fleet.up(&format!("web v2 {web}"));
    fleet.run(60);
    assert_eq!(
        shown(&fleet),
        "1:v1 2:v1 | rollback_completed: container 1: Failed"
    );
    assert_eq!(containers(&fleet, &[1, 2]), before);
    assert_eq!(fleet.fewest["web"], 2);
}

#[test]
fn a_rollback_that_fails_is_paused_and_not_tried_again() {
    check(
        "x2 one-by-one or-else rollback",
        &[("v2", Fate::Crashes), ("v1", Fate::Missing)],
        120,
        "2:v1 | rollback_paused: container 1: Rejected (while going back, because container 1: Failed)",
    );
}

#[test]
fn there_is_no_way_back_to_what_never_was_up() {
    let mut fleet = Fleet::new("n1");
    fleet.fates.insert("v1".into(), Fate::Missing);
    fleet.fates.insert("v2".into(), Fate::Missing);
    fleet.up("web v1 x2 one-by-one or-else rollback");
    fleet.up("web v2 x2 one-by-one or-else rollback");
    fleet.run(60);
    assert_eq!(
        shown(&fleet),
        " | paused: container 1: Rejected; there is no completed version to go back to"
    );
}

#[test]
fn the_way_back_is_to_the_last_version_that_was_completed() {
    let web = "x2 one-by-one start-first";
    let mut fleet = updated(web, &[("v2", Fate::Crashes)], Leader::Stays);
    fleet.run(60);
    fleet.fates.insert("v3".into(), Fate::Missing);
    fleet.up(&format!("web v3 {web} or-else rollback"));
    fleet.run(60);
    assert_eq!(
        shown(&fleet),
        "1:v1 2:v1 | rollback_completed: container 1: Rejected"
    );
    // A version that comes later has a number of its own.
    fleet.up(&format!("web v4 {web}"));
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v4 2:v4 | completed");
}

#[test]
fn deploying_again_goes_on_where_it_was_paused() {
    let mut fleet = updated("x3 one-by-one", &[("v2", Fate::Crashes)], Leader::Stays);
    fleet.run(60);
    fleet.fates.clear();
    fleet.up("web v2 x3 one-by-one");
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 | completed");
}

#[test]
fn what_still_fails_when_it_goes_on_pauses_it_again() {
    let web = "x3 one-by-one restart always";
    let mut fleet = updated(web, &[("v2", Fate::Crashes)], Leader::Stays);
    fleet.run(30);
    fleet.up(&format!("web v2 {web}"));
    fleet.run(120);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Paused);
    assert_eq!(fleet.serving("web"), "2:v1 3:v1");
}

#[test]
fn a_new_deployment_takes_over_from_the_mix() {
    let mut fleet = updated("x3 one-by-one start-first", &[], Leader::Changes);
    assert_eq!(shown(&fleet), "1:v1 1:v2 2:v1 3:v1 | updating");
    fleet.watch();
    fleet.up("web v3 x3 one-by-one start-first");
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v3 2:v3 3:v3 | completed");
    assert_eq!((fleet.fewest["web"], fleet.most_alive["web"]), (3, 4));
    assert_eq!(fleet.state.tasks.len(), 3);
}

#[test]
fn what_never_becomes_healthy_ends_the_update() {
    let fates = [("v2", Fate::Hangs)];
    let web = "x2 one-by-one start-first checked";
    check(web, &fates, 599, "1:v1 2:v1 | updating");
    check(
        web,
        &fates,
        600,
        "1:v1 2:v1 | paused: container 1 is not up after 10 minutes: its health is not known",
    );
    check(
        "x2 one-by-one start-first checked or-else rollback",
        &fates,
        660,
        "1:v1 2:v1 | rollback_completed: container 1 is not up after 10 minutes: its health is not known",
    );
}

#[test]
fn what_has_no_place_ends_the_update() {
    let mut fleet = Fleet::new("n1 cpus=2");
    let web = "x2 one-by-one start-first cpus 1";
    fleet.up(&format!("web v1 {web}"));
    fleet.up(&format!("web v2 {web}"));
    assert_eq!(shown(&fleet), "1:v1 2:v1 | updating");
    fleet.run(600);
    assert_eq!(
        shown(&fleet),
        "1:v1 2:v1 | paused: container 1 is not up after 10 minutes: \
         no node can run it: 1 with too few CPUs"
    );
}

#[test]
fn nodes_that_are_away_are_no_reason_to_go_back() {
    let mut fleet = Fleet::new("n1 cpus=1\nn2 cpus=1");
    let web = "x1 one-by-one start-first or-else rollback cpus 1";
    fleet.up(&format!("web v1 {web}"));
    fleet.run(60);
    fleet.drain("n2");
    fleet.up(&format!("web v2 {web}"));
    fleet.run(700);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Paused);
    fleet.node("n2", |node| node.availability = Availability::Active);
    fleet.settle();
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 | completed");
}

#[test]
fn waiting_for_a_dependency_is_not_failing() {
    let mut fleet = Fleet::new("n1");
    fleet.up("web v1 one-by-one needs db:healthy\ndb v1 checked");
    fleet.fates.insert("v2".into(), Fate::Hangs);
    fleet.up("web v3 one-by-one needs db:healthy\ndb v2 checked");
    fleet.run(300);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Updating);
}

#[test]
fn a_drain_in_the_middle_is_no_failure() {
    for leader in [Leader::Stays, Leader::Changes] {
        let mut fleet = updated("x3 one-by-one or-else rollback", &[], leader);
        fleet.drain("n1");
        fleet.settle();
        fleet.run(120);
        assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 | completed");
    }
}

#[test]
fn a_lost_node_in_the_middle_is_no_failure() {
    let mut fleet = updated("x3 one-by-one or-else rollback", &[], Leader::Changes);
    fleet.down("n1");
    fleet.settle();
    fleet.run(120);
    assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 | completed");
    fleet.back("n1");
    fleet.settle();
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 | completed");
}

#[test]
fn a_scale_in_the_middle_is_no_failure_and_a_rollback_keeps_it() {
    let web = "one-by-one start-first or-else rollback";
    let mut fleet = updated(&format!("x3 {web}"), &[], Leader::Stays);
    scale(&mut fleet, 2);
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 2:v2 | completed");
    fleet.fates.insert("v3".into(), Fate::Hangs);
    fleet.up(&format!("web v3 x2 {web} checked"));
    scale(&mut fleet, 4);
    fleet.run(1200);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::RolledBack);
    assert_eq!(fleet.serving("web"), "1:v2 2:v2 3:v2 4:v2");
}

fn scale(fleet: &mut Fleet, replicas: u32) {
    let stack_name = "shop".to_owned();
    let replicas = [("web".to_owned(), replicas)].into();
    let command = Command::ScaleServices {
        stack: stack_name,
        replicas,
    };
    fleet.command(command).unwrap();
    fleet.settle();
}

#[test]
fn while_it_is_paused_the_old_version_is_looked_after() {
    let web = "x3 one-by-one restart always";
    let mut fleet = updated(web, &[("v2", Fate::Missing)], Leader::Stays);
    fleet.run(60);
    assert_eq!(fleet.serving("web"), "1:v1 2:v1 3:v1");
    // A node is lost: its container comes back as it was.
    fleet.down("n2");
    fleet.settle();
    fleet.run(60);
    assert_eq!(fleet.serving("web"), "1:v1 2:v1 3:v1");
    fleet.drain("n3");
    fleet.settle();
    fleet.run(60);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Paused);
    assert_eq!(fleet.serving("web"), "1:v1 2:v1 3:v1");
}

#[test]
fn scaling_does_not_let_a_paused_update_go_on() {
    let web = "x2 one-by-one start-first";
    let mut fleet = updated(web, &[("v2", Fate::Missing)], Leader::Stays);
    fleet.run(10);
    let stack = stack("shop", &format!("web v2 {web}"));
    let options = DeployOptions {
        recreate: Recreate::Never,
        scale: [("web".to_owned(), 3)].into(),
        ..DeployOptions::default()
    };
    fleet.command(Command::Deploy { stack, options }).unwrap();
    fleet.settle();
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Paused);
    assert_eq!(fleet.serving("web"), "1:v1 2:v1 3:v1");
}

#[test]
fn a_person_goes_back_and_forth() {
    let mut fleet = updated("x2 one-by-one", &[], Leader::Stays);
    fleet.run(60);
    let back = || Command::RollBack {
        stack: "shop".to_owned(),
        services: vec!["web".to_owned()],
    };
    fleet.command(back()).unwrap();
    fleet.settle();
    fleet.run(60);
    let asked = "rollback_completed: asked for by a person";
    assert_eq!(shown(&fleet), format!("1:v1 2:v1 | {asked}"));
    fleet.command(back()).unwrap();
    fleet.settle();
    fleet.run(60);
    assert_eq!(shown(&fleet), format!("1:v2 2:v2 | {asked}"));
    // Deploying what there is says that it is wanted.
    fleet.up("web v2 x2 one-by-one");
    assert_eq!(shown(&fleet), "1:v2 2:v2 | completed");
}

#[test]
fn there_is_nothing_to_go_back_to_from_the_first_version() {
    let mut fleet = Fleet::new("n1");
    fleet.up("web v1");
    let refused = fleet.command(Command::RollBack {
        stack: "shop".to_owned(),
        services: vec!["web".to_owned()],
    });
    let service = "web".to_owned();
    assert_eq!(refused, Err(Refusal::NothingToRollBackTo { service }));
}

#[test]
fn without_a_configuration_a_crash_at_the_start_is_forgiven() {
    let mut fleet = updated("restart always", &[("v2", Fate::Crashes)], Leader::Stays);
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Updating);
    fleet.fates.clear();
    fleet.run(1);
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 | completed");
    // But not for ever.
    fleet.fates.insert("v3".into(), Fate::Crashes);
    fleet.up("web v3 restart always");
    for _ in 0..8 {
        fleet.run(60);
    }
    assert_eq!(fleet.rollout("web").phase, RolloutPhase::Paused);
}

#[test]
fn a_service_on_each_node_goes_node_by_node() {
    let mut fleet = Fleet::new("n1\nn2\nn3");
    fleet.up("web v1 global one-by-one");
    fleet.run(60);
    fleet.up("web v2 global one-by-one");
    assert_eq!(shown(&fleet), "1:v2 2:v1 3:v1 | updating");
    fleet.run(60);
    assert_eq!(shown(&fleet), "1:v2 2:v2 3:v2 | completed");
}

#[test]
fn a_node_that_is_used_again_before_its_container_has_moved_keeps_no_second_one() {
    let service = "web v1 x3 one-by-one start-first restart always";
    let mut fleet = Fleet::new("n1\nn2\nn3");
    fleet.up(service);
    fleet.run(60);
    fleet.drain("n1");
    fleet.settle();
    fleet.node("n1", |node| node.availability = Availability::Active);
    fleet.run(600);
    assert_eq!(fleet.serving("web"), "1:v1 2:v1 3:v1");
}
