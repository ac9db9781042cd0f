use super::*;

/// Members as `1 2 3 +4` (a learner), wanted as `1 2 3`, members that are steady and caught up as
/// `1 2 +4`; the leader comes first among the members. The step as `learn 4`, `promote 2 3`,
/// `remove 1`, `transfer 2`, or nothing.
#[track_caller]
fn check(members: &str, wanted: &str, ready: &str, expected: &str) {
    let numbers = |text: &str, learner: bool| -> Vec<u64> {
        let words = text.split_whitespace();
        let words = words.filter(|word| word.starts_with('+') == learner);
        words
            .map(|word| word.trim_matches('+').parse().unwrap())
            .collect()
    };
    let group = Members {
        voters: numbers(members, false),
        learners: numbers(members, true),
        ..Members::default()
    };
    let leader = group.voters[0];
    let wanted = numbers(wanted, false).into_iter().collect();
    let all = numbers(ready, false)
        .into_iter()
        .chain(numbers(ready, true));
    let progress = all.map(|id| {
        let progress = Progress {
            matched: 1000,
            steady: true,
        };
        (id, progress)
    });
    let words = |word: &str, ids: &BTreeSet<u64>| {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        (!ids.is_empty()).then(|| format!("{word} {}", ids.join(" ")))
    };
    let said = match next(leader, &group, &wanted, &progress.collect(), 1000) {
        None => String::new(),
        Some(Step::Transfer(to)) => format!("transfer {to}"),
        Some(Step::Change(change)) => {
            let parts = [
                words("learn", &change.learn),
                words("promote", &change.promote),
                words("remove", &change.remove),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    };
    assert_eq!(said, expected, "{members} / {wanted:?} / {ready}");
}

#[test]
fn a_newcomer_learns_before_it_votes() {
    check("1", "1 2", "", "learn 2");
    check("1 +2", "1 2", "", "");
    check("1 +2", "1 2", "+2", "promote 2");
    check("1", "1 2 3", "", "learn 2 3");
}

#[test]
fn a_group_grows_by_odd_numbers_unless_an_even_one_is_wanted() {
    check("1 +2 +3", "1 2 3", "+2", "");
    check("1 +2 +3", "1 2 3", "+2 +3", "promote 2 3");
    check("1 2 3 +4 +5", "1 2 3 4 5", "2 3 +4", "");
    check("1 2 3 +4 +5", "1 2 3 4 5", "2 3 +4 +5", "promote 4 5");
    check("1 2 3 +4", "1 2 3 4", "2 3 +4", "promote 4");
}

#[test]
fn a_leader_that_goes_makes_another_one_first() {
    check("1 2 3", "2 3", "2 3", "transfer 2");
    check("1 2 3", "2 3", "3", "transfer 3");
    check("1 2", "2", "", "");
    check("2 1", "2", "1", "remove 1");
}

#[test]
fn nobody_is_removed_whom_the_rest_cannot_do_without() {
    check("1 2 3", "1 2", "2", "remove 3");
    check("1 2 3", "1 2", "3", "");
    check("1 2 3", "1 2 3", "", "");
    check("1 2 +3", "1 3", "2 +3", "promote 3, remove 2");
}

#[test]
fn an_unknown_wish_changes_nothing() {
    check("1 2 3", "", "2 3", "");
}

#[test]
fn a_majority_of_those_who_stay_must_be_there() {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    let three = set(&[1, 2, 3]);
    assert!(may_lose(&three, &set(&[1, 2, 3]), &set(&[3])));
    assert!(may_lose(&three, &set(&[1, 2]), &set(&[3])));
    assert!(!may_lose(&three, &set(&[1, 3]), &set(&[3])));
    assert!(
        !may_lose(&set(&[1]), &set(&[1]), &set(&[1])),
        "the last one"
    );
    assert!(
        !may_lose(&three, &set(&[1]), &set(&[2, 3])),
        "the majority of before"
    );
}
