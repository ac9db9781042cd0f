//! Mutated Compose files against the loader: a fuzzer that needs nothing but `cargo test`.
//!
//! Takes the files of `examples/` and of the tests, spoils them, and holds what must be true of
//! every input: nothing panics, every complaint lies inside of a file, and what `config` prints is
//! a file that `config` prints again.
//!
//! The first thousands of inputs are the same in every run. `WHARFIE_FUZZ_SECONDS` (20) bounds the
//! time, `WHARFIE_FUZZ_SEED` (1) begins elsewhere; a failure prints the seed that leads to it at once.

// The rules of the scheduler are for what decides; this acts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scheduler::compose::{
    Color, Files, Lints, LoadOptions, Source, check, load, render_all, to_json,
};

/// Enough for a run on every push; a loaded machine gets less far, and that is no failure.
const INPUTS: u64 = 3000;
const SECONDS: u64 = 20;

/// Pieces that mean something somewhere.
const WORDS: &[&str] = &[
    "services:",
    "  web:",
    "image: ",
    "build: .",
    "ports:",
    "- \"80:80\"",
    "8000-8005:80/udp",
    "environment:",
    "- A=1",
    "A: ${B:-${C:?no}}",
    "$$",
    "${",
    "}",
    "volumes:",
    "- a:/b:ro",
    "./x",
    "depends_on: [web]",
    "{condition: service_healthy}",
    "networks:",
    "ipv4_address: 10.0.0.2",
    "deploy: {replicas: 2}",
    "extends: {file: other.yaml, service: web}",
    "include: [other.yaml]",
    "<<: *x",
    "&x",
    "*x",
    "!reset null",
    "!override []",
    "x-wharfie: {allow: [unused]}",
    "# wharfie:allow unused, links",
    "healthcheck: {test: [CMD]}",
    "secrets: {s: {environment: A}}",
    "command: sh -c 'a",
    "mode: 444",
    "1h",
    "64m",
    "-1",
    "0x7fffffffffffffff",
    "1e999",
    "~",
    "null",
    "true",
    "\"",
    "'",
    "|",
    ">-",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "---",
    "\t",
    "ä",
    "\u{feff}",
    "\0",
    "\r\n",
    "#",
    "?",
    "profiles: [p]",
    "name: x",
    "external: true",
];

#[test]
fn no_input_breaks_the_loader() {
    let seed = number("WHARFIE_FUZZ_SEED", 1);
    let end = Instant::now() + Duration::from_secs(number("WHARFIE_FUZZ_SECONDS", SECONDS));
    let longer = std::env::var_os("WHARFIE_FUZZ_SECONDS").is_some();
    let corpus = corpus();
    for seed in seed.. {
        if Instant::now() > end || (!longer && seed > INPUTS) {
            break;
        }
        let mut random = Random(seed);
        let text = mutant(&corpus, &mut random);
        if catch_unwind(AssertUnwindSafe(|| hold(&text))).is_err() {
            panic!("WHARFIE_FUZZ_SEED={seed} leads to this input:\n{text}");
        }
    }
}

/// What must be true of every text.
fn hold(text: &str) {
    let disk = Disk::with(text);
    let mut lints = Lints::for_check();
    lints.warn("pedantic").unwrap();
    let found = check(&disk.options(), &disk, &lints);
    render_all(&found, Color::Ansi);
    to_json(&found).unwrap();
    for (path, line, column) in found.iter().filter_map(|it| it.position()) {
        let source = String::from_utf8(disk.read(path).unwrap()).unwrap();
        let width = source.split('\n').nth(line - 1).unwrap().chars().count();
        assert!(column <= width + 1, "column {column} of {width}");
    }
    let Ok(project) = load(&disk.options(), &disk) else {
        return;
    };
    let printed = project.canonical().to_yaml();
    let disk = Disk::with(&printed);
    match load(&disk.options(), &disk) {
        Ok(again) => assert_eq!(again.canonical().to_yaml(), printed, "printed otherwise"),
        Err(failure) => panic!("what was printed does not load: {failure}\n{printed}"),
    }
}

/// A project of two files; the second is there to be included and extended.
struct Disk(BTreeMap<PathBuf, String>);

impl Disk {
    fn with(text: &str) -> Self {
        let other =
            "services:\n  web:\n    image: nginx\n    ports: ['80']\n  db: {extends: web}\n";
        Self(BTreeMap::from([
            (PathBuf::from("/fuzz/compose.yaml"), text.to_owned()),
            (PathBuf::from("/fuzz/other.yaml"), other.to_owned()),
        ]))
    }

    fn options(&self) -> LoadOptions {
        let path = PathBuf::from("/fuzz/compose.yaml");
        LoadOptions {
            files: vec![Source { path, text: None }],
            project_directory: PathBuf::from("/fuzz"),
            profiles: vec!["*".to_owned()],
            environment: BTreeMap::from([("A".to_owned(), "a$b'\"{".to_owned())]),
            ..LoadOptions::default()
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        Ok(self.0.get(path).ok_or_else(missing)?.clone().into_bytes())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// A text of the corpus with up to eight wounds.
fn mutant(corpus: &[String], random: &mut Random) -> String {
    let mut text = random.pick(corpus).clone();
    for _ in 0..=random.below(8) {
        wound(&mut text, corpus, random);
    }
    text.truncate(floor(&text, 20_000));
    text
}

fn wound(text: &mut String, corpus: &[String], random: &mut Random) {
    let at = floor(text, random.below(text.len() + 1));
    let end = floor(text, (at + random.below(40)).min(text.len())).max(at);
    match random.below(8) {
        0 => text.replace_range(at..end, ""),
        1 => text.insert_str(at, random.word()),
        2 => text.replace_range(at..end, random.word()),
        3 => text.insert(
            at,
            char::from_u32(random.below(0x300) as u32).unwrap_or('\u{fffd}'),
        ),
        4 => {
            let piece = text[at..end].to_owned();
            text.insert_str(at, &piece);
        }
        5 => lines(text, random, |lines, one, other| lines.swap(one, other)),
        6 => lines(text, random, |lines, one, other| {
            let line = lines[one].clone();
            lines.insert(other, line);
        }),
        _ => lines(text, random, |lines, one, other| {
            let from = random_line(corpus, one + other);
            lines[one] = from;
        }),
    }
}

fn lines(
    text: &mut String,
    random: &mut Random,
    change: impl FnOnce(&mut Vec<String>, usize, usize),
) {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    change(&mut lines, one, other);
    *text = lines.join("\n");
}

fn random_line(corpus: &[String], seed: usize) -> String {
    let mut random = Random(seed as u64);
    let text = random.pick(corpus);
    let lines: Vec<&str> = text.lines().collect();
    match lines.is_empty() {
        true => String::new(),
        false => (*random.pick(&lines)).to_owned(),
    }
}

/// The beginning of the character at an offset.
fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The Compose files of this repository.
fn corpus() -> Vec<String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut open = ["examples", "tests", "scheduler/src/compose/tests"]
        .map(|it| root.join(it))
        .to_vec();
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|it| it == "yaml" || it == "yml")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 3, "the examples are there");
    files
        .iter()
        .filter_map(|it| std::fs::read_to_string(it).ok())
        .collect()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |it| it.parse().unwrap())
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below the bound, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
