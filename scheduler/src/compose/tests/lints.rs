//! What `wharfie check` finds, what it keeps quiet about, and how it is silenced.

use super::{Case, titles};
use crate::compose::{Lints, Rule, check as check_files, to_json};

/// What the rules find in a project, one a line, with the rule.
#[track_caller]
fn check(text: &str, expected: &str) {
    check_with(&Lints::for_check(), text, expected);
}

#[track_caller]
fn check_with(lints: &Lints, text: &str, expected: &str) {
    let case = Case::new(text);
    let found = check_files(&case.options, &case.disk, lints);
    let lines = found.iter().map(|it| {
        let line = titles(std::slice::from_ref(it));
        let (place, title) = line.split_once(' ').unwrap_or(("", &line));
        format!("{place} [{}] {title}", it.code())
    });
    assert_eq!(lines.collect::<String>(), expected);
}

#[track_caller]
fn check_pedantic(text: &str, expected: &str) {
    let mut lints = Lints::for_check();
    lints.warn("pedantic").unwrap();
    check_with(&lints, text, expected);
}

#[test]
fn an_image_without_a_version() {
    check(
        "services:\n  a: {image: nginx}\n  b: {image: 'reg:5000/x:latest'}\n  c: {image: 'nginx:1.27'}\n",
        "compose.yaml:2:14 [unpinned-image] image `nginx` has no tag, which means `latest`\n\
         compose.yaml:3:14 [unpinned-image] image `reg:5000/x:latest` is whatever `latest` was when it was pulled\n",
    );
    // Somebody has chosen.
    check("services: {a: {image: 'nginx@sha256:00'}}", "");
    check("services: {a: {image: 'nginx:${TAG:-latest}'}}", "");
    check("services: {a: {image: nginx, pull_policy: always}}", "");
}

#[test]
fn a_database_that_everybody_can_reach() {
    let service =
        |ports: &str| format!("services: {{db: {{image: 'postgis/postgis:16', ports: {ports}}}}}");
    check(
        &service("['15432:5432']"),
        "compose.yaml:1:54 [published-database] database `db` can be reached from every address of the host\n",
    );
    check(
        &service("[{target: 5432, published: 5432}]"),
        "compose.yaml:1:54 [published-database] database `db` can be reached from every address of the host\n",
    );
    check(&service("['127.0.0.1:5432:5432']"), "");
    check(&service("[5432]"), "");
    check(&service("['8080:80']"), "");
}

#[test]
fn more_power_than_it_seems() {
    check(
        "services:\n  a:\n    image: x:1\n    privileged: true\n    volumes: ['/var/run/docker.sock:/s:ro']\n",
        "compose.yaml:4:17 [privileged] service `a` is privileged: its processes are root on the host\n\
         compose.yaml:5:15 [engine-socket] service `a` is given /var/run/docker.sock: whoever can talk to it is root on the host\n",
    );
    check("services: {a: {image: 'x:1', privileged: false}}", "");
}

#[test]
fn secrets_for_everybody_to_read() {
    check(
        "services:\n  a:\n    image: x:1\n    environment:\n      DB_PASSWORD: hunter2\n      URL: postgres://u:pw@h/x\n      - nonsense\n"
            .replace("      - nonsense\n", "")
            .as_str(),
        "compose.yaml:5:20 [plain-secret] `DB_PASSWORD` is a secret, and stands in the file for everybody to read\n\
         compose.yaml:6:12 [plain-secret] the address in `URL` has a password in it, for everybody to read\n",
    );
    check(
        "services:\n  a:\n    image: x:1\n    environment:\n      - API_TOKEN=abc\n      - PASSWORD=${SET}\n      - ALLOW_EMPTY_PASSWORD=yes\n      \
         - DB_PASSWORD_FILE=/run/secrets/x\n      - TOKEN\n      - URL=http://u:${SET}@h\n",
        "compose.yaml:5:9 [plain-secret] `API_TOKEN` is a secret, and stands in the file for everybody to read\n",
    );
}

#[test]
fn waiting_for_the_wrong_thing() {
    let db = "  db: {image: 'x:1', healthcheck: {test: 'true'}}\n";
    check(
        &format!("services:\n  a: {{image: 'x:1', depends_on: [db]}}\n{db}"),
        "compose.yaml:2:34 [health-not-awaited] service `a` waits until `db` has started, not until it is healthy\n",
    );
    check(
        &format!("services:\n  a: {{image: 'x:1', depends_on: {{db: {{restart: true}}}}}}\n{db}"),
        "compose.yaml:2:34 [health-not-awaited] service `a` waits until `db` has started, not until it is healthy\n",
    );
    check(
        &format!(
            "services:\n  a: {{image: 'x:1', depends_on: {{db: {{condition: service_started}}}}}}\n{db}"
        ),
        "",
    );
    check(
        "services:\n  a: {image: 'x:1', depends_on: [db]}\n  db: {image: 'x:1', healthcheck: {disable: true}}\n",
        "",
    );
}

#[test]
fn waiting_for_what_cannot_happen() {
    check(
        "services:\n  a: {image: 'x:1', depends_on: {db: {condition: service_healthy}}}\n  db: {image: 'redis:7'}\n",
        "compose.yaml:2:34 [missing-healthcheck] service `a` waits until `db` is healthy, but nothing checks its health\n",
    );
    // Other images may bring a check.
    check(
        "services:\n  a: {image: 'x:1', depends_on: {db: {condition: service_healthy}}}\n  db: {image: 'me/redis:7'}\n",
        "",
    );
    let job = |restart: &str| {
        format!(
            "services:\n  a: {{image: 'x:1', depends_on: {{j: {{condition: service_completed_successfully}}}}}}\n  j: {{image: 'x:1', restart: {restart}}}\n"
        )
    };
    check(
        &job("always"),
        "compose.yaml:2:34 [never-completes] service `a` waits until `j` has completed, but that is started again whenever it ends\n",
    );
    check(&job("on-failure"), "");
}

#[test]
fn files_that_are_not_there() {
    check(
        "services: {a: {image: 'x:1', volumes: ['./nginx.conf:/etc/nginx/nginx.conf', './data:/data']}}\nsecrets: {s: {file: no}}\n",
        "compose.yaml:1:40 [missing-file] /shop/nginx.conf does not exist: an empty directory will be mounted at /etc/nginx/nginx.conf\n\
         compose.yaml:2:11 [unused] no service uses the secret `s`\n\
         compose.yaml:2:21 [missing-file] /shop/no does not exist, so secret `s` has no content\n",
    );
    check(
        "=== compose.yaml\nservices: {a: {image: 'x:1', volumes: ['./nginx.conf:/etc/nginx/nginx.conf']}}\n=== nginx.conf\n",
        "",
    );
}

#[test]
fn data_that_is_lost() {
    let service = |rest: &str| {
        format!("services: {{db: {{image: 'postgres:16', {rest}}}}}\nvolumes: {{data: }}")
    };
    check(
        &service("volumes: [/var/lib/postgresql/data, 'data:/x']"),
        "compose.yaml:1:49 [anonymous-database-volume] the data of database `db` is in a volume without a name: `down` and `up` begin with an empty one\n",
    );
    check(&service("volumes: ['data:/var/lib/postgresql/data']"), "");
    check_pedantic(
        "services: {db: {image: 'postgres:16', mem_limit: 1g, restart: always}}",
        "compose.yaml:1:12 [database-without-volume] the data of database `db` is in no volume: it goes with the container\n",
    );
    check_pedantic(
        "services: {db: {image: 'postgres:16', mem_limit: 1g, restart: always, tmpfs: /var/lib/postgresql/data}}",
        "",
    );
}

#[test]
fn what_nobody_uses() {
    check(
        "services: {a: {image: 'x:1', profiles: [p], networks: [n]}, b: {image: 'x:1'}}\nnetworks: {n: , m: , default: }\nvolumes: {v: }\n",
        "compose.yaml:2:17 [unused] no service uses the network `m`\n\
         compose.yaml:3:11 [unused] no service uses the volume `v`\n",
    );
    // A misspelt key may be the reason.
    check(
        "services: {a: {image: 'x:1', netwoks: [n]}}\nnetworks: {n: }\n",
        "compose.yaml:1:30 [unknown-key] unknown key `netwoks` in service `a`\n",
    );
}

#[test]
fn addresses_that_lead_elsewhere() {
    let app = |url: &str| {
        format!(
            "services:\n  a:\n    image: x:1\n    environment: {{URL: '{url}'}}\n  db: {{image: 'postgres:16', ports: ['127.0.0.1:15432:5432']}}\n"
        )
    };
    check(
        &app("postgres://localhost/x"),
        "compose.yaml:4:24 [localhost-address] `localhost` in a container of `a` is that container itself, not service `db`\n",
    );
    check(
        &app("postgresql+asyncpg://u@127.0.0.1:15432/x"),
        "compose.yaml:4:24 [localhost-address] `127.0.0.1` in a container of `a` is that container itself, not service `db`\n",
    );
    check(
        &app("postgres://db:15432/x"),
        "compose.yaml:4:24 [published-port-inside] 15432 is the port of `db` on the host; between services it is 5432\n",
    );
    for right in [
        "postgres://db/x",
        "postgres://db:5432/x",
        "http://localhost:15432",
        "redis://localhost",
    ] {
        check(&app(right), "");
    }
}

#[test]
fn a_service_on_another_network() {
    let files = |networks: &str| {
        format!(
            "services:\n  a: {{image: 'x:1', networks: [f], environment: ['U=http://b/x']}}\n  b: {{image: 'x:1', networks: {networks}}}\nnetworks: {{f: , g: }}\n"
        )
    };
    check(
        &files("[g]"),
        "compose.yaml:2:50 [unreachable-service] service `a` cannot reach `b`: they share no network\n",
    );
    check(&files("[f, g]"), "");
}

#[test]
fn the_pedantic_ones_must_be_asked_for() {
    let text = "services:\n  a: {image: 'x:1', ports: [22:22], links: [b]}\n  b: {image: 'x:1', mem_limit: 1g, restart: always}\n";
    check(text, "");
    check_pedantic(
        text,
        "compose.yaml:2:3 [no-memory-limit] service `a` may use all the memory of the host\n\
         compose.yaml:2:3 [no-restart-policy] service `a` stays down when it has ended\n\
         compose.yaml:2:29 [base-60-port] `22:22` is a single number for tools that read YAML 1.1\n\
         compose.yaml:2:37 [links] service `a` uses `links`, which are a thing of the past\n",
    );
}

#[test]
fn a_comment_silences_its_line_and_the_next() {
    let service = |above: &str, beside: &str| {
        format!("services:\n  a:\n    image: x:1\n{above}    privileged: true {beside}\n")
    };
    check(&service("", "# wharfie:allow privileged"), "");
    check(&service("    # wharfie:allow privileged\n", ""), "");
    check(
        &service(
            "    # wharfie:allow links, privileged because of the GPU\n    # and more\n",
            "",
        ),
        "",
    );
    let found = "compose.yaml:5:17 [privileged] service `a` is privileged: its processes are root on the host\n";
    check(&service("    # wharfie:allow unused\n", ""), found);
    check(
        &service("    # wharfie:allow privilegd\n", ""),
        &format!("compose.yaml:4:21 [unknown-rule] there is no rule `privilegd` to allow\n{found}"),
    );
}

#[test]
fn x_wharfie_silences_what_it_stands_in() {
    let service = |name: &str, extra: &str| format!("  {name}: {{image: nginx, {extra}}}\n");
    let allow = "x-wharfie: {allow: [unpinned-image]}";
    let found = "[unpinned-image] image `nginx` has no tag, which means `latest`\n";
    check(
        &format!("services:\n{}{}", service("a", allow), service("b", "")),
        &format!("compose.yaml:3:14 {found}"),
    );
    check(&format!("{allow}\nservices:\n{}", service("a", "")), "");
    // One that comes out of an anchor, or from another file.
    check(
        &format!("x-c: &c {{{allow}}}\nservices:\n{}", service("a", "<<: *c")),
        "",
    );
    check(
        &format!(
            "=== compose.yaml\nservices:\n{}=== compose.2.yaml\nservices: {{a: {{{allow}}}}}",
            service("a", "")
        ),
        "",
    );
    check(
        "x-wharfie: {allow: nonsense}\nservices: {a: {image: 'x:1'}}",
        "compose.yaml:1:20 [unknown-rule] there is no rule `nonsense` to allow\n",
    );
}

#[test]
fn loading_heeds_the_silence_too() {
    let project =
        Case::new("# wharfie:allow obsolete-version\nversion: '3'\nservices: {a: {image: x}}")
            .project();
    assert_eq!(titles(&project.warnings), "");
}

#[test]
fn flags_choose_the_rules() {
    let text = "services: {a: {image: nginx, privileged: true}}";
    let mut lints = Lints::for_check();
    lints.allow("unpinned-image").unwrap();
    lints.deny("warnings").unwrap();
    check_with(
        &lints,
        text,
        "compose.yaml:1:42 [privileged] service `a` is privileged: its processes are root on the host\n",
    );
    assert!(lints.denies(Rule::Privileged));
    assert!(!lints.wants(Rule::UnpinnedImage));
    assert_eq!(
        lints.warn("privilged").unwrap_err().meant,
        Some(Rule::Privileged)
    );
}

#[test]
fn every_rule_has_a_page_with_its_name_and_a_summary() {
    for rule in Rule::ALL {
        let page = rule.page();
        assert!(
            page.starts_with(&format!("# {}\n\n", rule.name())),
            "{page}"
        );
        assert!(rule.summary().ends_with('.'), "{}", rule.name());
        assert!(rule.summary().len() <= 100, "{}", rule.name());
    }
}

#[test]
fn editors_get_json() {
    let case = Case::new(
        "services:\n  ä: {image: 'x:1', tty: true, tyt: true}\n  b: {image: 'x:1', container_name: ab}\n  c: {image: 'x:1', container_name: ab}\n",
    );
    let found = check_files(&case.options, &case.disk, &Lints::for_check());
    insta::assert_snapshot!(to_json(&found).unwrap(), @r#"
    [
      {
        "file": "/shop/compose.yaml",
        "range": {
          "start": {
            "line": 2,
            "column": 3
          },
          "end": {
            "line": 2,
            "column": 4
          }
        },
        "severity": "error",
        "code": "invalid",
        "message": "`ä` cannot be the name of a service",
        "hint": "use letters, digits, `.`, `_` and `-`",
        "fix": null,
        "related": []
      },
      {
        "file": "/shop/compose.yaml",
        "range": {
          "start": {
            "line": 2,
            "column": 32
          },
          "end": {
            "line": 2,
            "column": 35
          }
        },
        "severity": "error",
        "code": "unknown-key",
        "message": "unknown key `tyt` in service `ä`",
        "hint": "did you mean `tty`?",
        "fix": "tty",
        "related": []
      },
      {
        "file": "/shop/compose.yaml",
        "range": {
          "start": {
            "line": 4,
            "column": 37
          },
          "end": {
            "line": 4,
            "column": 39
          }
        },
        "severity": "error",
        "code": "conflict",
        "message": "two services have the `container_name` `ab`",
        "hint": null,
        "fix": null,
        "related": [
          {
            "file": "/shop/compose.yaml",
            "range": {
              "start": {
                "line": 3,
                "column": 37
              },
              "end": {
                "line": 3,
                "column": 39
              }
            },
            "message": "the first one"
          }
        ]
      }
    ]
    "#);
}
