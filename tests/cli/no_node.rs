//! Commands when no node answers: those that only look find nothing, the others say so.

use super::Place;

#[track_caller]
fn check(arguments: &str, expected: &str) {
    let place = Place::with("name: shop\nservices: {web: {image: a}}");
    assert_eq!(place.run(arguments), expected);
}

#[test]
fn looking_finds_nothing() {
    check(
        "ps",
        "NAME      IMAGE     COMMAND   SERVICE   CREATED   STATUS    PORTS\n",
    );
    check("ps -q", "");
    check(
        "ls",
        "NAME                STATUS              CONFIG FILES\n",
    );
    check("logs", "");
    check("volume ls -q", "");
    check("network ls -q", "");
    check("image ls -q", "");
}

#[test]
fn nothing_is_left_to_remove() {
    check(
        "down",
        "--- stderr\nwarning: no resource found to remove for project \"shop\"\n",
    );
    check(
        "-p other down",
        "--- stderr\nwarning: no resource found to remove for project \"other\"\n",
    );
    check("rm -f", "--- stderr\nNo stopped containers\n");
}

#[test]
fn what_needs_containers_fails() {
    check(
        "stop",
        "--- stderr\nerror: no container found for project \"shop\"\nhint: Start it with `wharfie up -d`.\n--- exit 1\n",
    );
    let place = Place::with("services: {web: {image: a}}");
    let said = place.run("exec web ls");
    assert!(
        said.contains("error: no wharfie node answers at unix://[DIR]/none.sock"),
        "{said}"
    );
    assert!(said.ends_with("--- exit 1\n"), "{said}");
}

#[test]
fn a_node_elsewhere_is_not_started() {
    let place = Place::with("services: {web: {image: a}}");
    let said = place.run("-H tcp://127.0.0.1:1 up -d");
    assert!(
        said.contains("only one on this host can be started"),
        "{said}"
    );
}
