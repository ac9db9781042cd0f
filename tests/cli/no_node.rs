//! Commands when no node answers: on a host without one those that only look find nothing. A node
//! that was named must be there.

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
        said.contains("error: cannot connect to the wharfie daemon at unix://"),
        "{said}"
    );
    assert!(said.ends_with("--- exit 1\n"), "{said}");
}

#[test]
fn a_node_that_was_named_must_be_there() {
    let expected = "--- stderr
error: cannot connect to the wharfie daemon at unix:///nope/w.sock (No such file or directory (os error 2)). Is the node running?
hint: Start it with `wharfie agent --host unix:///nope/w.sock`, or name another one with --host or WHARFIE_HOST.
--- exit 1
";
    for command in ["ps", "ls", "logs", "images", "down", "stop", "top", "up -d"] {
        check(&format!("-H unix:///nope/w.sock {command}"), expected);
    }
    let place = Place::with("services: {web: {image: a}}");
    let place = place.env("WHARFIE_HOST", "unix:///nope/w.sock");
    assert_eq!(place.run("volume ls"), expected);
}

#[test]
fn a_node_elsewhere_is_not_started() {
    let place = Place::with("services: {web: {image: a}}");
    let said = place.run("-H tcp://127.0.0.1:1 up -d");
    assert!(
        said.contains("hint: Only a node on this host can be started from here"),
        "{said}"
    );
}

#[test]
fn what_is_odd_in_the_files_is_told_by_those_that_use_them() {
    let place = Place::with("services: {web: {image: \"a:$UNSET\"}}");
    for command in ["ps", "ps --orphans=false", "logs", "top", "down"] {
        let said = place.run(command);
        assert!(!said.contains("UNSET"), "{command}: {said}");
    }
    let said = place.run("config -q");
    assert_eq!(said.matches("is not set").count(), 1, "{said}");
}
