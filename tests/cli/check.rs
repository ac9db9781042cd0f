//! `wharfie check`.

use insta::assert_snapshot;

use super::Place;

const OPEN: &str = "\
services:
  db:
    image: postgres:16
    ports: ['5432:5432']
";

#[test]
fn a_warning_shows_the_place_the_rule_and_what_to_do() {
    assert_snapshot!(Place::with(OPEN).run("check"), @"
    warning[published-database]: database `db` can be reached from every address of the host
     --> [DIR]/compose.yaml:4:13
      |
    4 |     ports: ['5432:5432']
      |             ^^^^^^^^^^^
      |
    help: write `127.0.0.1:5432:5432` for this host only; services on the same network need no published port
    --- stderr

    1 warning
    ");
}

#[test]
fn a_clean_file_is_said_to_be_clean() {
    assert_snapshot!(Place::with("services: {web: {image: 'nginx:1.27'}}").run("check"), @"
    --- stderr
    no problems found
    ");
}

#[test]
fn errors_and_warnings_come_together_and_end_with_1() {
    let place = Place::with("services:\n  web:\n    image: nginx\n    prots: ['80:80']\n");
    assert_snapshot!(place.run("check"), @"
    warning[unpinned-image]: image `nginx` has no tag, which means `latest`
     --> [DIR]/compose.yaml:3:12
      |
    3 |     image: nginx
      |            ^^^^^
      |
    help: name the version you have tried, such as `nginx:1.2`

    error: unknown key `prots` in service `web`
     --> [DIR]/compose.yaml:4:5
      |
    4 |     prots: ['80:80']
      |     ^^^^^
      |
    help: did you mean `ports`?
    --- stderr

    1 error, 1 warning
    --- exit 1
    ");
}

#[test]
fn flags_silence_and_sharpen() {
    let place = Place::with(OPEN);
    assert_snapshot!(place.run("check --allow published-database --deny warnings"), @"
    --- stderr
    no problems found
    ");
    assert!(
        place
            .run("check --deny warnings")
            .ends_with("1 error\n--- exit 1\n")
    );
    assert_snapshot!(place.run("check --allow published-databse"), @"
    --- stderr
    error: there is no rule `published-databse`
    hint: Did you mean `published-database`?
    --- exit 1
    ");
}

#[test]
fn editors_get_an_array_even_of_nothing() {
    let place = Place::with("services: {web: {image: 'nginx:1.27'}}");
    assert_eq!(place.run("check --format json"), "[]\n");
    let found = Place::with(OPEN).run("check --format json");
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["code"], "published-database");
    assert_eq!(found[0]["range"]["start"]["line"], 4);
    assert_eq!(found[0]["range"]["start"]["column"], 13);
    assert_eq!(found[0]["range"]["end"]["column"], 24);
}

#[test]
fn a_rule_is_explained() {
    assert_snapshot!(Place::empty().run("check --explain decimal-mode"), @"
    # decimal-mode

    Permissions that were written as a decimal number.

    Unquoted, `444` is the decimal number 444, which is `0674` in the octal notation of `chmod`: the file
    is readable and writable for whom it should not be.

    ```yaml
    secrets:
      - source: token
        mode: 444      # is 0674
        mode: 0444     # is what was meant
    ```
    ");
    assert!(Place::empty().run("check --explain").contains("\nunused "));
}

#[test]
fn an_attribute_is_explained() {
    let said = Place::empty().run("check --explain runtime");
    assert_eq!(
        said,
        "services.*.runtime: yes: `runc`, which means wharfie's own; refused: every other\n"
    );
    let said = Place::empty().run("check --explain bananas");
    assert!(
        said.starts_with("--- stderr\nerror: there is no rule or attribute `bananas`"),
        "{said}"
    );
}
