//! `wharfie config`.

use super::Place;

const SHOP: &str = "\
name: shop
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: ['8080:80']
    depends_on: [db]
  db:
    image: redis
    volumes: ['data:/data']
    profiles: [storage]
volumes:
  data:
";

#[track_caller]
fn check(place: &Place, arguments: &str, expected: &str) {
    assert_eq!(place.run(arguments), expected);
}

#[test]
fn parts_are_printed_one_a_line() {
    let place = Place::with(SHOP);
    check(&place, "--profile storage config --services", "db\nweb\n");
    check(&place, "--profile storage config --volumes", "data\n");
    check(&place, "--profile storage config --networks", "default\n");
    check(
        &place,
        "--profile storage config --images",
        "nginx:1.27\nredis\n",
    );
    check(&place, "--profile storage config --profiles", "storage\n");
}

#[test]
fn the_environment_wins_over_the_env_file_and_that_over_the_default() {
    let place = Place::with("services: {web: {image: 'nginx:${TAG:-1.27}'}}");
    check(&place, "config --images", "nginx:1.27\n");
    let place = place.file(".env", "TAG=1.28");
    check(&place, "config --images", "nginx:1.28\n");
    let place = place.env("TAG", "1.29");
    check(&place, "config --images", "nginx:1.29\n");
}

#[test]
fn an_env_file_may_name_the_compose_file() {
    let place = Place::empty()
        .file(
            ".env",
            "COMPOSE_FILE=a.yaml:b.yaml\nCOMPOSE_PROJECT_NAME=shop",
        )
        .file("a.yaml", "services: {web: {image: one}}")
        .file("b.yaml", "services: {web: {image: two}}");
    check(&place, "config --images", "two\n");
    assert!(place.run("config").starts_with("name: shop\n"));
}

#[test]
fn the_file_is_found_from_below_and_an_override_is_merged() {
    let place = Place::with("services: {web: {image: one}}")
        .file("compose.override.yaml", "services: {web: {image: two}}")
        .file("below/here.txt", "");
    check(&place, "--project-directory below config --images", "two\n");
    check(&place, "-f compose.yaml config --images", "one\n");
}

#[test]
fn a_valid_file_says_nothing_when_quiet() {
    check(&Place::with(SHOP), "--profile storage config -q", "");
}

#[test]
fn the_result_may_go_to_a_file() {
    let place = Place::with("services: {web: {image: one}}");
    check(&place, "config --images -o out.txt", "");
    assert_eq!(
        std::fs::read_to_string(place.path().join("out.txt")).unwrap(),
        "one\n"
    );
}

#[test]
fn the_word_compose_may_stand_in_front() {
    check(
        &Place::with("services: {web: {image: one}}"),
        "compose config --services",
        "web\n",
    );
}

/// The problems that are told as JSON, and the exit code.
fn problems(place: &Place, arguments: &str) -> (Option<i32>, serde_json::Value) {
    let output = place.start(arguments).wait_with_output().unwrap();
    let found = serde_json::from_slice(&output.stderr).unwrap();
    (output.status.code(), found)
}

#[test]
fn problems_are_json_when_the_file_is_asked_for_as_json() {
    let place = Place::with("services: {web: {image: x, cpu_count: 1}}");
    let place = place.file("bad.yaml", "services: {web: {imge: x}}");
    let (code, found) = problems(&place, "config --format json");
    assert_eq!((code, &found[0]["code"]), (Some(0), &"windows-only".into()));
    let (code, found) = problems(&place, "-f bad.yaml config --format json");
    assert_eq!((code, &found[0]["fix"]), (Some(1), &"image".into()));
}

#[test]
fn options_may_stand_in_the_env_file_below_the_environment() {
    let place = Place::with(SHOP).file(".env", "COMPOSE_PROFILES=storage\nCOMPOSE_ANSI=loud");
    let said = place.run("config --services");
    assert!(said.contains("invalid value 'loud' for '--ansi"), "{said}");
    check(&place, "--ansi never config --services", "db\nweb\n");
    let place = place.env("COMPOSE_ANSI", "never");
    check(&place, "config --services", "db\nweb\n");
}
