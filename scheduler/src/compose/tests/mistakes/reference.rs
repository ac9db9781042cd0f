//! Mistakes in what belongs together: names of nothing, contradictions, circles.

use insta::assert_snapshot;

use super::shown;

#[test]
fn services_depend_on_services() {
    assert_snapshot!(shown("services:\n  web: {image: nginx, depends_on: [bd]}\n  db: {image: postgres}\n"), @"
    error: service `web` depends on `bd`, which does not exist
     --> compose.yaml:2:36
      |
    2 |   web: {image: nginx, depends_on: [bd]}
      |                                    ^^
      |
    help: did you mean `db`?
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, depends_on: [cache]}\n"), @"
    error: service `web` depends on `cache`, which does not exist
     --> compose.yaml:2:36
      |
    2 |   web: {image: nginx, depends_on: [cache]}
      |                                    ^^^^^
      |
    help: there is no other service in the project
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    depends_on: db\n  db: {image: postgres}\n"), @"
    error: `depends_on` of service `web` must be a list of names or a mapping, not a string
     --> compose.yaml:4:17
      |
    4 |     depends_on: db
      |                 ^^
      |
    help: a list of one is written `[db]`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: nginx\n    depends_on: {db: {condition: healthy}}\n  db: {image: postgres}\n"), @"
    error: `depends_on.db.condition` of service `web` cannot be `healthy`
     --> compose.yaml:4:34
      |
    4 |     depends_on: {db: {condition: healthy}}
      |                                  ^^^^^^^
      |
    help: did you mean `service_healthy`?
    ");
    assert_snapshot!(shown("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n"), @"
    error: services depend on each other: `a` → `b` → `a`
     --> compose.yaml:3:30
      |
    3 |   b: {image: x, depends_on: [a]}
      |                              ^
      |
    help: one of them must be able to start first
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: postgres, profiles: [storage]}\n"), @"
    error: service `web` depends on `db`, which is not active
     --> compose.yaml:2:36
      |
    2 |   web: {image: nginx, depends_on: [db]}
      |                                    ^^
      |
    help: activate it with `--profile storage`, or write `required: false`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, depends_on: {db: {condition: service_healthy}}}\n  db: {image: x, healthcheck: {disable: true}}\n"), @"
    error: service `web` waits until `db` is healthy, but its check is disabled
     --> compose.yaml:2:36
      |
    2 |   web: {image: nginx, depends_on: {db: {condition: service_healthy}}}
      |                                    ^^
    3 |   db: {image: x, healthcheck: {disable: true}}
      |                               --------------- disabled here
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, links: [\"db:d\"]}\n"), @r#"
    error: service `web` depends on `db`, which does not exist
     --> compose.yaml:2:31
      |
    2 |   web: {image: nginx, links: ["db:d"]}
      |                               ^^^^^^
      |
    help: there is no other service in the project
    "#);
}

#[test]
fn networks_are_declared() {
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: [frnt]}\nnetworks: {front: }\n"), @"
    error: service `web` uses the network `frnt`, which is not declared
     --> compose.yaml:2:34
      |
    2 |   web: {image: nginx, networks: [frnt]}
      |                                  ^^^^
      |
    help: did you mean `front`?
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: [front]}\n"), @"
    error: service `web` uses the network `front`, which is not declared
     --> compose.yaml:2:34
      |
    2 |   web: {image: nginx, networks: [front]}
      |                                  ^^^^^
      |
    help: declare it under the top-level `networks:`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: [front], network_mode: host}\nnetworks: {front: }\n"), @"
    error: service `web` has both `network_mode` and `networks`
     --> compose.yaml:2:56
      |
    2 |   web: {image: nginx, networks: [front], network_mode: host}
      |                       -------- `networks` stands here  ^^^^
      |
    help: remove one of them
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, network_mode: bridged}\n"), @"
    error: the network mode `bridged` is not supported
     --> compose.yaml:2:37
      |
    2 |   web: {image: nginx, network_mode: bridged}
      |                                     ^^^^^^^
      |
    help: write `host`, `none`, `bridge`, `service:NAME` or `container:NAME`, or use `networks`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, network_mode: \"service:db\"}\n"), @r#"
    error: service `web` depends on `db`, which does not exist
     --> compose.yaml:2:37
      |
    2 |   web: {image: nginx, network_mode: "service:db"}
      |                                     ^^^^^^^^^^^^
      |
    help: there is no other service in the project
    "#);
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: {default: {ipv4_address: 10.0.0.5}}}\n"), @"
    error: a fixed address needs a subnet, and network `default` has none
     --> compose.yaml:2:58
      |
    2 |   web: {image: nginx, networks: {default: {ipv4_address: 10.0.0.5}}}
      |                                                          ^^^^^^^^
      |
    help: declare one: `networks: {default: {ipam: {config: [{subnet: 10.5.0.0/24}]}}}`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: {n: {ipv4_address: 10.1.0.5}}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n"), @"
    error: 10.1.0.5 lies outside of the subnet of network `n`
     --> compose.yaml:2:52
      |
    2 |   web: {image: nginx, networks: {n: {ipv4_address: 10.1.0.5}}}
      |                                                    ^^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: [n]}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0}]}}}\n"), @"
    error: `10.0.0.0` is not an IPv4 subnet such as `10.5.0.0/24`
     --> compose.yaml:3:41
      |
    3 | networks: {n: {ipam: {config: [{subnet: 10.0.0.0}]}}}
      |                                         ^^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, networks: [n]}\nnetworks: {n: {driver: macvlan}}\n"), @"
    error: `macvlan` as `driver` of network `n` is not supported yet
     --> compose.yaml:3:24
      |
    3 | networks: {n: {driver: macvlan}}
      |                        ^^^^^^^
      |
    help: write one of `bridge`, `overlay`, `default`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, network_mode: \"service:db\", ports: [80]}\n  db: {image: x}\n"), @r#"
    error: service `web` publishes ports but has no network of its own
     --> compose.yaml:2:58
      |
    2 |   web: {image: nginx, network_mode: "service:db", ports: [80]}
      |                                                          ^^^^
      |
    help: publish them where the network is, `service:db`
    "#);
}

#[test]
fn volumes_secrets_and_configs_are_declared() {
    assert_snapshot!(shown("services:\n  web: {image: nginx, volumes: [\"dta:/x\"]}\nvolumes: {data: }\n"), @r#"
    error: service `web` uses the volume `dta`, which is not declared
     --> compose.yaml:2:33
      |
    2 |   web: {image: nginx, volumes: ["dta:/x"]}
      |                                 ^^^^^^^^
      |
    help: did you mean `data`?
    "#);
    assert_snapshot!(shown("services:\n  web: {image: nginx, secrets: [token]}\n"), @"
    error: service `web` uses the secret `token`, which is not declared
     --> compose.yaml:2:33
      |
    2 |   web: {image: nginx, secrets: [token]}
      |                                 ^^^^^
      |
    help: declare it under the top-level `secrets:`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, secrets: [token]}\nsecrets: {token: }\n"), @"
    error: secret `token` has no source
     --> compose.yaml:3:11
      |
    3 | secrets: {token: }
      |           ^^^^^
      |
    help: give one of `file` or `environment`, or `external: true`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, secrets: [token]}\nsecrets: {token: {file: a, environment: B}}\n"), @"
    error: secret `token` has more than one source
     --> compose.yaml:3:11
      |
    3 | secrets: {token: {file: a, environment: B}}
      |           ^^^^^
      |
    help: give one of `file` or `environment`, or `external: true`

    error: secret `token`: a cannot be read: no such file
     --> compose.yaml:3:25
      |
    3 | secrets: {token: {file: a, environment: B}}
      |                         ^
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, volumes: [\"v:/x\"]}\nvolumes: {v: {external: true, driver: local}}\n"), @"
    error: volume `v` is external, so `driver` cannot be given
     --> compose.yaml:3:31
      |
    3 | volumes: {v: {external: true, driver: local}}
      |                               ^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, secrets: [token]}\nsecrets: {token: {environment: NOT_SET}}\n"), @"
    error: secret `token`: the variable `NOT_SET` is not set
     --> compose.yaml:3:32
      |
    3 | secrets: {token: {environment: NOT_SET}}
      |                                ^^^^^^^
      |
    help: set `NOT_SET` in the environment or in `.env`
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, secrets: [token]}\nsecrets: {token: {file: ./nothing}}\n"), @"
    error: secret `token`: nothing cannot be read: no such file
     --> compose.yaml:3:25
      |
    3 | secrets: {token: {file: ./nothing}}
      |                         ^^^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web: {image: nginx, configs: [{source: c, mode: rw}]}\nconfigs: {c: {content: x}}\n"), @"
    error: `configs[0].mode` of service `web`: `rw` is not a file mode
     --> compose.yaml:2:51
      |
    2 |   web: {image: nginx, configs: [{source: c, mode: rw}]}
      |                                                   ^^
      |
    help: write for example `0440`
    ");
}

#[test]
fn two_cannot_have_the_same() {
    assert_snapshot!(shown("services:\n  a: {image: x, container_name: one}\n  b: {image: x, container_name: one}\n"), @"
    error: two services have the `container_name` `one`
     --> compose.yaml:3:33
      |
    2 |   a: {image: x, container_name: one}
      |                                 --- the first one
    3 |   b: {image: x, container_name: one}
      |                                 ^^^
    ");
    assert_snapshot!(shown("services:\n  a: {image: x, ports: [\"80:80\"]}\n  b: {image: x, ports: [\"127.0.0.1:80:8080\"]}\n"), @r#"
    error: services `a` and `b` publish the same port 80/tcp
     --> compose.yaml:3:25
      |
    2 |   a: {image: x, ports: ["80:80"]}
      |                         ------- `a` publishes it here
    3 |   b: {image: x, ports: ["127.0.0.1:80:8080"]}
      |                         ^^^^^^^^^^^^^^^^^^^
      |
    help: publish one of them on another port of the host
    "#);
}
