//! Every attribute that `cli/compose.md` says is done is proved here, or somewhere else by name, or
//! is listed as not proved. That list can only become shorter.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, identity, life, limits, network, updates};
use crate::support::root;

const PAGE: &str = include_str!("../../../cli/compose.md");

/// Proved by another test, with the file that it stands in.
const ELSEWHERE: &[(&str, &str)] = &[
    ("develop", "tests/scenarios/watch.rs"),
    ("develop.watch", "tests/scenarios/watch.rs"),
    ("develop.watch.action", "tests/scenarios/watch.rs"),
    ("develop.watch.exec", "tests/scenarios/watch.rs"),
    ("develop.watch.exec.command", "tests/scenarios/watch.rs"),
    ("develop.watch.exec.environment", "tests/scenarios/watch.rs"),
    ("develop.watch.exec.privileged", "tests/scenarios/watch.rs"),
    ("develop.watch.exec.user", "tests/scenarios/watch.rs"),
    ("develop.watch.exec.working_dir", "tests/scenarios/watch.rs"),
    ("develop.watch.ignore", "tests/scenarios/watch.rs"),
    ("develop.watch.include", "tests/scenarios/watch.rs"),
    ("develop.watch.initial_sync", "tests/scenarios/watch.rs"),
    ("develop.watch.path", "tests/scenarios/watch.rs"),
    ("develop.watch.target", "tests/scenarios/watch.rs"),
    ("post_start", "tests/scenarios/hooks.rs"),
    ("post_start.command", "tests/scenarios/hooks.rs"),
    ("post_start.environment", "tests/scenarios/hooks.rs"),
    ("post_start.privileged", "tests/scenarios/hooks.rs"),
    ("post_start.user", "tests/scenarios/hooks.rs"),
    ("post_start.working_dir", "tests/scenarios/hooks.rs"),
    ("pre_start", "tests/scenarios/hooks.rs"),
    ("pre_start.command", "tests/scenarios/hooks.rs"),
    ("pre_start.environment", "tests/scenarios/hooks.rs"),
    ("pre_start.image", "tests/scenarios/hooks.rs"),
    ("pre_start.per_replica", "tests/scenarios/hooks.rs"),
    ("pre_start.privileged", "tests/scenarios/hooks.rs"),
    ("pre_start.user", "tests/scenarios/hooks.rs"),
    ("pre_start.working_dir", "tests/scenarios/hooks.rs"),
    ("pre_stop", "tests/scenarios/hooks.rs"),
    ("pre_stop.command", "tests/scenarios/hooks.rs"),
    ("pre_stop.environment", "tests/scenarios/hooks.rs"),
    ("pre_stop.privileged", "tests/scenarios/hooks.rs"),
    ("pre_stop.user", "tests/scenarios/hooks.rs"),
    ("pre_stop.working_dir", "tests/scenarios/hooks.rs"),
    ("deploy.placement", "tests/scenarios/spread.rs"),
    ("deploy.placement.constraints", "tests/scenarios/spread.rs"),
    (
        "deploy.placement.preferences",
        "scheduler/src/reconcile/tests.rs",
    ),
    (
        "deploy.placement.preferences.spread",
        "scheduler/src/reconcile/tests.rs",
    ),
    (
        "deploy.resources.reservations.generic_resources",
        "scheduler/src/reconcile/tests/fleet.rs",
    ),
    (
        "deploy.resources.reservations.generic_resources.discrete_resource_spec",
        "scheduler/src/reconcile/tests/fleet.rs",
    ),
    (
        "deploy.resources.reservations.generic_resources.discrete_resource_spec.kind",
        "scheduler/src/reconcile/tests/fleet.rs",
    ),
    (
        "deploy.resources.reservations.generic_resources.discrete_resource_spec.value",
        "scheduler/src/reconcile/tests/fleet.rs",
    ),
    (
        "deploy.update_config.parallelism",
        "scheduler/src/reconcile/tests/steps.rs",
    ),
];

/// Done, as far as one knows, and seen by nobody.
const UNPROVEN: &[&str] = &[];

/// The rows that say "yes": of services as they stand, of other sections with the section's path,
/// of the top of a file with a slash.
fn done() -> BTreeSet<String> {
    let mut prefix = String::new();
    let mut done = BTreeSet::new();
    for line in PAGE.lines() {
        if line.starts_with("## ") {
            prefix = match line.split('`').nth(1) {
                None => "/".to_owned(),
                Some("services.*") => String::new(),
                Some(path) => format!("{path}."),
            };
        }
        let row = line
            .strip_prefix("| `")
            .and_then(|it| it.split_once("` | yes"));
        done.extend(row.map(|(path, _)| format!("{prefix}{path}")));
    }
    done
}

fn proved() -> BTreeSet<String> {
    let cases = [
        limits::CASES,
        identity::CASES,
        files::CASES,
        network::CASES,
        life::CASES,
    ];
    let of_cases = cases.into_iter().flatten().flat_map(|it| it.proves);
    let others = [
        limits::DISKS,
        limits::WEIGHTS,
        limits::REAL_TIME,
        limits::ROOM,
        limits::VENDORS,
        network::READ,
        identity::TOP,
        life::ENDS,
        updates::PROVES,
    ];
    let of_others = others.into_iter().flatten();
    of_cases
        .chain(of_others)
        .map(|it| (*it).to_owned())
        .collect()
}

#[test]
fn each_attribute_that_is_done_is_proved_or_listed_as_not_proved() {
    let (done, proved) = (done(), proved());
    let elsewhere: BTreeMap<&str, &str> = ELSEWHERE.iter().copied().collect();
    let unproven: BTreeSet<&str> = UNPROVEN.iter().copied().collect();
    let mut wrong = String::new();
    for path in &done {
        let places = [
            proved.contains(path),
            elsewhere.contains_key(path.as_str()),
            unproven.contains(path.as_str()),
        ];
        match places.iter().filter(|it| **it).count() {
            1 => {}
            0 => wrong.push_str(&format!("`{path}` is done and not proved\n")),
            _ => wrong.push_str(&format!("`{path}` is listed twice\n")),
        }
    }
    let listed = proved.iter().map(String::as_str);
    for path in listed
        .chain(elsewhere.keys().copied())
        .chain(unproven.iter().copied())
    {
        if !done.contains(path) {
            wrong.push_str(&format!("`{path}` is no row that says yes\n"));
        }
    }
    for (path, file) in elsewhere {
        if !root().join(file).exists() {
            wrong.push_str(&format!(
                "`{path}` is proved in {file}, which is not there\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
