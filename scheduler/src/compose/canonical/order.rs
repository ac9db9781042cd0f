//! The order in which people count: `web2` before `web10`.
//!
//! Docker Compose prints keys so in YAML, and by their bytes in JSON.
//!
//! Source: `keyList.Less` in `sorter.go` of Go's `yaml.v3`, with numbers of any length.

use std::cmp::Ordering;

/// A piece of a key; the order of the variants is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Sign(char),
    Number {
        /// How many digits count, which says more than what they are.
        length: usize,
        digits: &'a str,
        zeros: usize,
    },
    Letter(char),
}

pub(super) fn natural(mut one: &str, mut other: &str) -> Ordering {
    let mut behind_number = false;
    loop {
        let (Some((a, rest_of_one)), Some((b, rest_of_other))) = (split(one), split(other)) else {
            return one.len().cmp(&other.len());
        };
        // Behind a number a sign comes after letters, else before.
        let is_late = |it: Part<'_>| behind_number && matches!(it, Part::Sign(_));
        let order = is_late(a).cmp(&is_late(b)).then(a.cmp(&b));
        if order.is_ne() {
            return order;
        }
        behind_number = matches!(a, Part::Number { .. });
        (one, other) = (rest_of_one, rest_of_other);
    }
}

fn split(key: &str) -> Option<(Part<'_>, &str)> {
    let first = key.chars().next()?;
    if !first.is_ascii_digit() {
        let part = match first.is_alphabetic() {
            true => Part::Letter(first),
            false => Part::Sign(first),
        };
        return Some((part, &key[first.len_utf8()..]));
    }
    let end = key.find(|it: char| !it.is_ascii_digit());
    let (number, rest) = key.split_at(end.unwrap_or(key.len()));
    let digits = number.trim_start_matches('0');
    let part = Part::Number {
        length: digits.len(),
        digits,
        zeros: number.len() - digits.len(),
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests;
