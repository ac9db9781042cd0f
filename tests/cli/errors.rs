//! How it looks when something is wrong with what was asked.

use insta::assert_snapshot;

use super::Place;

#[test]
fn a_mistake_in_the_file_is_shown_where_it_is() {
    let place = Place::with("services:\n  web:\n    imag: nginx\n");
    assert_snapshot!(place.run("config"), @r#"
    --- stderr
    error: unknown key `imag` in service `web`
     --> [DIR]/compose.yaml:3:5
      |
    3 |     imag: nginx
      |     ^^^^
      |
    help: did you mean `image`?
    --- exit 1
    "#);
}

#[test]
fn without_a_file_it_says_what_to_do() {
    assert_snapshot!(Place::empty().run("up -d"), @r#"
    --- stderr
    error: no Compose file found in [DIR] or above it
    hint: Write a compose.yaml, or name a file with -f.
    --- exit 1
    "#);
}

#[test]
fn an_unknown_service_is_named_with_those_that_there_are() {
    let place = Place::with("services: {web: {image: a}, db: {image: b}}");
    assert_snapshot!(place.run("up wep"), @r#"
    --- stderr
    error: no such service: wep
    help: did you mean `web`?
    --- exit 1
    "#);
}

#[test]
fn an_unknown_flag_is_refused_by_name() {
    assert_snapshot!(Place::empty().run("up --build"), @r#"
    --- stderr
    error: unexpected argument '--build' found

      tip: to pass '--build' as a value, use '-- --build'

    Usage: wharfie up [OPTIONS] [SERVICES]...

    For more information, try '--help'.
    --- exit 2
    "#);
}

#[test]
fn a_project_name_that_cannot_be_one_is_refused() {
    assert_snapshot!(Place::empty().run("-p Shop ps"), @r#"
    --- stderr
    error: invalid project name `Shop`: it must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number
    --- exit 1
    "#);
}

#[test]
fn an_env_file_that_was_named_must_exist() {
    let place = Place::with("services: {web: {image: a}}");
    assert_snapshot!(place.run("--env-file missing config"), @r#"
    --- stderr
    error: cannot read env file [DIR]/missing: No such file or directory (os error 2)
    --- exit 1
    "#);
}

#[test]
fn an_address_of_a_node_must_be_one() {
    assert_snapshot!(Place::empty().run("-H nowhere ps"), @r#"
    --- stderr
    error: invalid value 'nowhere' for '--host <ADDRESS>': `nowhere` is not an address of a node: use unix:///PATH or tcp://HOST:PORT

    For more information, try '--help'.
    --- exit 2
    "#);
}
