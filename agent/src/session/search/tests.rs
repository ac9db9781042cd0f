use scheduler::model::id::NodeId;

use super::*;

fn manager(name: &str) -> PeerAddress {
    PeerAddress {
        node: NodeId::new(name),
        address: "10.0.0.1:2377".parse().unwrap(),
    }
}

fn search(names: &str) -> Search {
    Search::new(names.split_whitespace().map(manager).collect())
}

/// What it does in so many steps: names that are asked, and pauses in milliseconds.
#[track_caller]
fn check(search: &mut Search, steps: usize, chance: f64, expected: &str) {
    let mut done = Vec::new();
    for _ in 0..steps {
        done.push(match search.next(chance) {
            Next::Ask(next, _) => next.node.to_string(),
            Next::Pause(pause) => pause.as_millis().to_string(),
        });
    }
    assert_eq!(done.join(" "), expected);
}

#[test]
fn everybody_is_asked_and_then_everybody_again_after_a_pause() {
    check(&mut search("a b c"), 8, 0.0, "a b c 75 a b c 150");
    check(&mut search("a b c"), 8, 0.99, "a b c 149 c a b 298");
    check(&mut search(""), 3, 1.0, "150 300 600");
}

#[test]
fn whoever_is_said_to_lead_is_asked_first() {
    let mut search = search("a b c");
    search.hint(manager("c"));
    check(&mut search, 3, 0.0, "c a b");
    assert!(search.hint(manager("d")));
    check(&mut search, 1, 0.0, "d");
    // It has just been asked.
    assert!(!search.hint(manager("c")));
    check(&mut search, 2, 0.0, "75 a");
    assert!(search.hint(manager("c")));
    check(&mut search, 2, 0.0, "c b");
}

#[test]
fn pauses_are_short_enough_for_an_election() {
    let mut search = search("a");
    check(&mut search, 10, 1.0, "a 150 a 300 a 600 a 600 a 600");
    search.begin();
    check(&mut search, 2, 1.0, "a 150");
}

#[test]
fn nobody_forgets_the_last_manager_that_is_known() {
    let mut search = search("a");
    search.know(Vec::new());
    search.begin();
    check(&mut search, 1, 0.0, "a");
    search.know(vec![manager("b")]);
    search.begin();
    check(&mut search, 1, 0.0, "b");
}
