use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    Change(u16, u8),
    /// Somebody looks at the map as it is now, until the end.
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys: they meet again. Many steps: several levels, and empty again.
    let key = 0..600u16;
    let step = prop_oneof![
        6 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => key.clone().prop_map(Step::Remove),
        1 => (key, any::<u8>()).prop_map(|(key, value)| Step::Change(key, value)),
        1 => Just(Step::Look),
    ];
    prop::collection::vec(step, 0..1500)
}

#[track_caller]
fn check(map: &SharedMap<u16, u8>, model: &BTreeMap<u16, u8>) {
    assert_eq!(map.len(), model.len());
    assert!(map.iter().eq(model.iter()));
    assert!(map.iter().rev().eq(model.iter().rev()));
    assert_eq!(map.last(), model.last_key_value());
    let mut ends = map.iter();
    let mut expected = model.iter();
    while let Some(entry) = expected.next() {
        assert_eq!(ends.next(), Some(entry));
        assert_eq!(ends.next_back(), expected.next_back());
    }
    assert_eq!((ends.next(), ends.next_back()), (None, None));
}

fn apply(map: &mut SharedMap<u16, u8>, model: &mut BTreeMap<u16, u8>, step: &Step) {
    match *step {
        Step::Insert(key, value) => assert_eq!(map.insert(key, value), model.insert(key, value)),
        Step::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
        Step::Change(key, value) => {
            let (found, expected) = (map.get_mut(&key), model.get_mut(&key));
            assert_eq!(found, expected);
            if let (Some(found), Some(expected)) = (found, expected) {
                (*found, *expected) = (value, value);
            }
        }
        Step::Look => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_map_and_copies_stay_as_they_were(steps in steps()) {
        let (mut map, mut model) = (SharedMap::new(), BTreeMap::new());
        let mut looks = Vec::new();
        for step in &steps {
            if matches!(step, Step::Look) {
                looks.push((map.clone(), model.clone()));
            }
            apply(&mut map, &mut model, step);
        }
        check(&map, &model);
        for (map, model) in &looks {
            check(map, model);
        }
        for key in 0..600 {
            assert_eq!(map.get(&key), model.get(&key));
        }
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, serde_json::to_string(&model).unwrap());
        assert_eq!(serde_json::from_str::<SharedMap<u16, u8>>(&json).unwrap(), map);
        for key in 0..600 {
            assert_eq!(map.remove(&key), model.remove(&key));
        }
        check(&map, &model);
    }
}

#[test]
fn keys_that_count_up_leave_full_leaves() {
    let map: SharedMap<u32, ()> = (0..100_000).map(|key| (key, ())).collect();
    assert!(leaves(&map.root) <= 100_000 / MOST + 1);
}

fn leaves(node: &Node<u32, ()>) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Branches(branches) => branches.iter().map(|(_, node)| leaves(node)).sum(),
    }
}

#[test]
fn a_change_copies_only_what_leads_to_it() {
    let before: SharedMap<u32, ()> = (0..100_000).map(|key| (key, ())).collect();
    let mut after = before.clone();
    assert!(after.is_same(&before));
    // What is not there is not removed, and copies nothing.
    after.remove(&100_000);
    assert!(after.is_same(&before));
    after.insert(100, ());
    let shared = |one: &Node<u32, ()>, other: &Node<u32, ()>| match (one, other) {
        (Node::Branches(one), Node::Branches(other)) => {
            let pairs = one.iter().zip(other);
            (
                one.len(),
                pairs.filter(|((_, a), (_, b))| Arc::ptr_eq(a, b)).count(),
            )
        }
        _ => (0, 0),
    };
    let (all, same) = shared(&before.root, &after.root);
    assert_eq!(same, all - 1);
}
