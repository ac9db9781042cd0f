//! The same files, the same options: the same JSON, except where we know better.

use serde_json::Value;

use super::compare::compare;
use super::differences::Differences;
use super::{Case, cases, docker_compose, each, wharfie};

/// Options under which both are compared, before `config` and after it. Two are not: without interpolation
/// Docker Compose prints its files nearly as they are, and we in canonical form; and its
/// `--no-env-resolution` changes nothing, although its help says so.
const VARIANTS: [(&[&str], &[&str]); 5] = [
    (&[], &[]),
    (&["--all-resources"], &[]),
    (&[], &["--no-normalize"]),
    (&[], &["--no-path-resolution"]),
    (&[], &["--no-consistency"]),
];

#[test]
fn docker_compose_reads_every_project_as_we_do() {
    let theirs = docker_compose();
    let differences = Differences::read();
    let mut found = each(&cases(), |case| {
        let mut found = Vec::new();
        for (before, after) in VARIANTS {
            let after = [&["--format", "json"], after].concat();
            let theirs = case.config_with(&theirs, before, &after);
            let ours = case.config_with(wharfie(), before, &after);
            let head = format!("{} {} {}", case.name, before.join(" "), after.join(" "));
            if !ours.status.success() {
                // Some projects need the step that was left out.
                if theirs.status.success() || (before.is_empty() && after.len() == 2) {
                    let why = String::from_utf8_lossy(&ours.stderr).into_owned();
                    found.push(format!("{head}: we refuse it: {why}"));
                }
                continue;
            }
            if !theirs.status.success() {
                if !differences.explain(&case.name, "refuses") {
                    let why = String::from_utf8_lossy(&theirs.stderr).into_owned();
                    found.push(format!("{head}: they refuse it: {why}"));
                }
                continue;
            }
            let theirs: Value = serde_json::from_slice(&theirs.stdout).unwrap();
            let ours: Value = serde_json::from_slice(&ours.stdout).unwrap();
            let unknown = compare(&theirs, &ours)
                .into_iter()
                .filter(|it| !differences.explain(&case.name, &it.path));
            found.extend(
                unknown.map(|it| format!("{head}: {}: {}, we {}", it.path, it.theirs, it.ours)),
            );
        }
        found.extend(lists(case, &theirs, &differences));
        found
    });
    found.extend(differences.unused());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What is printed one a line, in any order and without repetitions.
fn lists(case: &Case, theirs: &std::path::Path, differences: &Differences) -> Vec<String> {
    let parts: [(&str, &[&str]); 10] = [
        ("hash", &["--hash", "*"]),
        ("services", &["--services"]),
        ("volumes", &["--volumes"]),
        ("networks", &["--networks"]),
        ("images", &["--images"]),
        ("models", &["--models"]),
        ("profiles", &["--profiles"]),
        ("environment", &["--environment"]),
        ("variables", &["--variables"]),
        ("quiet", &["--quiet"]),
    ];
    let mut found = Vec::new();
    for (part, arguments) in parts {
        let (theirs, ours) = (
            case.config(theirs, arguments),
            case.config(wharfie(), arguments),
        );
        if !theirs.status.success() {
            continue;
        }
        let lines = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            // Of a variable with several defaults Docker Compose shows any one.
            let shown = |line: &str| match part {
                "variables" => line.split(' ').next().unwrap_or_default().to_owned(),
                _ => line.to_owned(),
            };
            let mut lines: Vec<_> = text.lines().map(shown).collect();
            lines.sort();
            lines.dedup();
            lines
        };
        let (theirs, ours) = (lines(&theirs.stdout), lines(&ours.stdout));
        let path = format!("--{part}");
        if theirs != ours && !differences.explain(&case.name, &path) {
            found.push(format!("{} {path}: {theirs:?}, we {ours:?}", case.name));
        }
    }
    found
}
