//! Messages: what they say, where they point, and that all of them come in one run.

use super::{Case, titles};

/// All errors of a project, one a line.
#[track_caller]
fn check(text: &str, expected: &str) {
    match Case::new(text).load() {
        Ok(_) => panic!("it loads"),
        Err(failure) => assert_eq!(titles(&failure.errors), expected),
    }
}

#[test]
fn shows_the_line_and_what_was_meant() {
    let failure = Case::new("services:\n  web:\n    image: nginx\n    enviroment: [A=1]\n")
        .load()
        .unwrap_err();
    insta::assert_snapshot!(failure, @"
    error: unknown key `enviroment` in service `web`
     --> /shop/compose.yaml:4:5
      |
    4 |     enviroment: [A=1]
      |     ^^^^^^^^^^
      |
    help: did you mean `environment`?
    ");
}

#[test]
fn finds_everything_in_one_run() {
    check(
        r#"
servces: {}
services:
  web:
    imge: nginx
    build: .
    ports: ["80:99999", "a:b:c"]
    restart: sometimes
    depends_on: [dbb]
    volumes: [dat:/x, "data:rel"]
    networks: [frnt]
    deploy: {replicas: many, resources: {limits: {memory: 64q}}}
    healthcheck: {test: [curl, x], interval: 5}
    tty: perhaps
  db: {image: "pg:${V?must}", command: "a 'b"}
volumes: {data: }
networks: {front: }
"#,
        "\
compose.yaml:2:1 unknown key `servces` at the top level
compose.yaml:5:5 unknown key `imge` in service `web`
compose.yaml:6:5 `build` is not supported yet in service `web`
compose.yaml:7:13 `ports` of service `web`: `80:99999` is not a port: `99999` is not a number from 1 to 65535
compose.yaml:7:25 `ports` of service `web`: `a:b:c` is not a port: `c` is not a number from 1 to 65535
compose.yaml:8:14 `restart` cannot be `sometimes`
compose.yaml:9:18 service `web` depends on `dbb`, which does not exist
compose.yaml:10:15 service `web` uses the volume `dat`, which is not declared
compose.yaml:10:23 `volumes[1]` of service `web`: the target `rel` is not an absolute path
compose.yaml:11:16 service `web` uses the network `frnt`, which is not declared
compose.yaml:12:24 `deploy.replicas` of service `web` must be a whole number from 0, not `many`
compose.yaml:12:59 `deploy.resources.limits.memory` of service `web`: `64q` is not a size
compose.yaml:13:26 `healthcheck.test` of service `web` must begin with `CMD`, `CMD-SHELL` or `NONE`
compose.yaml:13:46 `healthcheck.interval` of service `web`: `5` is not a duration
compose.yaml:14:10 `tty` of service `web` must be true or false, not `perhaps`
compose.yaml:15:21 required variable `V` is missing a value: must
compose.yaml:15:40 `command` of service `db` has a quote that is never closed
",
    );
}

#[test]
fn refuses_what_is_not_a_compose_file() {
    check("", "compose.yaml:1:1 the file is empty\n");
    check(
        "- a",
        "compose.yaml:1:1 the top level must be a mapping, not a list\n",
    );
    check(
        "services: {}",
        "compose.yaml:1:1 the files declare no service\n",
    );
    check(
        "services: [a]",
        "compose.yaml:1:11 `services` must be a mapping, not a list\n",
    );
    check(
        "a: b: c",
        "compose.yaml:1:5 there is a second `: ` in this line\n",
    );
    check(
        "services:\n  a: {image: x}\n  a: {image: y}",
        "compose.yaml:3:3 key `a` is given twice\n",
    );
    check(
        "services: {a: {image: x, ? [b] : c}}",
        "compose.yaml:1:28 a key must be a string, not a list\ncompose.yaml:1:28 unknown key `` in service `a`\n",
    );
}

#[test]
fn refuses_bombs() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let list = vec![format!("*a{before}"); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let failure = Case::new(&text).load().unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("expands to more than 100000 values"),
        "{failure}"
    );
    check(
        &format!("a: {}{}", "[".repeat(150), "]".repeat(150)),
        &format!(
            "compose.yaml:1:{} the file is nested more than 100 levels deep\n",
            103
        ),
    );
    check(
        "x-a: &a [*a]\nservices: {s: {image: i}}",
        "compose.yaml:1:10 an alias cannot stand inside of what it refers to\n",
    );
}

#[test]
fn refuses_contradictions() {
    let service = |text: &str| format!("services:\n  a: {{image: x, {text}}}\n  b: {{image: y}}\n");
    check(
        &service("network_mode: none, networks: [default]"),
        "compose.yaml:2:31 service `a` has both `network_mode` and `networks`\n",
    );
    check(
        &service("scale: 2, deploy: {replicas: 3}"),
        "compose.yaml:2:24 `scale` and `deploy.replicas` of service `a` disagree\n",
    );
    check(
        &service("mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}"),
        "compose.yaml:2:28 `mem_limit` and `deploy.resources.limits.memory` of service `a` disagree\n",
    );
    check(
        &service("container_name: c1, scale: 2"),
        "compose.yaml:2:33 service `a` has a `container_name` and more than one container\n",
    );
    check(
        &service("tmpfs: /t, volumes: [/t]"),
        "compose.yaml:2:24 a volume and a tmpfs of service `a` are mounted at /t\n",
    );
    check(
        &service("links: [a]"),
        "compose.yaml:2:25 services depend on each other: `a` → `a`\n",
    );
    check(
        &service("networks: {default: {ipv4_address: 10.0.0.1}}"),
        "compose.yaml:2:52 a fixed address needs a subnet, and network `default` has none\n",
    );
    check(
        "services: {a: {image: x}}\nsecrets: {s: {external: true, file: x}}",
        "compose.yaml:2:31 secret `s` is external, so `file` cannot be given\n",
    );
}

#[test]
fn shows_the_way_of_a_circle() {
    check(
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, depends_on: [a]}\n",
        "compose.yaml:4:30 services depend on each other: `a` → `b` → `c` → `a`\n",
    );
    check(
        "services:\n  a: {extends: b}\n  b: {extends: a, image: x}\n",
        "compose.yaml:2:7 services extend each other: `a` of /shop/compose.yaml → `b` of /shop/compose.yaml → `a` of /shop/compose.yaml\n\
         compose.yaml:3:7 services extend each other: `b` of /shop/compose.yaml → `a` of /shop/compose.yaml → `b` of /shop/compose.yaml\n",
    );
}

#[test]
fn names_what_is_not_done_yet() {
    check(
        "services:\n  a:\n    image: x\n    storage_opt: {size: 1g}\n    pull_policy: build\n    runtime: crun\n    gpus: [{driver: amd}]\n",
        "\
compose.yaml:4:5 `storage_opt` is not supported yet in service `a`
compose.yaml:5:18 the pull policy `build` is not supported yet
compose.yaml:6:14 the runtime `crun` is not supported
compose.yaml:7:12 devices of the driver `amd` cannot be asked for
",
    );
}

#[test]
fn warns_about_what_has_no_effect() {
    let text =
        "version: '3'\nservices:\n  a: {image: x, cpu_count: 2, network_mode: host, ports: [80]}\n";
    let project = Case::new(text).project();
    assert_eq!(
        titles(&project.warnings),
        "\
compose.yaml:1:1 `version` has no effect at the top level: the attribute is obsolete
compose.yaml:3:17 `cpu_count` has no effect in service `a`: only Windows honours it
compose.yaml:3:58 service `a` publishes ports but uses the host's network
"
    );
    assert!(project.stack.services["a"].container.ports.is_empty());
}

#[test]
fn refuses_what_several_containers_or_none_could_have() {
    check(
        "services:\n  a: {image: x, scale: 2, networks: {n: {ipv4_address: 10.0.0.2}}}\n\
         networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n",
        "compose.yaml:2:56 `ipv4_address` belongs to one container, but the service has several\n",
    );
    check(
        "services:\n  a: {image: x, network_mode: 'service:b', ports: [80]}\n  b: {image: x}\n",
        "compose.yaml:2:51 service `a` publishes ports but has no network of its own\n",
    );
}

#[test]
fn files_that_multiply_are_stopped() {
    let mut text = "=== compose.yaml\ninclude: [f0.yaml, g0.yaml]\n".to_owned();
    let padding = "#".repeat(500_000);
    for level in 0..30 {
        let next = level + 1;
        for name in ["f", "g"] {
            text.push_str(&format!(
                "=== {name}{level}.yaml\ninclude: [f{next}.yaml, g{next}.yaml]\n{padding}\n"
            ));
        }
    }
    let failure = Case::new(&text).load().unwrap_err();
    assert!(failure.to_string().contains("in total"), "{failure}");
}

#[test]
fn build_needs_an_image_to_use_instead() {
    check(
        "services: {web: {build: .}}",
        "compose.yaml:1:18 `build` is not supported yet in service `web`\n",
    );
    let project = Case::new("services: {web: {build: ., image: web}}")
        .load()
        .unwrap();
    let [warning] = project.warnings.as_slice() else {
        panic!("one warning: {:?}", project.warnings);
    };
    assert!(warning.to_string().contains("image `web` is used as it is"));
}

#[test]
fn a_problem_of_a_service_that_was_extended_says_by_which() {
    let failure = Case::new(
        "=== compose.yaml\nservices:\n  web:\n    extends: {file: base.yaml, service: common}\n\
         === base.yaml\nservices:\n  common:\n    image: x\n    volumes: ['data:/d']\n",
    )
    .load()
    .unwrap_err();
    insta::assert_snapshot!(failure, @"
    error: service `web` uses the volume `data`, which is not declared
     --> /shop/base.yaml:4:15
      |
    4 |     volumes: ['data:/d']
      |               ^^^^^^^^^
      |
    note: extended by service `web` here
     --> /shop/compose.yaml:3:41
      |
    3 |     extends: {file: base.yaml, service: common}
      |                                         ^^^^^^
    help: declare it under the top-level `volumes:`
    ");
    // The base has no such problem of its own: that of the other service is told with its name.
    let failure = Case::new(
        "services:\n  common: {image: x, network_mode: host}\n  web:\n    \
         extends: common\n    networks: [a]\nnetworks: {a: }\n",
    )
    .load()
    .unwrap_err();
    insta::assert_snapshot!(failure, @"
    error: service `web` has both `network_mode` and `networks`
     --> /shop/compose.yaml:2:36
      |
    2 |   common: {image: x, network_mode: host}
      |                                    ^^^^
    ...
    5 |     networks: [a]
      |     -------- `networks` stands here
      |
    note: extended by service `web` here
     --> /shop/compose.yaml:4:14
      |
    4 |     extends: common
      |              ^^^^^^
    help: remove one of them
    ");
}

#[test]
fn a_problem_of_an_included_file_says_from_where_and_so_does_its_json() {
    let failure = Case::new(
        "=== compose.yaml\ninclude:\n  - one.yaml\nservices: {web: {image: x}}\n\
         === one.yaml\ninclude: [two.yaml]\n\
         === two.yaml\nservices: {db: {imge: x}}\n",
    )
    .load()
    .unwrap_err();
    insta::assert_snapshot!(failure, @"
    error: unknown key `imge` in service `db`
     --> /shop/two.yaml:1:17
      |
    1 | services: {db: {imge: x}}
      |                 ^^^^
      |
    note: included from here
     --> /shop/one.yaml:1:11
      |
    1 | include: [two.yaml]
      |           ^^^^^^^^
    note: included from here
     --> /shop/compose.yaml:2:5
      |
    2 |   - one.yaml
      |     ^^^^^^^^
    help: did you mean `image`?
    ");
    let json = crate::compose::to_json(&failure.errors).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["related"][1]["file"], "/shop/compose.yaml");
    assert_eq!(json[0]["related"][1]["message"], "included from here");
}
