use super::*;
use crate::compose::diagnostic::Span;
use crate::compose::document::{Node, Value};

fn entry(number: usize) -> Entry {
    let span = Span {
        file: 0,
        start: 0,
        end: 0,
    };
    let number = i64::try_from(number).unwrap();
    Entry {
        key: span,
        node: Node::new(Value::Int(number), span),
    }
}

fn of(count: usize) -> Map {
    (0..count)
        .map(|at| (Text::from(format!("key{at}")), entry(at)))
        .collect()
}

/// Every key is found where it is, and no other.
#[track_caller]
fn check(map: &Map, expected: &[usize]) {
    let keys: Vec<_> = expected.iter().map(|it| format!("key{it}")).collect();
    assert!(map.keys().eq(&keys), "{:?}", map.keys().collect::<Vec<_>>());
    for (key, number) in keys.iter().zip(expected) {
        assert_eq!(map.get(key), Some(&entry(*number)), "{key}");
    }
    assert!(!map.contains_key("key"));
}

#[test]
fn keys_are_found_in_small_and_large_mappings() {
    for count in [0, 1, FEW - 1, FEW, FEW + 1, 100] {
        check(&of(count), &Vec::from_iter(0..count));
    }
}

#[test]
fn a_key_that_is_there_keeps_its_place_and_gives_what_it_had() {
    for count in [3, 100] {
        let mut map = of(count);
        assert_eq!(map.insert("key1".into(), entry(7)), Some(entry(1)));
        assert_eq!(map.get("key1"), Some(&entry(7)));
        assert_eq!(
            *map.get_or_insert_with("key1".into(), || entry(8)),
            entry(7)
        );
        assert_eq!(map.len(), count);
        assert_eq!(
            *map.get_or_insert_with("more".into(), || entry(9)),
            entry(9)
        );
        assert_eq!(map.get("more"), Some(&entry(9)));
    }
}

#[test]
fn what_remains_is_found_after_others_were_taken_out() {
    for count in [10, FEW + 1, 100] {
        let mut map = of(count);
        assert_eq!(map.remove("key1"), Some(entry(1)));
        assert_eq!(map.remove("key1"), None);
        check(&map, &Vec::from_iter((0..count).filter(|it| *it != 1)));
        map.retain(|_, it| matches!(it.node.value, Value::Int(number) if number % 3 == 0));
        check(&map, &Vec::from_iter((0..count).filter(|it| it % 3 == 0)));
    }
}

#[test]
fn sorting_is_by_bytes_and_changes_nothing_else() {
    let mut map = of(40);
    map.sort_keys();
    let mut expected = Vec::from_iter(0..40);
    expected.sort_by_key(|it| format!("key{it}"));
    check(&map, &expected);
    assert_eq!(map, of(40));
    assert_ne!(map, of(39));
}
