//! `differences.txt`: where we knowingly differ.

use std::collections::BTreeSet;
use std::sync::Mutex;

pub(crate) struct Differences {
    places: Vec<Place>,
    /// Those that have explained something.
    used: Mutex<BTreeSet<usize>>,
}

struct Place {
    line: usize,
    case: String,
    path: String,
}

impl Differences {
    pub(crate) fn read() -> Self {
        let text = include_str!("differences.txt");
        let mut places = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (case, path) = line.split_once(' ').unwrap();
            places.push(Place {
                line: at + 1,
                case: case.to_owned(),
                path: path.to_owned(),
            });
        }
        Self {
            places,
            used: Mutex::default(),
        }
    }

    pub(crate) fn explain(&self, case: &str, path: &str) -> bool {
        let mut found = false;
        for (at, place) in self.places.iter().enumerate() {
            let here = place.case == "*" || place.case == case;
            if here && matches(&place.path, path) {
                self.used.lock().unwrap().insert(at);
                found = true;
            }
        }
        found
    }

    /// Places that have explained nothing.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap();
        let unused = self
            .places
            .iter()
            .enumerate()
            .filter(|(at, _)| !used.contains(at));
        unused
            .map(|(_, it)| format!("differences.txt:{} `{} {}`", it.line, it.case, it.path))
            .collect()
    }
}

/// `*` is any text within one key, `**` any number of keys.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<_> = pattern.split('/').collect();
    let path: Vec<_> = path.split('/').collect();
    keys_match(&pattern, &path)
}

fn keys_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=path.len()).any(|skipped| keys_match(rest, &path[skipped..]))
        }
        (Some((wanted, rest)), Some((key, below))) => {
            let fits = match wanted.split_once('*') {
                None => wanted == key,
                Some((head, tail)) => {
                    key.len() >= head.len() + tail.len()
                        && key.starts_with(head)
                        && key.ends_with(tail)
                }
            };
            fits && keys_match(rest, below)
        }
        _ => false,
    }
}

#[test]
fn stars_stand_for_keys() {
    assert!(matches("services/*/x-*", "services/a/x-own"));
    assert!(!matches("services/*", "services/a/b"));
    assert!(matches("**/x-*", "a/b/x-c") && matches("**/x-*", "x-c"));
    assert!(!matches("**/x-*", "a/b"));
}
