//! The order of keys, against that of the real program.

use super::*;

/// The keys stand in the order in which Docker Compose 2.40.3 prints them.
#[track_caller]
fn check(keys: &str) {
    let keys: Vec<_> = keys.split(' ').collect();
    let mut sorted = keys.clone();
    sorted.reverse();
    sorted.sort_by(|a, b| natural(a, b));
    assert_eq!(sorted, keys);
}

#[test]
fn numbers_are_counted_and_not_spelled() {
    check("Web web web-1 web-a web_1 web01 web2 web3.b web10");
    check("1 2 10 A-1 A_1 A1b A01 A2 A10 B a1");
    check("v2 v10");
    check("x1 x1a x1- x01 x2 x12 x102");
    check("n99999999999999999998 n99999999999999999999 n100000000000000000000");
}
