//! Mistakes in a service.

use insta::assert_snapshot;

use super::{shown, web};

#[test]
fn keys_are_spelt_as_they_are() {
    assert_snapshot!(web("enviroment: [A=1]"), @"
    error: unknown key `enviroment` in service `web`
     --> compose.yaml:4:5
      |
    4 |     enviroment: [A=1]
      |     ^^^^^^^^^^
      |
    help: did you mean `environment`?
    ");
    assert_snapshot!(web("depend_on: [db]"), @"
    error: unknown key `depend_on` in service `web`
     --> compose.yaml:4:5
      |
    4 |     depend_on: [db]
      |     ^^^^^^^^^
      |
    help: did you mean `depends_on`?
    ");
    assert_snapshot!(web("port: [80]"), @"
    error: unknown key `port` in service `web`
     --> compose.yaml:4:5
      |
    4 |     port: [80]
      |     ^^^^
      |
    help: did you mean `ports`?
    ");
    assert_snapshot!(web("health_check: {test: true}"), @"
    error: unknown key `health_check` in service `web`
     --> compose.yaml:4:5
      |
    4 |     health_check: {test: true}
      |     ^^^^^^^^^^^^
      |
    help: did you mean `healthcheck`?
    ");
    assert_snapshot!(web("restart_policy: always"), @"
    error: unknown key `restart_policy` in service `web`
     --> compose.yaml:4:5
      |
    4 |     restart_policy: always
      |     ^^^^^^^^^^^^^^
      |
    help: `restart_policy` stands under `deploy`
    ");
    assert_snapshot!(web("replicas: 2"), @"
    error: unknown key `replicas` in service `web`
     --> compose.yaml:4:5
      |
    4 |     replicas: 2
      |     ^^^^^^^^
      |
    help: `replicas` stands under `deploy`
    ");
    assert_snapshot!(web("healthcheck: {tests: true}"), @"
    error: unknown key `tests` in `healthcheck` of service `web`
     --> compose.yaml:4:19
      |
    4 |     healthcheck: {tests: true}
      |                   ^^^^^
      |
    help: did you mean `test`?
    ");
    assert_snapshot!(web("deploy: {resource: {}}"), @"
    error: unknown key `resource` in `deploy` of service `web`
     --> compose.yaml:4:14
      |
    4 |     deploy: {resource: {}}
      |              ^^^^^^^^
      |
    help: did you mean `resources`?
    ");
    assert_snapshot!(web("bananas: 3"), @"
    error: unknown key `bananas` in service `web`
     --> compose.yaml:4:5
      |
    4 |     bananas: 3
      |     ^^^^^^^
    ");
}

#[test]
fn an_image_is_needed() {
    assert_snapshot!(shown("services:\n  web:\n    tty: true\n"), @"
    error: service `web` has no image
     --> compose.yaml:2:3
      |
    2 |   web:
      |   ^^^
      |
    help: add `image: NAME`
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: [nginx]\n"), @"
    error: `image` of service `web` must be a string, not a list
     --> compose.yaml:3:12
      |
    3 |     image: [nginx]
      |            ^^^^^^^
    ");
    assert_snapshot!(shown("services:\n  web:\n    image: \"\"\n"), @"
    error: service `web` has no image
     --> compose.yaml:2:3
      |
    2 |   web:
      |   ^^^
      |
    help: add `image: NAME`
    ");
    assert_snapshot!(web("dockerfile: Dockerfile"), @"
    error: unknown key `dockerfile` in service `web`
     --> compose.yaml:4:5
      |
    4 |     dockerfile: Dockerfile
      |     ^^^^^^^^^^
      |
    help: `dockerfile` stands under `build`
    ");
}

#[test]
fn words_have_their_kinds() {
    assert_snapshot!(web("tty: perhaps"), @"
    error: `tty` of service `web` must be true or false, not `perhaps`
     --> compose.yaml:4:10
      |
    4 |     tty: perhaps
      |          ^^^^^^^
    ");
    assert_snapshot!(web("command: {run: x}"), @"
    error: `command` of service `web` must be a list, not a mapping
     --> compose.yaml:4:14
      |
    4 |     command: {run: x}
      |              ^^^^^^^^
    ");
    assert_snapshot!(web("command: \"sh -c 'a\""), @r#"
    error: `command` of service `web` has a quote that is never closed
     --> compose.yaml:4:14
      |
    4 |     command: "sh -c 'a"
      |              ^^^^^^^^^^
    "#);
    assert_snapshot!(web("init: 2"), @"
    error: `init` of service `web` must be true or false, not `2`
     --> compose.yaml:4:11
      |
    4 |     init: 2
      |           ^
    ");
    assert_snapshot!(web("stop_grace_period: 10"), @"
    error: `stop_grace_period` of service `web`: `10` is not a duration
     --> compose.yaml:4:24
      |
    4 |     stop_grace_period: 10
      |                        ^^
      |
    help: a duration has a unit: `10s` is that many seconds
    ");
    assert_snapshot!(web("stop_grace_period: 5 minutes"), @"
    error: `stop_grace_period` of service `web`: `5 minutes` is not a duration
     --> compose.yaml:4:24
      |
    4 |     stop_grace_period: 5 minutes
      |                        ^^^^^^^^^
      |
    help: write for example `30s` or `1m30s`
    ");
    assert_snapshot!(web("mem_limit: 64q"), @"
    error: `mem_limit` of service `web`: `64q` is not a size
     --> compose.yaml:4:16
      |
    4 |     mem_limit: 64q
      |                ^^^
      |
    help: write for example `64m` or `1.5g`
    ");
    assert_snapshot!(web("mem_limit: 1,5g"), @"
    error: `mem_limit` of service `web`: `1,5g` is not a size
     --> compose.yaml:4:16
      |
    4 |     mem_limit: 1,5g
      |                ^^^^
      |
    help: write the fraction with a dot: `1.5g`
    ");
    assert_snapshot!(web("cpus: half"), @"
    error: `cpus` of service `web` must be a number, not `half`
     --> compose.yaml:4:11
      |
    4 |     cpus: half
      |           ^^^^
    ");
    assert_snapshot!(web("pids_limit: 1.5"), @"
    error: `pids_limit` of service `web` must be a whole number, not `1.5`
     --> compose.yaml:4:17
      |
    4 |     pids_limit: 1.5
      |                 ^^^
    ");
    assert_snapshot!(web("restart: sometimes"), @r#"
    error: `restart` cannot be `sometimes`
     --> compose.yaml:4:14
      |
    4 |     restart: sometimes
      |              ^^^^^^^^^
      |
    help: write `"no"`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`
    "#);
    assert_snapshot!(web("restart: on-failure:often"), @r#"
    error: `restart` cannot be `on-failure:often`
     --> compose.yaml:4:14
      |
    4 |     restart: on-failure:often
      |              ^^^^^^^^^^^^^^^^
      |
    help: write `"no"`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`
    "#);
    assert_snapshot!(web("restart: on_failure"), @"
    error: `restart` cannot be `on_failure`
     --> compose.yaml:4:14
      |
    4 |     restart: on_failure
      |              ^^^^^^^^^^
      |
    help: did you mean `on-failure`?
    ");
    assert_snapshot!(web("stop_signal: SIGFOO"), @"
    error: `SIGFOO` is not a signal
     --> compose.yaml:4:18
      |
    4 |     stop_signal: SIGFOO
      |                  ^^^^^^
      |
    help: write a name such as `SIGTERM`, or a number up to 64
    ");
    assert_snapshot!(web("user: [a]"), @"
    error: `user` of service `web` must be a string, not a list
     --> compose.yaml:4:11
      |
    4 |     user: [a]
      |           ^^^
    ");
    assert_snapshot!(web("pull_policy: allways"), @"
    error: `pull_policy` cannot be `allways`
     --> compose.yaml:4:18
      |
    4 |     pull_policy: allways
      |                  ^^^^^^^
      |
    help: did you mean `always`?
    ");
    assert_snapshot!(web("labels: [=x]"), @"
    error: `=x` has no name before `=`
     --> compose.yaml:4:14
      |
    4 |     labels: [=x]
      |              ^^
    ");
    assert_snapshot!(web("labels: text"), @"
    error: `labels` of service `web` must be a mapping or a list of `KEY=VALUE`, not a string
     --> compose.yaml:4:13
      |
    4 |     labels: text
      |             ^^^^
      |
    help: a list of one is written `[text]`
    ");
}

#[test]
fn variables_of_the_container() {
    assert_snapshot!(web("environment: A=1"), @"
    error: `environment` of service `web` must be a mapping or a list of `KEY=VALUE`, not a string
     --> compose.yaml:4:18
      |
    4 |     environment: A=1
      |                  ^^^
      |
    help: a list of one is written `[A=1]`
    ");
    assert_snapshot!(web("environment:\n      - A: 1"), @"
    error: `environment` of service `web` must be a list of `KEY=VALUE`, not a mapping
     --> compose.yaml:5:9
      |
    5 |       - A: 1
      |         ^^^^
      |
    help: write `- A=1`, or `A: 1` without the `-`
    ");
    assert_snapshot!(web("environment: {A: [1]}"), @"
    error: `environment.A` of service `web` must be a string, not a list
     --> compose.yaml:4:22
      |
    4 |     environment: {A: [1]}
      |                      ^^^
    ");
    assert_snapshot!(web("environment:\n      - "), @"
    error: `environment` of service `web` must be a list of `KEY=VALUE`, not empty
     --> compose.yaml:5:9
      |
    5 |       - 
      |         ^
    ");
}

#[test]
fn ports() {
    assert_snapshot!(web("ports: 80:80"), @r#"
    error: `ports` of service `web` must be a list, not a string
     --> compose.yaml:4:12
      |
    4 |     ports: 80:80
      |            ^^^^^
      |
    help: a list of one is written `["80:80"]`
    "#);
    assert_snapshot!(web("ports: [\"80:99999\"]"), @r#"
    error: `ports` of service `web`: `80:99999` is not a port: `99999` is not a number from 1 to 65535
     --> compose.yaml:4:13
      |
    4 |     ports: ["80:99999"]
      |             ^^^^^^^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(web("ports: [http]"), @"
    error: `ports` of service `web`: `http` is not a port: `http` is not a number from 1 to 65535
     --> compose.yaml:4:13
      |
    4 |     ports: [http]
      |             ^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    ");
    assert_snapshot!(web("ports: [\"80:80:80:80\"]"), @r#"
    error: `ports` of service `web`: `80:80:80:80` is not a port: there are too many colons
     --> compose.yaml:4:13
      |
    4 |     ports: ["80:80:80:80"]
      |             ^^^^^^^^^^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(web("ports: [\"localhost:80:80\"]"), @r#"
    error: `ports` of service `web`: `localhost:80:80` is not a port: `localhost` is not an IP address
     --> compose.yaml:4:13
      |
    4 |     ports: ["localhost:80:80"]
      |             ^^^^^^^^^^^^^^^^^
      |
    help: write the address: `127.0.0.1:80:80`
    "#);
    assert_snapshot!(web("ports: [\"8000-8001:80-82\"]"), @r#"
    error: `ports` of service `web`: `8000-8001:80-82` is not a port: 2 ports cannot stand for 3
     --> compose.yaml:4:13
      |
    4 |     ports: ["8000-8001:80-82"]
      |             ^^^^^^^^^^^^^^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(web("ports: [\"82-80:80\"]"), @r#"
    error: `ports` of service `web`: `82-80:80` is not a port: the range `82-80` runs backwards
     --> compose.yaml:4:13
      |
    4 |     ports: ["82-80:80"]
      |             ^^^^^^^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(web("ports: [\"80:80/http\"]"), @r#"
    error: `ports` of service `web`: `80:80/http` is not a port: `http` is not a protocol; there are `tcp` and `udp`
     --> compose.yaml:4:13
      |
    4 |     ports: ["80:80/http"]
      |             ^^^^^^^^^^^^
      |
    help: write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`
    "#);
    assert_snapshot!(web("ports: [{published: 80}]"), @"
    error: a port needs a `target` from 1 to 65535
     --> compose.yaml:4:13
      |
    4 |     ports: [{published: 80}]
      |             ^^^^^^^^^^^^^^^
    ");
    assert_snapshot!(web("ports: [{target: http}]"), @"
    error: `ports[0].target` of service `web` must be a whole number from 1, not `http`
     --> compose.yaml:4:22
      |
    4 |     ports: [{target: http}]
      |                      ^^^^
    ");
    assert_snapshot!(web("ports: [\"80 : 80\"]"), @r#"
    error: `ports` of service `web`: `80 : 80` is not a port: ` 80` is not a number from 1 to 65535
     --> compose.yaml:4:13
      |
    4 |     ports: ["80 : 80"]
      |             ^^^^^^^^^
      |
    help: write it without spaces: `80:80`
    "#);
}

#[test]
fn volumes() {
    assert_snapshot!(web("volumes: [\"data:rel\"]"), @r#"
    error: `volumes[0]` of service `web`: the target `rel` is not an absolute path
     --> compose.yaml:4:15
      |
    4 |     volumes: ["data:rel"]
      |               ^^^^^^^^^^

    error: service `web` uses the volume `data`, which is not declared
     --> compose.yaml:4:15
      |
    4 |     volumes: ["data:rel"]
      |               ^^^^^^^^^^
      |
    help: declare it under the top-level `volumes:`
    "#);
    assert_snapshot!(web("volumes: [\"./a:/b:ro:x\"]"), @r#"
    error: `volumes[0]` of service `web`: `./a:/b:ro:x` is not a volume: there are too many colons
     --> compose.yaml:4:15
      |
    4 |     volumes: ["./a:/b:ro:x"]
      |               ^^^^^^^^^^^^^
      |
    help: write `SOURCE:TARGET` or `SOURCE:TARGET:ro`
    "#);
    assert_snapshot!(web("volumes: [\":/x\"]"), @r#"
    error: `volumes[0]` of service `web`: `:/x` is not a volume: the source is missing
     --> compose.yaml:4:15
      |
    4 |     volumes: [":/x"]
      |               ^^^^^
      |
    help: write `SOURCE:TARGET` or `SOURCE:TARGET:ro`
    "#);
    assert_snapshot!(web("volumes: [{type: bind, target: /x}]"), @"
    error: `volumes[0]` of service `web` has no `source`
     --> compose.yaml:4:15
      |
    4 |     volumes: [{type: bind, target: /x}]
      |               ^^^^^^^^^^^^^^^^^^^^^^^^
    ");
    assert_snapshot!(web("volumes: [{source: a, target: /x}]"), @"
    error: `volumes[0]` of service `web` has no `type`
     --> compose.yaml:4:15
      |
    4 |     volumes: [{source: a, target: /x}]
      |               ^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: write `type: volume`, `type: bind` or `type: tmpfs`
    ");
    assert_snapshot!(web("volumes: [{type: volume, source: a}]"), @"
    error: `volumes[0]` of service `web` has no `target`
     --> compose.yaml:4:15
      |
    4 |     volumes: [{type: volume, source: a}]
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^

    error: service `web` uses the volume `a`, which is not declared
     --> compose.yaml:4:38
      |
    4 |     volumes: [{type: volume, source: a}]
      |                                      ^
      |
    help: declare it under the top-level `volumes:`
    ");
    assert_snapshot!(web("volumes: [data/x:/x]"), @"
    error: service `web` uses the volume `data/x`, which is not declared
     --> compose.yaml:4:15
      |
    4 |     volumes: [data/x:/x]
      |               ^^^^^^^^^
      |
    help: a path begins with `./`, `/` or `~`: write `./data/x` for a directory of the host
    ");
    assert_snapshot!(web("volumes: /x"), @"
    error: `volumes` of service `web` must be a list, not a string
     --> compose.yaml:4:14
      |
    4 |     volumes: /x
      |              ^^
      |
    help: a list of one is written `[/x]`
    ");
    assert_snapshot!(web("volumes: [\"a:/x\"]"), @r#"
    error: service `web` uses the volume `a`, which is not declared
     --> compose.yaml:4:15
      |
    4 |     volumes: ["a:/x"]
      |               ^^^^^^
      |
    help: declare it under the top-level `volumes:`
    "#);
    assert_snapshot!(web("volumes: [/x]\n    tmpfs: [/x]"), @"
    error: a volume and a tmpfs of service `web` are mounted at /x
     --> compose.yaml:5:13
      |
    4 |     volumes: [/x]
      |               -- the volume
    5 |     tmpfs: [/x]
      |             ^^
    ");
    assert_snapshot!(web("volumes: [{type: folder, target: /x}]"), @"
    error: `volumes[0].type` of service `web` cannot be `folder`
     --> compose.yaml:4:22
      |
    4 |     volumes: [{type: folder, target: /x}]
      |                      ^^^^^^
      |
    help: write one of `volume`, `bind`, `tmpfs`, `image`
    ");
}

#[test]
fn health_checks() {
    assert_snapshot!(web("healthcheck: {test: [curl, localhost]}"), @"
    error: `healthcheck.test` of service `web` must begin with `CMD`, `CMD-SHELL` or `NONE`
     --> compose.yaml:4:26
      |
    4 |     healthcheck: {test: [curl, localhost]}
      |                          ^^^^
      |
    help: `CMD` runs the words that follow; a plain string is run by a shell
    ");
    assert_snapshot!(web("healthcheck: {test: \"true\", interval: 5}"), @r#"
    error: `healthcheck.interval` of service `web`: `5` is not a duration
     --> compose.yaml:4:43
      |
    4 |     healthcheck: {test: "true", interval: 5}
      |                                           ^
      |
    help: a duration has a unit: `5s` is that many seconds
    "#);
    assert_snapshot!(web("healthcheck: curl localhost"), @"
    error: `healthcheck` of service `web` must be a mapping, not a string
     --> compose.yaml:4:18
      |
    4 |     healthcheck: curl localhost
      |                  ^^^^^^^^^^^^^^
      |
    help: write `healthcheck: {test: curl localhost}`
    ");
    assert_snapshot!(web("healthcheck: {test: \"true\", retries: -1}"), @r#"
    error: `healthcheck.retries` of service `web` must be a whole number from 0, not `-1`
     --> compose.yaml:4:42
      |
    4 |     healthcheck: {test: "true", retries: -1}
      |                                          ^^
    "#);
}

#[test]
fn names_and_addresses() {
    assert_snapshot!(web("container_name: -x"), @"
    error: `-x` cannot be the name of a container
     --> compose.yaml:4:21
      |
    4 |     container_name: -x
      |                     ^^
      |
    help: use letters, digits, `_`, `.` and `-`, at least two, a letter or digit first
    ");
    assert_snapshot!(web("dns: [dns.example.org]"), @"
    error: `dns.example.org` is not an IP address
     --> compose.yaml:4:11
      |
    4 |     dns: [dns.example.org]
      |           ^^^^^^^^^^^^^^^
    ");
    assert_snapshot!(web("extra_hosts: [db]"), @"
    error: `extra_hosts` of service `web`: `db` has no address
     --> compose.yaml:4:19
      |
    4 |     extra_hosts: [db]
      |                   ^^
      |
    help: write `HOST=ADDRESS`
    ");
    assert_snapshot!(web("extra_hosts: [\"db=nowhere\"]"), @r#"
    error: `nowhere` is not an IP address
     --> compose.yaml:4:19
      |
    4 |     extra_hosts: ["db=nowhere"]
      |                   ^^^^^^^^^^^^
      |
    help: write an address, or `host-gateway` for the host
    "#);
    assert_snapshot!(web("hostname: [a]"), @"
    error: `hostname` of service `web` must be a string, not a list
     --> compose.yaml:4:15
      |
    4 |     hostname: [a]
      |               ^^^
    ");
    assert_snapshot!(web("cap_add: [NET_ADMN]"), @"
    error: `NET_ADMN` is not a capability
     --> compose.yaml:4:15
      |
    4 |     cap_add: [NET_ADMN]
      |               ^^^^^^^^
      |
    help: did you mean `NET_ADMIN`?
    ");
    assert_snapshot!(web("security_opt: [nonsense]"), @"
    error: `nonsense` is not a security option
     --> compose.yaml:4:20
      |
    4 |     security_opt: [nonsense]
      |                    ^^^^^^^^
      |
    help: there are `no-new-privileges`, `seccomp=…`, `apparmor=…` and `systempaths=unconfined`
    ");
    assert_snapshot!(web("devices: [\"/dev/a:/dev/b:xyz\"]"), @r#"
    error: `xyz` are no rights to a device
     --> compose.yaml:4:15
      |
    4 |     devices: ["/dev/a:/dev/b:xyz"]
      |               ^^^^^^^^^^^^^^^^^^^
      |
    help: write some of `r` (read), `w` (write) and `m` (make the node)
    "#);
}

#[test]
fn amounts_must_agree() {
    assert_snapshot!(web("scale: 2\n    deploy: {replicas: 3}"), @"
    error: `scale` and `deploy.replicas` of service `web` disagree
     --> compose.yaml:4:12
      |
    4 |     scale: 2
      |            ^
    5 |     deploy: {replicas: 3}
      |                        - `deploy.replicas` stands here
      |
    help: leave one of them out
    ");
    assert_snapshot!(web("container_name: web\n    scale: 2"), @"
    error: service `web` has a `container_name` and more than one container
     --> compose.yaml:4:21
      |
    4 |     container_name: web
      |                     ^^^
    5 |     scale: 2
      |            - as many as this
      |
    help: remove `container_name`: the containers are then named by number
    ");
    assert_snapshot!(web("deploy: {replicas: -1}"), @"
    error: `deploy.replicas` of service `web` must be a whole number from 0, not `-1`
     --> compose.yaml:4:24
      |
    4 |     deploy: {replicas: -1}
      |                        ^^
    ");
    assert_snapshot!(web("deploy: {mode: everywhere}"), @"
    error: `deploy.mode` of service `web` cannot be `everywhere`
     --> compose.yaml:4:20
      |
    4 |     deploy: {mode: everywhere}
      |                    ^^^^^^^^^^
      |
    help: write one of `replicated`, `global`, `replicated-job`, `global-job`
    ");
    assert_snapshot!(web("deploy: {update_config: {order: start_first}}"), @"
    error: `deploy.update_config.order` of service `web` cannot be `start_first`
     --> compose.yaml:4:37
      |
    4 |     deploy: {update_config: {order: start_first}}
      |                                     ^^^^^^^^^^^
      |
    help: did you mean `start-first`?
    ");
    assert_snapshot!(web("deploy: {resources: {limits: {memory: lots}}}"), @"
    error: `deploy.resources.limits.memory` of service `web`: `lots` is not a size
     --> compose.yaml:4:43
      |
    4 |     deploy: {resources: {limits: {memory: lots}}}
      |                                           ^^^^
      |
    help: write for example `64m` or `1.5g`
    ");
}

#[test]
fn what_is_not_supported_is_named() {
    assert_snapshot!(web("gpus: [{driver: amd}]"), @"
    error: devices of the driver `amd` cannot be asked for
     --> compose.yaml:4:12
      |
    4 |     gpus: [{driver: amd}]
      |            ^^^^^^^^^^^^^
      |
    help: name them: `driver: cdi` with `device_ids: [VENDOR/CLASS=NAME]`
    ");
    assert_snapshot!(web("runtime: crun"), @"
    error: the runtime `crun` is not supported
     --> compose.yaml:4:14
      |
    4 |     runtime: crun
      |              ^^^^
      |
    help: remove it: containers run under wharfie's own runtime
    ");
    assert_snapshot!(web("volumes_from: [a, 'web:rx']"), @"
    error: service `web` depends on `a`, which does not exist
     --> compose.yaml:4:20
      |
    4 |     volumes_from: [a, 'web:rx']
      |                    ^
      |
    help: there is no other service in the project

    error: `web:rx` names no volumes of another container
     --> compose.yaml:4:23
      |
    4 |     volumes_from: [a, 'web:rx']
      |                       ^^^^^^^^
      |
    help: write `SERVICE`, `SERVICE:ro`, `container:NAME` or `container:NAME:ro`

    error: services depend on each other: `web` → `web`
     --> compose.yaml:4:23
      |
    4 |     volumes_from: [a, 'web:rx']
      |                       ^^^^^^^^
      |
    help: one of them must be able to start first
    ");
    assert_snapshot!(web("privileged: true\n    storage_opt: {size: 1g}"), @"
    error: `storage_opt` is not supported yet in service `web`
     --> compose.yaml:5:5
      |
    5 |     storage_opt: {size: 1g}
      |     ^^^^^^^^^^^
      |
    help: overlayfs cannot limit what a container writes; use volumes, or `tmpfs` with a size
    ");
}
