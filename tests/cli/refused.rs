//! What Docker Compose has and wharfie has not says so by its name, and what to do instead.

use super::Place;

#[track_caller]
fn check(arguments: &str, name: &str, instead: &str) {
    let said = Place::with("name: shop\nservices: {web: {image: a}}").run(arguments);
    let refusal = format!("error: `{name}` is not part of wharfie yet\nhint: ");
    assert!(said.contains(&refusal), "{said}");
    assert!(said.contains(instead), "{said}");
    assert!(said.ends_with("--- exit 1\n"), "{said}");
}

#[test]
fn commands_that_are_missing_say_what_to_do_instead() {
    check("build", "build", "wharfie image load");
    check("build --no-cache --pull web", "build", "wharfie image load");
    check("push web", "push", "wharfie pull");
    check("commit web new:1", "commit", "wharfie export");
}

#[test]
fn a_dry_run_changes_nothing_and_says_why() {
    check("--dry-run up -d", "--dry-run", "wharfie config");
    check("up -d --dry-run", "--dry-run", "wharfie config");
}

#[test]
fn copies_without_a_container_are_refused() {
    let said = Place::with("name: shop\nservices: {web: {image: a}}").run("cp a b");
    assert_eq!(
        said,
        "--- stderr\nerror: neither is in a container\nhint: Write one of the two as SERVICE:PATH.\n--- exit 1\n"
    );
}
