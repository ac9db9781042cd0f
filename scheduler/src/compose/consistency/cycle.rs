//! Dependencies in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::diagnostic::Problems;
use crate::compose::document::{Entry, Node};

/// Reports each circle of dependencies once.
pub(super) fn cycles(services: &BTreeMap<&str, &Entry>, problems: &mut Problems) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in services.keys() {
        // Names on the way from `start`, each with those still to be followed.
        let mut way: Vec<(&str, Vec<&str>)> = vec![(start, dependencies(services, start))];
        while let Some((name, rest)) = way.last_mut() {
            let name = *name;
            let Some(next) = rest.pop() else {
                done.insert(name);
                way.pop();
                continue;
            };
            if let Some(first) = way.iter().position(|(name, _)| *name == next) {
                let mut names: Vec<_> = way[first..]
                    .iter()
                    .map(|(name, _)| format!("`{name}`"))
                    .collect();
                names.push(format!("`{next}`"));
                let entry = services
                    .get(name)
                    .and_then(|it| it.node.get("depends_on")?.as_map()?.get(next));
                if let Some(entry) = entry {
                    let title = format!("services depend on each other: {}", names.join(" → "));
                    problems
                        .error(entry.key, title)
                        .set_code("cycle")
                        .set_help("one of them must be able to start first");
                }
            } else if !done.contains(next) && services.contains_key(next) {
                way.push((next, dependencies(services, next)));
            }
        }
    }
}

fn dependencies<'a>(services: &BTreeMap<&str, &'a Entry>, name: &str) -> Vec<&'a str> {
    let node = services.get(name).and_then(|it| it.node.get("depends_on"));
    node.into_iter()
        .flat_map(Node::entries)
        .map(|(name, _)| name)
        .collect()
}
