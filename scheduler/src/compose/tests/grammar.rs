//! Files made at random from the tables of the schema, so that every attribute is met, and the laws
//! that hold for them: what is printed loads as itself, and merging is associative.

use std::path::Path;

use super::Case;
use crate::compose::check::{Checker, Paths};
use crate::compose::diagnostic::Problems;
use crate::compose::document::{self, Node};
use crate::compose::merge::merge;
use crate::compose::schema::{Attribute, FILE, Form, Shape};
use crate::compose::{Lints, Purpose, check as check_files};

/// Scalars that mean something in one place or another.
const SCALARS: &[&str] = &[
    "a",
    "b",
    "n",
    "1",
    "0",
    "-1",
    "true",
    "\"no\"",
    "64m",
    "1m30s",
    "0440",
    "80",
    "\"80:80\"",
    "8000-8001",
    "./x",
    "/x",
    "\"a:/y:ro\"",
    "\"./x:/z\"",
    "A=1",
    "a=10.0.0.1",
    "10.0.0.0/24",
    "10.0.0.2",
    "host",
    "none",
    "always",
    "on-failure:2",
    "SIGTERM",
    "CHOWN",
    "service_healthy",
    "replicated",
    "bridge",
    "local",
    "tcp",
    "bind",
    "volume",
    "vip",
    "any",
    "\"${V:-a}\"",
    "$V",
    "\"$$\"",
    "\"\"",
    "~",
    "1.5",
    "\"c 1:3 rwm\"",
    "node.role==manager",
    "\"/dev/a:/dev/b:rw\"",
];

/// Values of attributes that take only some texts; nothing for the others.
fn usual(name: &str) -> &'static [&'static str] {
    match name {
        "image" => &["x:1", "\"x:${V:-1}\""],
        "cap_add" | "cap_drop" => &["[CHOWN]", "[ALL, CAP_KILL]"],
        "dns" => &["1.1.1.1", "[1.1.1.1, 8.8.8.8]"],
        "extra_hosts" => &["[\"a=10.0.0.1\"]", "{b: host-gateway}"],
        "ports" => &[
            "[80]",
            "[\"1000-1002:80-82/udp\"]",
            "[{target: 5, mode: host}]",
        ],
        "volumes" => &[
            "[/x]",
            "[\"a:/y:ro\", ./z:/z]",
            "{a: , b: {labels: [k=v]}, n: }",
        ],
        "networks" => &["[a, b]", "{n: {aliases: [m]}}"],
        "secrets" => &["[a]", "[{source: b, mode: 0440}]"],
        "configs" => &["[a]", "[{source: n, target: /n}]"],
        "devices" => &["[\"/dev/a:/dev/b:rw\"]"],
        "depends_on" => &["{}"],
        "links" | "volumes_from" | "models" => &["[]"],
        "volume" | "develop" => &["{}"],
        "provider" => &["{type: t}"],
        "gpus" => &["all"],
        "command" | "entrypoint" => &["a b", "[a, \"b c\"]", "[]"],
        "healthcheck" => &["{test: \"true\", interval: 90s}", "{disable: true}"],
        "ipc" | "pid" => &["host"],
        "restart" => &["always", "\"no\"", "on-failure:3"],
        "pull_policy" => &["always", "if_not_present"],
        "security_opt" => &["[no-new-privileges]"],
        "stop_signal" => &["SIGINT", "9"],
        "mac_address" => &["02:42:ac:11:00:02"],
        "ulimits" => &["{nofile: 5}", "{nproc: {soft: 1, hard: 2}}"],
        "user" => &["\"1:2\""],
        "tmpfs" => &["/t", "[/t:size=1m]"],
        "constraints" => &["[node.role==manager]"],
        "build" => &["./x", "{context: ., args: {A: 1}, target: t}"],
        "ipam" => &["{config: [{subnet: 10.0.0.0/24}]}"],
        "oom_score_adj" | "weight" => &["100"],
        "name" => &["shop"],
        _ => &[],
    }
}

/// The same files in every run.
const SEEDS: std::ops::Range<u64> = 0..300;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % bound.max(1) as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// One time in so many.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A value of the shape, in flow style; now and then something else.
    fn value(&mut self, shape: &'static Shape) -> String {
        if self.one_in(400) {
            return self.pick(SCALARS).to_owned();
        }
        match shape {
            Shape::Bool => self.pick(&["true", "false", "yes"]).to_owned(),
            Shape::Int { .. } => self.pick(&["0", "1", "3"]).to_owned(),
            Shape::Float => self.pick(&["0.5", "1", "2"]).to_owned(),
            Shape::Size => self.pick(&["64m", "1g", "1048576"]).to_owned(),
            Shape::Duration => self.pick(&["1s", "1m30s", "100ms"]).to_owned(),
            Shape::Mode => self.pick(&["0440", "\"0644\""]).to_owned(),
            Shape::Path => self.pick(&["./x", "/x/../y", "~/z"]).to_owned(),
            Shape::OneOf { good, .. } => format!("{:?}", self.pick(good)),
            Shape::Any | Shape::Text => self.pick(SCALARS).to_owned(),
            Shape::List { item, .. } => {
                let items: Vec<_> = (0..self.below(3)).map(|_| self.value(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Shape::Map(item) => {
                let names = ["a", "b", "n"];
                let entries: Vec<_> = names
                    .into_iter()
                    .map(|name| format!("{name}: {}", self.value(item)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            Shape::KeyValues(_) => self
                .pick(&["{A: 1, B: }", "[A=1, B]", "{C: \"$$x\"}", "[\"A=b c\"]"])
                .to_owned(),
            Shape::Object(attributes) => self.object(attributes),
            Shape::Form(Form { long, .. }) => match self.one_in(40) {
                true => self.pick(SCALARS).to_owned(),
                false => self.value(long),
            },
            Shape::Either(one, other) => {
                let shape = if self.one_in(2) { one } else { other };
                self.value(shape)
            }
            Shape::Merged(_, inner) => self.value(inner),
        }
    }

    fn object(&mut self, attributes: &'static [Attribute]) -> String {
        let rare = (attributes.len() / 4).max(2);
        let mut entries = Vec::new();
        for attribute in attributes {
            let wanted = match attribute.name {
                // These bring other files in, or decide by more than themselves.
                "include" | "extends" | "env_file" | "label_file" | "version" => false,
                // These exclude others, or each other.
                "network_mode" | "scale" | "container_name" | "external" | "driver" => {
                    self.one_in(100)
                }
                "type" | "target" | "content" | "context" | "action" | "command" => true,
                "image" => true,
                _ => self.one_in(rare),
            };
            if wanted {
                let usual = usual(attribute.name);
                let value = match usual.is_empty()
                    || (!matches!(attribute.name, "provider" | "gpus") && self.one_in(100))
                {
                    true => self.value(attribute.shape),
                    false => self.pick(usual).to_owned(),
                };
                entries.push(format!("{}: {value}", attribute.name));
            }
        }
        format!("{{{}}}", entries.join(", "))
    }

    fn file(&mut self) -> String {
        let Shape::Object(sections) = &FILE else {
            return String::new();
        };
        let mut text = String::new();
        for section in *sections {
            if section.name != "models" {
                let value = match section.name {
                    "include" | "version" => continue,
                    "name" => "shop".to_owned(),
                    "networks" => "{a: , b: {internal: true}, n: {labels: {k: v}}}".to_owned(),
                    "volumes" => "{a: , b: {labels: [k=v]}, n: }".to_owned(),
                    "secrets" | "configs" => {
                        "{a: {environment: SET}, b: {file: ./b}, n: {environment: SET}}".to_owned()
                    }
                    _ => self.value(section.shape),
                };
                text.push_str(&format!("{}: {value}\n", section.name));
            }
        }
        text
    }
}

/// A file in the form in which files are merged; `None` if it has errors.
fn checked(text: &str) -> Option<Node> {
    let mut problems = Problems::new(Purpose::Show);
    let file = problems.add_source(Path::new("/shop/compose.yaml"), text);
    let document = document::parse(text, file, &mut problems)?.nodes.pop()?;
    let mut ports = 0;
    let mut checker = Checker {
        ports: &mut ports,
        problems: &mut problems,
        paths: Paths::Absolute(Path::new("/shop")),
        home: Some("/home/me"),
        templates: false,
        path: Vec::new(),
    };
    let node = checker.check(&FILE, document);
    (!problems.has_errors()).then_some(node)
}

/// The values of a tree without their places.
fn values(node: &Node) -> String {
    let mut text = String::new();
    write_values(node, &mut text);
    text
}

fn write_values(node: &Node, into: &mut String) {
    if node.as_map().is_some() {
        into.push('{');
        for (key, entry) in node.entries() {
            into.push_str(key);
            into.push(':');
            write_values(&entry.node, into);
        }
        into.push('}');
    } else if !node.items().is_empty() {
        into.push('[');
        for item in node.items() {
            write_values(item, into);
        }
        into.push(']');
    } else {
        into.push_str(&format!("{:?};", node.value));
    }
}

#[test]
fn what_is_printed_is_printed_again() {
    for seed in SEEDS {
        let text = Random(seed).file();
        let mut case = Case::new(&text);
        case.options.steps.purpose = Purpose::Show;
        check_files(&case.options, &case.disk, &Lints::for_check());
        let Ok(project) = case.load() else { continue };
        let printed = project.canonical().to_yaml();
        let mut again = Case::new(&printed);
        again.options.steps.purpose = Purpose::Show;
        match again.load() {
            Ok(project) => assert_eq!(project.canonical().to_yaml(), printed, "{seed}: {text}"),
            Err(failure) => panic!("{seed}: {text}\n{printed}\n{failure}"),
        }
    }
}

#[test]
fn merging_is_associative() {
    for seed in SEEDS {
        let files = [seed, seed + 1000, seed + 2000].map(|it| checked(&Random(it).file()));
        let [Some(a), Some(b), Some(c)] = files else {
            continue;
        };
        let left = merge(&FILE, merge(&FILE, a.clone(), b.clone()), c.clone());
        let right = merge(&FILE, a, merge(&FILE, b, c));
        assert_eq!(values(&left), values(&right), "{seed}");
    }
}

#[test]
fn a_file_that_says_nothing_changes_nothing() {
    let nothing = checked("{}").unwrap();
    for file in SEEDS.filter_map(|seed| checked(&Random(seed).file())) {
        let expected = values(&file);
        assert_eq!(
            values(&merge(&FILE, file.clone(), nothing.clone())),
            expected
        );
        assert_eq!(values(&merge(&FILE, nothing.clone(), file)), expected);
    }
}

/// The laws above would hold of nothing, too.
#[test]
fn many_of_the_files_are_right() {
    let texts: Vec<String> = SEEDS.map(|seed| Random(seed).file()).collect();
    let right = texts.iter().filter(|it| checked(it).is_some()).count();
    let loaded = texts.iter().filter(|it| {
        let mut case = Case::new(it);
        case.options.steps.purpose = Purpose::Show;
        case.load().is_ok()
    });
    let loaded = loaded.count();
    assert!(
        right >= 200 && loaded >= 100,
        "{right} are well-formed, {loaded} load"
    );
}
