use std::sync::Arc;

use super::*;
use crate::model::node::{Availability, NodeDescription, Role};
use crate::model::time::Timestamp;
use crate::state::{Batch, Change};

/// Nodes by name, `-` before those that are down; `a` is the leader's own.
fn state(nodes: &str) -> State {
    let mut state = State::default();
    let changes = nodes.split_whitespace().map(|word| {
        let down = word.starts_with('-');
        Change::SetNode(Arc::new(Node {
            id: NodeId::new(word.trim_matches('-')),
            description: NodeDescription::default(),
            labels: Default::default(),
            availability: Availability::Active,
            role: Role::Worker,
            status: if down {
                NodeStatus::Down
            } else {
                NodeStatus::Ready
            },
            status_reason: String::new(),
            status_since: Timestamp::EPOCH,
            address: None,
            public_key: String::new(),
            down_after_millis: word.starts_with("slow").then_some(20_000),
            cut_off: Default::default(),
        }))
    });
    let batch = Batch {
        changes: changes.collect(),
        ..Batch::default()
    };
    state.apply(&batch).unwrap();
    state
}

/// What is heard in which second, as `b c` or `.` for nothing; what follows in words.
#[track_caller]
fn check(nodes: &str, seconds: &str, expected: &str) {
    let (state, own) = (state(nodes), NodeId::new("a"));
    let mut liveness = Liveness::default();
    liveness.lead();
    liveness.judge(&state, &own);
    for second in seconds.split('|') {
        for name in second.split_whitespace().filter(|name| *name != ".") {
            liveness.hear(NodeId::new(name), 1);
        }
        for _ in 0..20 {
            liveness.tick();
        }
        liveness.judge(&state, &own);
    }
    let mut said: Vec<String> = liveness
        .judge(&state, &own)
        .into_iter()
        .map(|verdict| format!("{} {:?} {}", verdict.node, verdict.status, verdict.reason))
        .map(|text| text.trim().to_lowercase())
        .collect();
    let suspects = liveness.suspects(&state, &own);
    said.extend(suspects.iter().map(|node| format!("{node}?")));
    if liveness.is_alarmed() {
        said.push("alarm".to_owned());
    }
    assert_eq!(said.join(", "), expected, "{nodes}: {seconds}");
}

#[test]
fn silence_makes_a_suspect_and_then_a_loss() {
    check("a b c", "b c|b c", "");
    check("a b c", "b c|c|c", "b?");
    check("a b c", "b c|c|c|c|c", "b down not heard of for 5 s, b?");
    check("a b slow1", "b|b|b|b|b|b", "slow1?");
}

#[test]
fn a_new_leader_gives_everybody_a_full_lease() {
    check("a b c", ".|.", "");
    check("a -b c", "c|c", "");
}

#[test]
fn whoever_speaks_again_is_back() {
    check("a -b", "b", "b ready");
    check("a -b", ".", "");
}

#[test]
fn when_half_are_silent_at_once_nobody_is_given_up() {
    check("a b c", ".|.|.|.|.|.|.", "b?, c?, alarm");
    check("a b c d", "b|b|b|b|b|b", "c?, d?, alarm");
    check("a b", ".|.|.|.|.|.", "b down not heard of for 6 s, b?");
    check(
        "a b c d",
        "b c d|c d|c d|c d|c d|c d",
        "b down not heard of for 6 s, b?",
    );
}

#[test]
fn after_an_alarm_those_who_are_not_back_yet_get_a_full_lease() {
    let silence = ".|.|.|.|.|.|.|.|";
    check("a b c", &format!("{silence}b|b|b"), "c?");
    let down = "c down not heard of for 15 s, c?";
    check("a b c", &format!("{silence}b|b|b|b|b|b|b"), down);
}

#[test]
fn an_overtaken_session_says_nothing() {
    let (state, own) = (state("a b"), NodeId::new("a"));
    let mut liveness = Liveness::default();
    liveness.hear(NodeId::new("b"), 7);
    for _ in 0..100 {
        liveness.tick();
        liveness.hear(NodeId::new("b"), 6);
    }
    assert_eq!(liveness.judge(&state, &own).len(), 1);
}

#[test]
fn a_row_that_appears_later_begins_with_a_lease() {
    let own = NodeId::new("a");
    let mut liveness = Liveness::default();
    for _ in 0..1000 {
        liveness.tick();
    }
    assert_eq!(liveness.judge(&state("a b"), &own), []);
    assert!(liveness.suspects(&state("a b"), &own).is_empty());
}
