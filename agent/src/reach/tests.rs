use super::*;

fn node(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn nodes(count: u8) -> BTreeSet<IpAddr> {
    (1..=count).map(node).collect()
}

/// The nodes that count as cut off after rounds in which these did not answer, with so many nodes.
#[track_caller]
fn check(count: u8, silent: &[&[u8]], expected: &[u8]) {
    let mut reach = Reach::default();
    for silent in silent {
        for picked in reach.pick(&nodes(count)) {
            let lost = silent.iter().any(|number| node(*number) == picked);
            let outcome = if lost {
                Outcome::Lost
            } else {
                Outcome::Reached
            };
            reach.note(picked, outcome);
        }
    }
    let expected: BTreeSet<IpAddr> = expected.iter().copied().map(node).collect();
    assert_eq!(reach.cut_off(), expected, "{silent:?}");
}

#[test]
fn a_node_is_cut_off_after_three_tries_in_vain_and_reached_after_one_that_was_not() {
    check(3, &[&[2], &[2]], &[]);
    check(3, &[&[2], &[2], &[2]], &[2]);
    check(3, &[&[2], &[2], &[], &[2]], &[]);
    check(3, &[&[2], &[2], &[2], &[]], &[]);
}

#[test]
fn who_is_not_shared_with_any_more_is_forgotten() {
    let mut reach = Reach::default();
    for _ in 0..3 {
        reach.note(node(1), Outcome::Lost);
        reach.note(node(2), Outcome::Lost);
    }
    reach.pick(&BTreeSet::from([node(1)]));
    assert_eq!(reach.cut_off(), BTreeSet::from([node(1)]));
}

#[test]
fn a_round_is_bounded_and_all_have_their_turn() {
    let mut reach = Reach::default();
    // More than are tried again at once never answer.
    for number in 1..=9 {
        reach.note(node(number), Outcome::Lost);
    }
    let mut tried = BTreeSet::new();
    for _ in 0..30 {
        let picked = reach.pick(&nodes(100));
        assert!(picked.len() <= AT_ONCE, "{picked:?}");
        tried.extend(picked);
    }
    assert_eq!(tried, nodes(100));
}
