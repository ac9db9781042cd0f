//! The house rules that no compiler checks.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// What the scheduler, and the agent's deciding modules, must not import.
const ACTING: [&str; 8] = [
    "tokio::",
    "std::fs",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "nix::",
    "reqwest::",
    "std::thread",
];

/// The agent's modules that decide and never act.
const PURE: [&str; 12] = [
    "agent/src/node/rerun.rs",
    "agent/src/manager/worker/view.rs",
    "agent/src/session/admit.rs",
    "agent/src/session/chunk.rs",
    "agent/src/session/frame.rs",
    "agent/src/session/search.rs",
    "agent/src/plan.rs",
    "agent/src/report.rs",
    "agent/src/container/spec.rs",
    "agent/src/container/health.rs",
    "agent/src/image/reference.rs",
    "agent/src/dns/table.rs",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Files of tests stand under the header of what they test.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = ["scheduler/src", "agent/src", "cli/src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|path| path.starts_with(root().join("tests")) || !is_test(path))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| name(&path))
        .collect();
    assert_eq!(silent, Vec::<String>::new(), "files without a `//!` header");
}

#[test]
fn deciding_modules_do_not_act() {
    let scheduler = sources("scheduler/src")
        .into_iter()
        .filter(|path| !is_test(path));
    let pure = PURE.iter().map(|path| root().join(path));
    let mut acting = Vec::new();
    for path in scheduler.chain(pure) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            if ACTING.iter().any(|word| line.contains(word)) {
                acting.push(format!("{}: {}", name(&path), line.trim()));
            }
        }
    }
    assert_eq!(acting, Vec::<String>::new());
}

#[test]
fn every_file_of_tests_is_part_of_a_test() {
    let manifest = ["cli/Cargo.toml", "agent/Cargo.toml", "scheduler/Cargo.toml"]
        .map(|it| fs::read_to_string(root().join(it)).unwrap())
        .concat();
    let mut forgotten = Vec::new();
    for path in sources("tests") {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let declared = manifest.contains(&format!("../{}", name(&path)));
        let siblings: Vec<PathBuf> = sources("tests")
            .into_iter()
            .filter(|other| *other != path)
            .collect();
        let included = siblings.iter().any(|other| {
            let text = fs::read_to_string(other).unwrap();
            text.contains(&format!("mod {stem};"))
        });
        if !declared && !included {
            forgotten.push(name(&path));
        }
    }
    assert_eq!(
        forgotten,
        Vec::<String>::new(),
        "files that no `[[test]]` and no `mod` names"
    );
}
