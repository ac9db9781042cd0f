use super::*;
use crate::api::docker::testing::draw;

/// Compares the actions between two drawings, in their order.
#[track_caller]
fn check(before: &str, after: &str, expected: &str) {
    let events = diff(&draw(before), &draw(after));
    let actions: Vec<_> = events
        .iter()
        .map(|event| match event.attributes.get("exitCode") {
            Some(code) => format!("{} {}({code})", event.actor, event.action),
            None => format!("{} {}", event.actor, event.action),
        })
        .collect();
    assert_eq!(actions.join(", "), expected, "{before} => {after}");
}

#[test]
fn a_container_s_life_is_told_step_by_step() {
    check("", "c ready", "c create");
    check("c ready", "c running", "c start");
    check("c running", "c complete exit=0", "c die(0)");
    check("c running", "c shutdown exit=143", "c die(143), c stop");
    check("c complete exit=0", "", "c destroy");
}

#[test]
fn what_was_missed_between_two_looks_is_told_all_the_same() {
    check("", "c failed exit=3", "c create, c start, c die(3)");
    check("c running", "", "c die(137), c destroy");
}

#[test]
fn a_restart_is_no_new_container() {
    check("c failed exit=1", "c failed exit=1\nc running", "c start");
}

#[test]
fn health_is_told_when_it_is_known() {
    check("c running", "c running health=starting", "");
    check(
        "c running health=starting",
        "c running health=healthy",
        "c health_status: healthy",
    );
    check(
        "c running health=healthy",
        "c running health=unhealthy",
        "c health_status: unhealthy",
    );
}

#[test]
fn a_new_name_is_told() {
    check("c running", "c running name=d", "c rename");
}

#[test]
fn nothing_happens_between_equal_states() {
    check("c running\nd ready", "c running\nd ready", "");
}

#[test]
fn labels_name_and_image_are_attributes() {
    let events = diff(&draw(""), &draw("c ready"));
    let attributes = &events[0].attributes;
    assert_eq!(attributes.get("name").map(String::as_str), Some("c"));
    assert_eq!(attributes.get("image").map(String::as_str), Some("bb:1"));
}
