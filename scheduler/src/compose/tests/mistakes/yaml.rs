//! Mistakes that keep a file from being read.

use insta::assert_snapshot;

use super::shown;

#[test]
fn tabs_do_not_indent() {
    assert_snapshot!(shown("services:\n\tweb:\n\t\timage: nginx\n"), @"
    error: a tab cannot indent a line
     --> compose.yaml:2:1
      |
    2 |     web:
      | ^
      |
    help: indent with spaces, two for each level
    ");
    assert_snapshot!(shown("services:\n  web:\n\timage: nginx\n"), @"
    error: a tab cannot indent a line
     --> compose.yaml:3:1
      |
    3 |     image: nginx
      | ^
      |
    help: indent with spaces, two for each level
    ");
}

#[test]
fn quotes_and_brackets_must_be_closed() {
    assert_snapshot!(shown("services:\n  web:\n    image: \"nginx\n    tty: true\n"), @"
    error: a quoted text goes on in this line, but is not indented for it
     --> compose.yaml:4:5
      |
    4 |     tty: true
      |     ^
      |
    help: is a quote in a line above never closed?
    ");
    assert_snapshot!(shown("services:\n  web:\n    ports: [80, 81\n    tty: true\n"), @"
    error: a `:` cannot stand here
     --> compose.yaml:4:8
      |
    4 |     tty: true
      |        ^
      |
    help: is a `[` or `{` in a line above never closed?
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx\n"), @"
    error: not valid YAML: unclosed bracket '{'
     --> compose.yaml:2:8
      |
    2 |   web: {image: nginx
      |        ^
    ");
}

#[test]
fn indentation_tells_what_belongs_together() {
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n     tty: true\n"), @"
    error: this line is indented as if it belonged to the one above
     --> compose.yaml:4:6
      |
    4 |      tty: true
      |      ^^^
      |
    help: the line above, `image: nginx`, has its value already: indent as it is
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n   tty: true\n"), @"
    error: this line is indented less than those before it, but more than any key above
     --> compose.yaml:4:4
      |
    4 |    tty: true
      |    ^
      |
    help: give it the indentation of the key that it belongs beside
    ");
    assert_snapshot!(shown("services:\n  web:\n    environment:\n      A: 1\n      - B=2\n"), @"
    error: a list item cannot stand among the keys of a mapping
     --> compose.yaml:5:9
      |
    5 |       - B=2
      |         ^
      |
    help: write either `KEY: VALUE` or `- VALUE` in all lines
    ");
    assert_snapshot!(shown("services:\n  web:\n  image: nginx\n"), @"
    error: service `web` has no image
     --> compose.yaml:2:3
      |
    2 |   web:
      |   ^^^
      |
    help: add `image: NAME`

    error: service `image` must be a mapping, not a string
     --> compose.yaml:3:10
      |
    3 |   image: nginx
      |          ^^^^^
      |
    help: `image` is an attribute of a service: indent it more than the service's name
    ");
}

#[test]
fn a_colon_needs_a_space_behind_it() {
    assert_snapshot!(shown("services:\n  web:\n    image:nginx\n"), @"
    error: service `web` must be a mapping, not a string
     --> compose.yaml:3:5
      |
    3 |     image:nginx
      |     ^^^^^^^^^^^
      |
    help: write a space behind the `:`: `image: nginx`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image:nginx\n    tty: true\n"), @"
    error: this line is indented as if it belonged to the one above
     --> compose.yaml:4:5
      |
    4 |     tty: true
      |     ^^^
      |
    help: write a space behind the `:` of the line above: `image: nginx`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    environment:\n      A: b: c\n"), @r#"
    error: there is a second `: ` in this line
     --> compose.yaml:5:11
      |
    5 |       A: b: c
      |           ^
      |
    help: write the value in quotes: `A: "b: c"`
    "#);
}

#[test]
fn some_characters_mean_something_at_the_beginning() {
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    environment:\n      HOSTS: *\n"), @"
    error: a value cannot begin with `*`, which begins the name of an anchor
     --> compose.yaml:5:14
      |
    5 |       HOSTS: *
      |              ^
      |
    help: write it in quotes: `'*'`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    environment:\n      A: @home\n"), @"
    error: a value cannot begin with `@`, which has a meaning in YAML
     --> compose.yaml:5:10
      |
    5 |       A: @home
      |          ^^^^^
      |
    help: write it in quotes: `'@home'`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    environment:\n      A: %d\n"), @"
    error: a value cannot begin with `%`, which has a meaning in YAML
     --> compose.yaml:5:10
      |
    5 |       A: %d
      |          ^^
      |
    help: write it in quotes: `'%d'`
    ");
    assert_snapshot!(shown("services:\n  web:\n    <<: *defaults\n    image: nginx\n"), @r#"
    error: nothing above is called `&defaults`
     --> compose.yaml:3:9
      |
    3 |     <<: *defaults
      |         ^^^^^^^^^
      |
    help: write `"*defaults"` if it is a text that begins with `*`
    "#);
}

#[test]
fn a_key_stands_once() {
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    tty: true\n    image: httpd\n"), @"
    error: key `image` is given twice
     --> compose.yaml:5:5
      |
    3 |     image: nginx
      |     ----- first given here
    4 |     tty: true
    5 |     image: httpd
      |     ^^^^^
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    environment:\n      A: 1\n      A: 2\n"), @"
    error: key `A` is given twice
     --> compose.yaml:6:7
      |
    5 |       A: 1
      |       - first given here
    6 |       A: 2
      |       ^
    ");
}
