//! Several files, `extends`, `include`, profiles.

use super::{Case, titles};

/// The canonical form of one service, from several files.
#[track_caller]
fn check(files: &str, expected: &str) {
    let project = Case::new(files).project();
    let text = project.canonical().to_yaml();
    let start = text.find("  a:\n").unwrap();
    let body: String = text[start + 5..]
        .lines()
        .take_while(|it| it.starts_with("    "))
        .map(|it| format!("{}\n", &it[4..]))
        .collect();
    assert_eq!(body, expected);
}

#[test]
fn later_files_win_and_lists_grow() {
    check(
        "=== compose.yaml
services:
  a: {image: x, network_mode: none, command: one, cap_add: [CHOWN], environment: {K: 1, L: 2}, ports: ['80:80'], volumes: ['/v', './x:/w']}
=== compose.override.yaml
services:
  a: {image: y, command: [two], cap_add: [CHOWN, KILL], environment: [K=3], ports: ['80:80', '81:81'], volumes: ['./z:/w']}
",
        r#"cap_add:
  - CHOWN
  - KILL
command:
  - two
environment:
  K: "3"
  L: "2"
image: "y"
network_mode: none
ports:
  - mode: ingress
    target: 80
    published: "80"
    protocol: tcp
  - mode: ingress
    target: 81
    published: "81"
    protocol: tcp
volumes:
  - type: volume
    target: /v
    volume: {}
  - type: bind
    source: /shop/z
    target: /w
    bind:
      create_host_path: true
"#,
    );
}

#[test]
fn reset_and_override_act_on_what_came_before() {
    check(
        "=== compose.yaml
services:
  a: {image: x, network_mode: none, hostname: h, cap_add: [CHOWN], environment: {K: 1, L: 2}, dns: [1.1.1.1]}
=== compose.override.yaml
services:
  a:
    hostname: !reset null
    cap_add: !override [KILL]
    environment: {K: !reset null}
    dns: !reset []
=== compose.third.yaml
services:
  a: {dns: 2.2.2.2}
",
        "cap_add:\n  - KILL\ndns:\n  - 2.2.2.2\nenvironment:\n  L: \"2\"\nimage: x\nnetwork_mode: none\n",
    );
}

#[test]
fn documents_of_one_file_are_merged() {
    check(
        "services:\n  a: {image: x, network_mode: none}\n---\nservices:\n  a: {image: z}\n",
        "image: z\nnetwork_mode: none\n",
    );
}

#[test]
fn logging_options_meet_only_under_one_driver() {
    let files = |driver: &str| {
        format!(
            "=== compose.yaml\nservices:\n  a: {{image: x, network_mode: none, logging: {{driver: local, options: {{max-file: 2}}}}}}\n\
             === compose.override.yaml\nservices:\n  a: {{logging: {{driver: {driver}, options: {{max-size: 1m}}}}}}\n"
        )
    };
    check(
        &files("local"),
        "image: x\nlogging:\n  driver: local\n  options:\n    max-file: \"2\"\n    max-size: 1m\nnetwork_mode: none\n",
    );
    check(
        &files("none"),
        "image: x\nlogging:\n  driver: none\n  options:\n    max-size: 1m\nnetwork_mode: none\n",
    );
}

#[test]
fn merge_keys_give_what_is_not_there() {
    check(
        "x-one: &one {hostname: h1, user: u1}\nx-two: &two {user: u2, domainname: d2}\n\
         services:\n  a: {<<: [*one, *two], image: x, network_mode: none, hostname: own}\n",
        "domainname: d2\nhostname: own\nimage: x\nnetwork_mode: none\nuser: u1\n",
    );
}

#[test]
fn extends_starts_from_another_service() {
    check(
        "=== compose.yaml
services:
  a: {extends: {file: sub/common.yaml, service: base}, hostname: own}
=== sub/common.yaml
services:
  root: {image: x, network_mode: none, volumes: ['./data:/data'], environment: {A: 1, B: 1}}
  base: {extends: root, hostname: theirs, environment: {B: 2}}
  broken: {nonsense: true}
",
        r#"environment:
  A: "1"
  B: "2"
hostname: own
image: x
network_mode: none
volumes:
  - type: bind
    source: /shop/sub/data
    target: /data
    bind:
      create_host_path: true
"#,
    );
}

#[test]
fn include_brings_another_project_with_its_own_directory_and_variables() {
    let case = Case::new(
        "=== compose.yaml
include: [sub/other.yaml]
services:
  a: {image: x, depends_on: [b]}
=== sub/other.yaml
services:
  b: {image: 'y:$TAG', volumes: ['./d:/d', 'v:/v']}
volumes: {v: }
=== sub/.env
TAG=7
",
    );
    let stack = case.project().stack;
    let b = &stack.services["b"].container;
    assert_eq!(b.image, "y:7");
    assert!(format!("{:?}", b.mounts).contains("/shop/sub/d"));
    assert!(stack.volumes.contains_key("v"));
}

#[test]
fn include_in_a_circle_is_refused() {
    let failure = Case::new(
        "=== compose.yaml\ninclude: [one.yaml]\n=== one.yaml\ninclude: [two.yaml]\n=== two.yaml\ninclude: [one.yaml]\n",
    )
    .load()
    .unwrap_err();
    assert!(
        titles(&failure.errors)
            .contains("files include each other: /shop/one.yaml → /shop/two.yaml → /shop/one.yaml"),
        "{failure}"
    );
}

#[track_caller]
fn check_profiles(profiles: &[&str], services: &[&str], expected: &str) {
    let mut case = Case::new(
        "services:\n  a: {image: x}\n  b: {image: x, profiles: [p]}\n  c: {image: x, profiles: [q], depends_on: {b: {condition: service_started, required: false}}}\n",
    );
    case.options.profiles = profiles.iter().map(|it| (*it).to_owned()).collect();
    case.options.services = services.iter().map(|it| (*it).to_owned()).collect();
    let shown = match case.load() {
        Ok(project) => project
            .stack
            .services
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
        Err(failure) => titles(&failure.errors),
    };
    assert_eq!(shown, expected);
}

#[test]
fn profiles_decide_what_is_on() {
    check_profiles(&[], &[], "a");
    check_profiles(&["p"], &[], "a b");
    check_profiles(&["*"], &[], "a b c");
    check_profiles(&[], &["c"], "a c");
    check_profiles(&[], &["d"], "no such service: d\n");
}

#[test]
fn two_included_projects_may_bring_the_same_but_not_different_things() {
    let files = |other: &str| {
        format!(
            "=== compose.yaml\ninclude: [one.yaml, two.yaml]\nservices:\n  a: {{image: x}}\n\
             === one.yaml\nservices:\n  b: {{image: b}}\n=== two.yaml\nservices:\n  b: {{image: {other}}}\n"
        )
    };
    assert_eq!(Case::new(&files("b")).project().stack.services.len(), 2);
    let failure = Case::new(&files("c")).load().unwrap_err();
    assert_eq!(
        titles(&failure.errors),
        "compose.yaml:1:21 service `b` is included twice, and not as the same\n"
    );
}

#[test]
fn what_includes_goes_over_what_is_included() {
    let project = Case::new(
        "=== compose.yaml\ninclude: [one.yaml]\nservices:\n  b: {hostname: h}\n\
         === one.yaml\nservices:\n  b: {image: b, hostname: g}\n",
    )
    .project();
    let b = &project.stack.services["b"].container;
    assert_eq!((b.image.as_str(), b.hostname.as_deref()), ("b", Some("h")));
}

#[test]
fn what_is_elsewhere_is_fetched_and_has_its_own_directory() {
    let project = Case::new(
        "=== compose.yaml
include: ['git://host/a#main', {path: ['oci://b', over.yaml]}]
services:
  c: {image: c, extends: {file: 'git://host/a', service: a}}
=== over.yaml
services: {b: {hostname: h}}
=== /fetched/a/compose.yaml
services: {a: {image: \"a:$V\", env_file: a.env, volumes: ['./data:/data']}}
=== /fetched/a/.env
V=1
=== /fetched/a/a.env
A=1
=== /fetched/b/compose.yaml
services: {b: {image: b}}
",
    )
    .project();
    let yaml = project.canonical().to_yaml();
    for part in [
        "image: a:1",
        "source: /fetched/a/data",
        "A: \"1\"",
        "hostname: h",
    ] {
        assert!(yaml.contains(part), "{part}: {yaml}");
    }
}

#[test]
fn what_cannot_be_fetched_is_an_error_where_it_is_named() {
    for (text, why) in [
        ("oci://registry/project:1", "there is none"),
        (
            "https://host/compose.yaml",
            "`https://host/compose.yaml` is neither a Git repository nor an artifact of a registry",
        ),
        ("git@host:a.git#:../x", "`../x` leads out of the repository"),
    ] {
        let failure = Case::new(&format!("include: ['{text}']"))
            .load()
            .unwrap_err();
        assert_eq!(
            titles(&failure.errors),
            format!("compose.yaml:1:11 `{text}` cannot be fetched: {why}\n")
        );
    }
}

#[test]
fn a_fetched_file_reads_nothing_of_this_host() {
    for (text, path) in [
        ("include: [/etc/passwd]", "/etc/passwd"),
        ("include: [../../etc/passwd]", "/etc/passwd"),
        (
            "include: [{path: b.yaml, env_file: /etc/passwd}]",
            "/etc/passwd",
        ),
        (
            "services: {a: {image: x, env_file: /fetched/a/../../etc/x}}",
            "/fetched/a/../../etc/x",
        ),
        (
            "services: {a: {image: x, env_file: [{path: /x, required: false}]}}",
            "/x",
        ),
        ("services: {a: {image: x, label_file: ../x}}", "/fetched/x"),
        ("services: {a: {image: x, env_file: ~/x}}", "/home/me/x"),
        (
            "services: {a: {extends: {file: /etc/x, service: a}}}",
            "/etc/x",
        ),
        ("secrets: {a: {file: /etc/shadow}}", "/etc/shadow"),
        ("configs: {a: {file: ../x}}", "/fetched/x"),
    ] {
        let files = format!(
            "=== compose.yaml\ninclude: ['git://host/a']\n=== /fetched/a/compose.yaml\n{text}\n=== /fetched/a/b.yaml\nservices: {{}}\n"
        );
        let said = match Case::new(&files).load() {
            Ok(_) => String::new(),
            Err(failure) => titles(&failure.errors),
        };
        let wanted = format!("{path} is outside of what was fetched");
        assert!(said.contains(&wanted), "{text}: {said}");
    }
}

#[test]
fn a_null_takes_a_program_back_but_nothing_else() {
    check(
        "=== compose.yaml
services:
  a: {image: x, network_mode: none, command: one, entrypoint: e, hostname: h, environment: {A: 1}}
=== compose.override.yaml
services:
  a: {command: , entrypoint: , hostname: , environment: }
",
        "environment:\n  A: \"1\"\nhostname: h\nimage: x\nnetwork_mode: none\n",
    );
}
