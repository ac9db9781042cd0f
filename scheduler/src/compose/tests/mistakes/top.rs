//! Mistakes at the top of a file, and in how files fit together.

use insta::assert_snapshot;

use super::shown;

#[test]
fn sections_have_fixed_names() {
    assert_snapshot!(shown("service:\n  web:\n    image: nginx\n"), @"
    error: unknown key `service` at the top level
     --> compose.yaml:1:1
      |
    1 | service:
      | ^^^^^^^
      |
    help: did you mean `services`?
    ");
    assert_snapshot!(shown("web:\n  image: nginx\ndb:\n  image: postgres\n"), @"
    error: unknown key `web` at the top level
     --> compose.yaml:1:1
      |
    1 | web:
      | ^^^
      |
    help: services stand under `services:`; keys of your own begin with `x-`

    error: unknown key `db` at the top level
     --> compose.yaml:3:1
      |
    3 | db:
      | ^^
      |
    help: services stand under `services:`; keys of your own begin with `x-`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx}\nnetwork: {a: }\n"), @"
    error: unknown key `network` at the top level
     --> compose.yaml:3:1
      |
    3 | network: {a: }
      | ^^^^^^^
      |
    help: did you mean `networks`?
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx}\ndefaults: {restart: always}\n"), @"
    error: unknown key `defaults` at the top level
     --> compose.yaml:3:1
      |
    3 | defaults: {restart: always}
      | ^^^^^^^^
      |
    help: services stand under `services:`; keys of your own begin with `x-`
    ");
}

#[test]
fn services_must_be_there() {
    assert_snapshot!(shown("services:\n"), @"
    error: the files declare no service
     --> compose.yaml:1:1
      |
    1 | services:
      | ^^^^^^^^^
      |
    help: write `services: {NAME: {image: IMAGE}}`
    ");
    assert_snapshot!(shown("name: shop\nvolumes: {a: }\n"), @"
    error: the files declare no service
     --> compose.yaml:1:1
      |
    1 | name: shop
      | ^^^^^^^^^^
      |
    help: write `services: {NAME: {image: IMAGE}}`
    ");
    assert_snapshot!(shown("services:\n  - web\n"), @"
    error: `services` must be a mapping, not a list
     --> compose.yaml:2:3
      |
    2 |   - web
      |   ^^^^^
      |
    help: write names as keys: `web:` in place of `- web`
    ");
    assert_snapshot!(shown("services:\n  web:\n"), @"
    error: service `web` has no image
     --> compose.yaml:2:3
      |
    2 |   web:
      |   ^^^
      |
    help: add `image: NAME`
    ");
    assert_snapshot!(shown("services:\n  web: nginx\n"), @"
    error: service `web` must be a mapping, not a string
     --> compose.yaml:2:8
      |
    2 |   web: nginx
      |        ^^^^^
      |
    help: write `web: {image: nginx}`
    ");
    assert_snapshot!(shown("services:\n  my web: {image: nginx}\n"), @"
    error: `my web` cannot be the name of a service
     --> compose.yaml:2:3
      |
    2 |   my web: {image: nginx}
      |   ^^^^^^
      |
    help: use letters, digits, `.`, `_` and `-`
    ");
}

#[test]
fn the_project_name_has_rules() {
    assert_snapshot!(shown("name: -!-\nservices:\n  web: {image: nginx}\n"), @"
    error: no name of a project can be made of `-!-`
     --> compose.yaml:1:7
      |
    1 | name: -!-
      |       ^^^
      |
    help: it consists of lowercase letters, digits, `-` and `_`
    ");
}

#[test]
fn other_files_must_be_there() {
    assert_snapshot!(shown("include: [db.yaml]\nservices:\n  web: {image: nginx}\n"), @"
    error: db.yaml cannot be read: no such file
     --> compose.yaml:1:11
      |
    1 | include: [db.yaml]
      |           ^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web:\n    extends: {file: base.yaml, service: web}\n"), @"
    error: base.yaml cannot be read: no such file
     --> compose.yaml:3:21
      |
    3 |     extends: {file: base.yaml, service: web}
      |                     ^^^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    env_file: web.env\n"), @"
    error: web.env cannot be read: no such file
     --> compose.yaml:4:15
      |
    4 |     env_file: web.env
      |               ^^^^^^^
      |
    help: a file that may be missing is written `{path: …, required: false}`
    ");
    assert_snapshot!(shown("include: [compose.yaml]\nservices:\n  web: {image: nginx}\n"), @"
    error: files include each other: compose.yaml → compose.yaml
     --> compose.yaml:1:11
      |
    1 | include: [compose.yaml]
      |           ^^^^^^^^^^^^
    ");
}

#[test]
fn what_is_extended_must_be_there() {
    assert_snapshot!(shown("services:\n  web: {extends: bse}\n  base: {image: nginx}\n"), @"
    error: there is no service `bse` in compose.yaml to extend
     --> compose.yaml:2:18
      |
    2 |   web: {extends: bse}
      |                  ^^^
      |
    help: did you mean `base`?
    ");
    assert_snapshot!(shown("services:\n  web: {extends: {file: base.yaml}}\n"), @"
    error: `extends` has no `service`
     --> compose.yaml:2:9
      |
    2 |   web: {extends: {file: base.yaml}}
      |         ^^^^^^^
      |
    help: name the service to start from: `service: NAME`
    ");
    assert_snapshot!(shown("services:\n  a: {extends: b}\n  b: {extends: a}\n"), @"
    error: services extend each other: `a` of compose.yaml → `b` of compose.yaml → `a` of compose.yaml
     --> compose.yaml:2:7
      |
    2 |   a: {extends: b}
      |       ^^^^^^^

    error: services extend each other: `b` of compose.yaml → `a` of compose.yaml → `b` of compose.yaml
     --> compose.yaml:3:7
      |
    3 |   b: {extends: a}
      |       ^^^^^^^
    ");
}

#[test]
fn a_mistake_is_shown_in_the_file_where_it_was_made() {
    assert_snapshot!(shown("=== compose.yaml\nservices:\n  web: {image: nginx}\n=== compose.override.yaml\nservices:\n  web:\n    depends_on: [bd]\n"), @"
    error: service `web` depends on `bd`, which does not exist
     --> compose.override.yaml:3:18
      |
    3 |     depends_on: [bd]
      |                  ^^
      |
    help: there is no other service in the project
    ");
    assert_snapshot!(shown("=== compose.yaml\nservices:\n  web:\n    extends: {file: base.yaml, service: base}\n=== base.yaml\nservices:\n  base:\n    image: nginx\n    restart: sometimes\n"), @r#"
    error: `restart` cannot be `sometimes`
     --> base.yaml:4:14
      |
    4 |     restart: sometimes
      |              ^^^^^^^^^
      |
    note: extended by service `web` here
     --> compose.yaml:3:41
      |
    3 |     extends: {file: base.yaml, service: base}
      |                                         ^^^^
    help: write `"no"`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`
    "#);
    assert_snapshot!(shown("=== compose.yaml\ninclude: [db/compose.yaml]\nservices:\n  web: {image: nginx}\n=== db/compose.yaml\nservices:\n  db:\n    image: postgres\n    networks: [back]\n"), @"
    error: service `db` uses the network `back`, which is not declared
     --> db/compose.yaml:4:16
      |
    4 |     networks: [back]
      |                ^^^^
      |
    note: included from here
     --> compose.yaml:1:11
      |
    1 | include: [db/compose.yaml]
      |           ^^^^^^^^^^^^^^^
    help: declare it under the top-level `networks:`
    ");
    assert_snapshot!(shown("=== compose.yaml\nservices:\n  a: {image: x, container_name: one}\n=== compose.override.yaml\nservices:\n  b: {image: y, container_name: one}\n"), @"
    error: two services have the `container_name` `one`
     --> compose.override.yaml:2:33
      |
    2 |   b: {image: y, container_name: one}
      |                                 ^^^
      |
    note: the first one
     --> compose.yaml:2:33
      |
    2 |   a: {image: x, container_name: one}
      |                                 ^^^
    ");
}

#[test]
fn variables_must_be_written_right() {
    assert_snapshot!(shown("services:\n  web:\n    image: nginx:${TAG\n"), @"
    error: invalid variable expression `${TAG`
     --> compose.yaml:3:18
      |
    3 |     image: nginx:${TAG
      |                  ^^^^^
      |
    help: the closing `}` is missing
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx:${TAG:?say which version}\n"), @"
    error: required variable `TAG` is missing a value: say which version
     --> compose.yaml:3:20
      |
    3 |     image: nginx:${TAG:?say which version}
      |                    ^^^
      |
    help: set `TAG` in the environment or in `.env`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx:${}\n"), @"
    error: invalid variable expression `${}`
     --> compose.yaml:3:18
      |
    3 |     image: nginx:${}
      |                  ^^^
      |
    help: write `${NAME}`, `${NAME:-DEFAULT}`, `${NAME:?MESSAGE}` or `${NAME:+VALUE}`; a plain dollar sign is `$$`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx:${1X}\n"), @"
    error: invalid variable expression `${1X}`
     --> compose.yaml:3:18
      |
    3 |     image: nginx:${1X}
      |                  ^^^^^
      |
    help: write `${NAME}`, `${NAME:-DEFAULT}`, `${NAME:?MESSAGE}` or `${NAME:+VALUE}`; a plain dollar sign is `$$`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: ${TAG!x}\n"), @"
    error: invalid variable expression `${TAG!x}`
     --> compose.yaml:3:12
      |
    3 |     image: ${TAG!x}
      |            ^^^^^^^^
      |
    help: write `${NAME}`, `${NAME:-DEFAULT}`, `${NAME:?MESSAGE}` or `${NAME:+VALUE}`; a plain dollar sign is `$$`
    ");
}

#[test]
fn a_value_from_a_variable_is_shown_beside_it() {
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    ports: [\"${SET}:80\"]\n"), @r#"
    error: `ports` of service `web`: `value:80` is not a port: `value` is not a number from 1 to 65535
     --> compose.yaml:4:13
      |
    4 |     ports: ["${SET}:80"]
      |             ^^^^^^^^^^^ this is `value:80` here
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    deploy: {replicas: $SET}\n"), @"
    error: `deploy.replicas` of service `web` must be a whole number from 0, not `value`
     --> compose.yaml:4:24
      |
    4 |     deploy: {replicas: $SET}
      |                        ^^^^ this is `value` here
    ");
}
