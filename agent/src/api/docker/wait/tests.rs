use super::*;
use crate::api::docker::testing::{State as Drawn, draw};

/// The codes that a wait tells, looking at one drawing after the other; `-` while it goes on.
#[track_caller]
fn check(condition: Condition, drawings: &[&str], expected: &str) {
    let states: Vec<Drawn> = drawings.iter().map(|drawing| draw(drawing)).collect();
    let mut watcher = Watcher::new(&states[0], &ContainerId::new("c"), condition);
    let looks = states.iter().map(|state| match watcher.look(state) {
        Some(code) => code.to_string(),
        None => "-".to_owned(),
    });
    assert_eq!(looks.collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn a_container_that_does_not_run_needs_no_waiting() {
    check(Condition::NotRunning, &["c ready"], "0");
    check(Condition::NotRunning, &["c failed exit=3"], "3");
    check(
        Condition::NotRunning,
        &["c running", "c failed exit=3"],
        "- 3",
    );
}

#[test]
fn the_next_exit_is_a_later_one() {
    check(
        Condition::NextExit,
        &[
            "c failed exit=3",
            "c failed exit=3\nc running",
            "c failed exit=3\nc complete exit=0",
        ],
        "- - 0",
    );
}

#[test]
fn a_removed_container_tells_how_it_ended() {
    check(
        Condition::Removed,
        &["c ready", "c running", "c failed exit=7", ""],
        "- - - 7",
    );
}
