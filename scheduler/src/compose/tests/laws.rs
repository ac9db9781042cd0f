//! What holds of merging, whatever the files: grouping does not matter, nothing changes nothing, and a file
//! over itself adds only to lists that grow.

use std::path::Path;

use proptest::prelude::*;

use crate::compose::check::{Checker, Paths};
use crate::compose::diagnostic::Problems;
use crate::compose::document::{self, Node};
use crate::compose::merge::{merge, settle};
use crate::compose::schema::FILE;

/// Attributes whose values are a set, a mapping, or replaced as a whole. `logging` has one driver here:
/// another one replaces the block, and what follows is then merged into that or into what was before. So
/// does a list where a mapping was, and the user's own keys are of one kind each.
const SETTLED: &[&str] = &[
    "image: a",
    "image: b",
    "command: [one]",
    "command: two words",
    "hostname: ",
    "environment: {K: 1, L: 2}",
    "environment: [K=3, M]",
    "labels: [a=1, b]",
    "ports: ['80:80', '81:80/udp']",
    "ports: ['80:80', {target: 90, published: '9'}]",
    "volumes: ['/v', './x:/w']",
    "volumes: ['y:/w:ro']",
    "depends_on: [db]",
    "depends_on: {db: {condition: service_healthy}}",
    "networks: [front]",
    "networks: {front: {aliases: [x]}, back: }",
    "cap_add: [CHOWN, KILL]",
    "cap_add: [SYS_TIME]",
    "healthcheck: {test: [CMD, a], interval: 1s}",
    "healthcheck: {test: b, retries: 2}",
    "logging: {driver: local, options: {max-size: 1m}}",
    "logging: {driver: local, options: {max-file: 2}}",
    "ulimits: {nofile: 1}",
    "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}",
    "extra_hosts: [a=1.1.1.1, b=2.2.2.2]",
    "secrets: [s, {source: t, target: x}]",
    "deploy: {replicas: 2, resources: {limits: {cpus: '1'}}}",
    "deploy: {resources: {limits: {memory: 1m}, reservations: {cpus: '.5'}}}",
    "build: .",
    "build: {context: x, args: {A: 1}}",
    "x-own: {a: 1}",
];

/// Lists that grow.
const GROWING: &[&str] = &["group_add: [a]", "security_opt: [x, y]", "x-list: [1]"];

fn file(lines: &[&str]) -> String {
    let mut text = "services:\n  s:\n    user: u\n".to_owned();
    let mut keys = Vec::new();
    for line in lines {
        let key = line.split(':').next().unwrap();
        // A key twice in a file would be an error.
        if !keys.contains(&key) {
            keys.push(key);
            text += &format!("    {line}\n");
        }
    }
    text
}

/// The tree of a text in the form in which trees are merged.
fn tree(text: &str) -> Node {
    let mut problems = Problems::default();
    let number = problems.add_source(Path::new("/compose.yaml"), text);
    let mut documents = document::parse(text, number, &mut problems).unwrap().nodes;
    let mut checker = Checker {
        problems: &mut problems,
        paths: Paths::Absolute(Path::new("/")),
        home: None,
        templates: false,
        path: Vec::new(),
        ports: &mut 0,
    };
    let node = checker.check(&FILE, documents.remove(0));
    assert!(!problems.has_errors(), "{text}");
    node
}

fn over(base: Node, over: Node) -> Node {
    let mut merged = merge(&FILE, base, over);
    settle(&mut merged);
    merged
}

fn lines(from: Vec<&'static str>) -> impl Strategy<Value = String> {
    let lines = proptest::collection::vec(proptest::sample::select(from), 0..8);
    lines.prop_map(|lines| file(&lines))
}

fn any_file() -> impl Strategy<Value = String> {
    lines([SETTLED, GROWING].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_which_files_are_merged_first(
        a in any_file(), b in any_file(), c in any_file(),
    ) {
        let left = over(over(tree(&a), tree(&b)), tree(&c));
        let right = over(tree(&a), over(tree(&b), tree(&c)));
        prop_assert!(left.says_the_same(&right), "{left:#?}\n{right:#?}");
    }

    #[test]
    fn a_file_that_says_nothing_changes_nothing(a in any_file()) {
        let nothing = "services: {s: }";
        let expected = tree(&a);
        prop_assert!(over(tree(&a), tree(nothing)).says_the_same(&expected));
        prop_assert!(over(tree(nothing), tree(&a)).says_the_same(&expected));
    }

    #[test]
    fn a_file_over_itself_changes_nothing(a in lines(SETTLED.to_vec())) {
        prop_assert!(over(tree(&a), tree(&a)).says_the_same(&tree(&a)));
    }

    #[test]
    fn the_last_file_has_the_last_word(a in any_file(), b in lines(SETTLED.to_vec())) {
        // What has been said last needs not be said before.
        let twice = over(over(tree(&b), tree(&a)), tree(&b));
        let service = |it: &Node| it.get("services").and_then(|it| it.get("s")).cloned().unwrap();
        let (twice, wanted) = (service(&twice), service(&tree(&b)));
        for (key, entry) in wanted.entries().filter(|(_, it)| it.node.as_str().is_some()) {
            prop_assert!(twice.get(key).unwrap().says_the_same(&entry.node), "{key}");
        }
    }
}

#[test]
fn lists_that_grow_do_so() {
    let text = file(&["group_add: [a]"]);
    let merged = over(tree(&text), tree(&text));
    let groups = merged
        .get("services")
        .and_then(|it| it.get("s")?.get("group_add"));
    assert_eq!(groups.unwrap().items().len(), 2);
}
