//! Every attribute, each of its forms on a line: what is written, and what it is in canonical form.

use serde_json::{Value, json};

use super::{Case, titles};
use crate::compose::Purpose;

/// The canonical form of a service that has only these attributes.
fn canonical(attributes: &str) -> Value {
    let text = format!(
        "services:\n  a: {{image: x, network_mode: none, {attributes}}}\n  b: {{image: y, build: .}}\n\
         volumes: {{vol: }}\nsecrets: {{s: {{environment: SET}}}}\nconfigs: {{c: {{content: hello}}}}\n\
         models: {{m: {{model: ai/m}}}}\n"
    );
    let mut case = Case::new(&text);
    case.options.steps.purpose = Purpose::Show;
    let json = serde_json::to_value(case.project().canonical().json()).unwrap();
    let mut service = json["services"]["a"].clone();
    let map = service.as_object_mut().unwrap();
    for key in ["image", "network_mode"] {
        map.remove(key);
    }
    for key in ["command", "entrypoint"] {
        if map[key].is_null() {
            map.remove(key);
        }
    }
    service
}

#[track_caller]
fn check(rows: &[(&str, Value)]) {
    for (attributes, expected) in rows {
        assert_eq!(canonical(attributes), *expected, "{attributes}");
    }
}

#[test]
fn scalars() {
    check(&[
        ("attach: false", json!({"attach": false})),
        ("attach: 'true'", json!({"attach": true})),
        ("cgroup: host", json!({"cgroup": "host"})),
        ("cgroup_parent: m", json!({"cgroup_parent": "m"})),
        ("container_name: nn", json!({"container_name": "nn"})),
        ("cpu_count: 2", json!({"cpu_count": 2})),
        ("cpu_percent: 50.5", json!({"cpu_percent": 50.5})),
        ("cpu_shares: '512'", json!({"cpu_shares": 512})),
        ("cpu_period: 100ms", json!({"cpu_period": 100_000})),
        ("cpu_quota: 50000", json!({"cpu_quota": 50_000})),
        ("cpu_rt_runtime: 95000", json!({"cpu_rt_runtime": 95_000})),
        ("cpu_rt_period: 1s", json!({"cpu_rt_period": 1_000_000})),
        ("cpus: '0.50'", json!({"cpus": 0.5})),
        ("cpus: 2", json!({"cpus": 2})),
        ("cpuset: 0-3", json!({"cpuset": "0-3"})),
        ("domainname: d", json!({"domainname": "d"})),
        ("hostname: 7", json!({"hostname": "7"})),
        ("init: no", json!({"init": false})),
        ("ipc: shareable", json!({"ipc": "shareable"})),
        ("isolation: default", json!({"isolation": "default"})),
        (
            "mac_address: '02:42:ac:11:65:43'",
            json!({"mac_address": "02:42:ac:11:65:43"}),
        ),
        ("oom_kill_disable: true", json!({"oom_kill_disable": true})),
        ("oom_score_adj: -500", json!({"oom_score_adj": -500})),
        ("pid: host", json!({"pid": "host"})),
        ("pids_limit: -1", json!({"pids_limit": -1})),
        ("platform: linux/arm64", json!({"platform": "linux/arm64"})),
        ("privileged: yes", json!({"privileged": true})),
        ("read_only: true", json!({"read_only": true})),
        ("restart: no", json!({"restart": "no"})),
        (
            "restart: 'on-failure:3'",
            json!({"restart": "on-failure:3"}),
        ),
        ("runtime: crun", json!({"runtime": "crun"})),
        ("scale: 0", json!({"scale": 0})),
        ("stdin_open: on", json!({"stdin_open": true})),
        ("stop_signal: SIGUSR1", json!({"stop_signal": "SIGUSR1"})),
        ("tty: false", json!({})),
        ("use_api_socket: true", json!({"use_api_socket": true})),
        ("user: 1000", json!({"user": "1000"})),
        ("userns_mode: host", json!({"userns_mode": "host"})),
        ("uts: host", json!({"uts": "host"})),
        ("working_dir: /w", json!({"working_dir": "/w"})),
    ]);
}

#[test]
fn amounts() {
    check(&[
        ("mem_limit: 1gb", json!({"mem_limit": "1073741824"})),
        ("mem_limit: 300000", json!({"mem_limit": "300000"})),
        ("mem_reservation: 1.5k", json!({"mem_reservation": "1536"})),
        ("memswap_limit: -1", json!({"memswap_limit": "-1"})),
        ("mem_swappiness: 60", json!({"mem_swappiness": "60"})),
        ("shm_size: 64M", json!({"shm_size": "67108864"})),
        (
            "stop_grace_period: 90s",
            json!({"stop_grace_period": "1m30s"}),
        ),
        (
            "stop_grace_period: 1d",
            json!({"stop_grace_period": "24h0m0s"}),
        ),
        (
            "stop_grace_period: 100ms",
            json!({"stop_grace_period": "100ms"}),
        ),
        ("ulimits: {nofile: 5}", json!({"ulimits": {"nofile": 5}})),
        (
            "ulimits: {nofile: {soft: 1, hard: -1}}",
            json!({"ulimits": {"nofile": {"soft": 1, "hard": -1}}}),
        ),
        (
            "blkio_config: {weight: 300}",
            json!({"blkio_config": {"weight": 300}}),
        ),
        (
            "blkio_config: {device_read_bps: [{path: /d, rate: 12mb}]}",
            json!({"blkio_config": {"device_read_bps": [{"path": "/d", "rate": "12582912"}]}}),
        ),
    ]);
}

#[test]
fn programs() {
    check(&[
        ("command: a 'b c'", json!({"command": ["a", "b c"]})),
        ("command: []", json!({"command": []})),
        ("entrypoint: ''", json!({"entrypoint": []})),
        ("entrypoint: [sh, -c]", json!({"entrypoint": ["sh", "-c"]})),
        (
            "healthcheck: {test: a b}",
            json!({"healthcheck": {"test": ["CMD-SHELL", "a b"]}}),
        ),
        (
            "healthcheck: {test: [CMD, a], interval: 1h, timeout: 1.5s, retries: 0}",
            json!({"healthcheck": {"test": ["CMD", "a"], "interval": "1h0m0s", "timeout": "1.5s", "retries": 0}}),
        ),
        (
            "healthcheck: {disable: true}",
            json!({"healthcheck": {"disable": true}}),
        ),
        ("healthcheck: {}", json!({"healthcheck": {}})),
        (
            "post_start: [{command: a b, user: root, environment: [A=1]}]",
            json!({"post_start": [{"command": ["a", "b"], "user": "root", "environment": {"A": "1"}}]}),
        ),
        (
            "pre_stop: [{command: [a]}]",
            json!({"pre_stop": [{"command": ["a"]}]}),
        ),
        (
            "pre_start: [{command: a, image: i, per_replica: true}]",
            json!({"pre_start": [{"command": ["a"], "image": "i", "per_replica": true}]}),
        ),
    ]);
}

#[test]
fn keys_and_values() {
    check(&[
        (
            "environment: {A: 1, B: , C: true}",
            json!({"environment": {"A": "1", "B": null, "C": "true"}}),
        ),
        (
            "environment: [A=1, B, SET]",
            json!({"environment": {"A": "1", "B": null, "SET": "value"}}),
        ),
        (
            "labels: [a=b=c, d]",
            json!({"labels": {"a": "b=c", "d": ""}}),
        ),
        (
            "labels: {a: 1.10, b: }",
            json!({"labels": {"a": "1.10", "b": ""}}),
        ),
        ("annotations: [a=1]", json!({"annotations": {"a": "1"}})),
        ("sysctls: [a=1]", json!({"sysctls": {"a": "1"}})),
        (
            "storage_opt: {size: 1G}",
            json!({"storage_opt": {"size": "1G"}}),
        ),
        (
            "logging: {driver: local, options: {max-file: 3}}",
            json!({"logging": {"driver": "local", "options": {"max-file": "3"}}}),
        ),
        (
            "provider: {type: t, options: {a: 1, b: [2]}}",
            json!({"provider": {"type": "t", "options": {"a": ["1"], "b": ["2"]}}}),
        ),
        ("models: [m]", json!({"models": {"m": null}})),
        (
            "models: {m: {model_var: V}}",
            json!({"models": {"m": {"model_var": "V"}}}),
        ),
    ]);
}

#[test]
fn lists() {
    check(&[
        (
            "cap_add: [CHOWN, CHOWN, KILL]",
            json!({"cap_add": ["CHOWN", "KILL"]}),
        ),
        ("cap_drop: [ALL]", json!({"cap_drop": ["ALL"]})),
        ("dns: 1.1.1.1", json!({"dns": ["1.1.1.1"]})),
        ("dns_search: [a, b]", json!({"dns_search": ["a", "b"]})),
        ("dns_opt: use-vc", json!({"dns_opt": ["use-vc"]})),
        (
            "device_cgroup_rules: ['c 1:3 mr']",
            json!({"device_cgroup_rules": ["c 1:3 mr"]}),
        ),
        (
            "expose: [80, '90-91/udp']",
            json!({"expose": ["80", "90-91/udp"]}),
        ),
        (
            "external_links: ['a:b']",
            json!({"external_links": ["a:b"]}),
        ),
        (
            "extra_hosts: ['h:1.1.1.1', 'g=::1']",
            json!({"extra_hosts": ["g=::1", "h=1.1.1.1"]}),
        ),
        (
            "extra_hosts: {h: [1.1.1.1, 2.2.2.2]}",
            json!({"extra_hosts": ["h=1.1.1.1", "h=2.2.2.2"]}),
        ),
        ("group_add: [mail, 7]", json!({"group_add": ["mail", "7"]})),
        (
            "security_opt: [no-new-privileges]",
            json!({"security_opt": ["no-new-privileges"]}),
        ),
        ("tmpfs: /t", json!({"tmpfs": ["/t"]})),
        (
            "volumes_from: ['b:ro', 'container:x']",
            json!({"volumes_from": ["b:ro", "container:x"],
                   "depends_on": {"b": {"condition": "service_started", "required": true}}}),
        ),
        (
            "links: ['b:c']",
            json!({"links": ["b:c"],
                   "depends_on": {"b": {"condition": "service_started", "restart": true, "required": true}}}),
        ),
    ]);
}

#[test]
fn devices() {
    let gpu = |rest: Value| json!({"gpus": [rest]});
    check(&[
        (
            "devices: [/dev/x]",
            json!({"devices": [{"source": "/dev/x", "target": "/dev/x", "permissions": "rwm"}]}),
        ),
        (
            "devices: ['/dev/x:/dev/y:r', {source: /dev/z}]",
            json!({"devices": [{"source": "/dev/x", "target": "/dev/y", "permissions": "r"},
                               {"source": "/dev/z", "target": "/dev/z", "permissions": "rwm"}]}),
        ),
        (
            "devices: ['vendor.com/class=name']",
            json!({"devices": [{"source": "vendor.com/class=name", "target": "vendor.com/class=name", "permissions": "rwm"}]}),
        ),
        ("gpus: all", gpu(json!({"count": -1}))),
        (
            "gpus: [{driver: nvidia}]",
            gpu(json!({"driver": "nvidia", "count": -1})),
        ),
        (
            "gpus: [{driver: nvidia, count: 2}]",
            gpu(json!({"driver": "nvidia", "count": 2})),
        ),
        (
            "gpus: [{device_ids: ['0'], options: [a=1]}]",
            gpu(json!({"device_ids": ["0"], "options": {"a": "1"}})),
        ),
    ]);
}

#[test]
fn grants_and_mounts() {
    let volumes = |it: Value| json!({"volumes": [it]});
    check(&[
        (
            "secrets: [s]",
            json!({"secrets": [{"source": "s", "target": "/run/secrets/s"}]}),
        ),
        (
            "secrets: [{source: s, target: t, uid: 1, mode: 0440}]",
            json!({"secrets": [{"source": "s", "target": "t", "uid": "1", "mode": "0440"}]}),
        ),
        ("configs: [c]", json!({"configs": [{"source": "c"}]})),
        (
            "volumes: ['vol:/v:ro']",
            volumes(
                json!({"type": "volume", "source": "vol", "target": "/v", "read_only": true, "volume": {}}),
            ),
        ),
        (
            "volumes: ['vol:/v:nocopy']",
            volumes(
                json!({"type": "volume", "source": "vol", "target": "/v", "volume": {"nocopy": true}}),
            ),
        ),
        (
            "volumes: [/anon/]",
            volumes(json!({"type": "volume", "target": "/anon", "volume": {}})),
        ),
        (
            "volumes: ['../x:/x']",
            volumes(
                json!({"type": "bind", "source": "/x", "target": "/x", "bind": {"create_host_path": true}}),
            ),
        ),
        (
            "volumes: ['~:/x:rshared']",
            volumes(
                json!({"type": "bind", "source": "/home/me", "target": "/x", "bind": {"propagation": "rshared", "create_host_path": true}}),
            ),
        ),
        (
            "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1k, mode: 0o1777}}]",
            volumes(
                json!({"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1024", "mode": 1023}}),
            ),
        ),
        (
            "volumes: [{type: image, source: i, target: /i, image: {subpath: s}}]",
            volumes(
                json!({"type": "image", "source": "i", "target": "/i", "image": {"subpath": "s"}}),
            ),
        ),
    ]);
}

#[test]
fn builds() {
    let build = |rest: Value| {
        let mut all = json!({"context": "/shop", "dockerfile": "Dockerfile"});
        for (key, value) in rest.as_object().unwrap() {
            all[key] = value.clone();
        }
        json!({"build": all})
    };
    check(&[
        ("build: .", build(json!({}))),
        ("build: ../y", build(json!({"context": "/y"}))),
        (
            "build: 'https://x/y.git#main:sub'",
            build(json!({"context": "https://x/y.git#main:sub"})),
        ),
        (
            "build: {dockerfile: D, target: t}",
            build(json!({"dockerfile": "D", "target": "t"})),
        ),
        (
            "build: {dockerfile_inline: FROM x}",
            json!({"build": {"context": "/shop", "dockerfile_inline": "FROM x"}}),
        ),
        (
            "build: {args: [A=1, SET, GONE]}",
            build(json!({"args": {"A": "1", "SET": "value"}})),
        ),
        ("build: {ssh: default}", build(json!({"ssh": ["default"]}))),
        (
            "build: {ssh: {default: , k: /k}}",
            build(json!({"ssh": ["default", "k=/k"]})),
        ),
        (
            "build: {additional_contexts: [r=./r, s=service:b, i=docker-image://x]}",
            build(
                json!({"additional_contexts": {"r": "/shop/r", "s": "service:b", "i": "docker-image://x"}}),
            ),
        ),
        (
            "build: {secrets: [s], shm_size: 1k, no_cache: yes}",
            build(json!({"secrets": [{"source": "s"}], "shm_size": "1024", "no_cache": true})),
        ),
        (
            "build: {no_cache_filter: a, cache_from: [b], cache_to: [c]}",
            build(json!({"no_cache_filter": ["a"], "cache_from": ["b"], "cache_to": ["c"]})),
        ),
        (
            "build: {provenance: true, sbom: mode=max}",
            build(json!({"provenance": "true", "sbom": "mode=max"})),
        ),
        (
            "build: ., develop: {watch: [{path: ./s, action: sync, target: /t, ignore: n}]}",
            json!({"build": {"context": "/shop", "dockerfile": "Dockerfile"},
                   "develop": {"watch": [{"path": "/shop/s", "action": "sync", "target": "/t", "ignore": ["n"]}]}}),
        ),
    ]);
}

#[test]
fn deployments() {
    let deploy = |rest: Value| {
        let mut all = json!({"resources": {}, "placement": {}});
        for (key, value) in rest.as_object().unwrap() {
            all[key] = value.clone();
        }
        json!({"deploy": all})
    };
    check(&[
        ("deploy: {}", deploy(json!({}))),
        ("deploy: {mode: global}", deploy(json!({"mode": "global"}))),
        ("deploy: {replicas: '0'}", deploy(json!({"replicas": 0}))),
        (
            "deploy: {endpoint_mode: dnsrr, labels: [a]}",
            deploy(json!({"endpoint_mode": "dnsrr", "labels": {"a": ""}})),
        ),
        (
            "deploy: {update_config: {parallelism: 0, delay: 0s, order: start-first, max_failure_ratio: 0.5}}",
            deploy(
                json!({"update_config": {"parallelism": 0, "order": "start-first", "max_failure_ratio": 0.5}}),
            ),
        ),
        (
            "deploy: {restart_policy: {condition: any, delay: 5s, max_attempts: 0, window: 2m}}",
            deploy(
                json!({"restart_policy": {"condition": "any", "delay": "5s", "max_attempts": 0, "window": "2m0s"}}),
            ),
        ),
        (
            "deploy: {placement: {constraints: [node.role==manager], preferences: [{spread: node.labels.z}], max_replicas_per_node: 1}}",
            deploy(
                json!({"placement": {"constraints": ["node.role==manager"], "preferences": [{"spread": "node.labels.z"}], "max_replicas_per_node": 1}}),
            ),
        ),
        (
            "deploy: {resources: {limits: {cpus: '1', memory: 1k, pids: 3}, reservations: {devices: [{capabilities: [gpu], count: all}], generic_resources: [{discrete_resource_spec: {kind: k, value: 2}}]}}}",
            deploy(
                json!({"resources": {"limits": {"cpus": 1, "memory": "1024", "pids": 3},
                "reservations": {"devices": [{"capabilities": ["gpu"], "count": -1}], "generic_resources": [{"discrete_resource_spec": {"kind": "k", "value": 2}}]}}}),
            ),
        ),
    ]);
}

/// What stands here is refused by name when it is to be run, and only then.
#[test]
fn what_cannot_be_run_yet_is_said_by_name() {
    for attribute in [
        "external_links: [x]",
        "models: [m]",
        "provider: {type: t}",
        "storage_opt: {a: b}",
    ] {
        let text =
            format!("services: {{a: {{image: x, {attribute}}}}}\nmodels: {{m: {{model: x}}}}\n");
        let mut case = Case::new(&text);
        let name = attribute.split(':').next().unwrap();
        let title = format!("`{name}` is not supported yet in service `a`");
        assert!(
            titles(&case.load().unwrap_err().errors).contains(&title),
            "{name}"
        );
        case.options.steps.purpose = Purpose::Show;
        assert!(titles(&case.project().warnings).contains(&title), "{name}");
    }
}

/// What stands here means nothing on Linux.
#[test]
fn what_has_no_meaning_is_kept_with_a_warning() {
    for attribute in [
        "cpu_count: 1",
        "cpu_percent: 1",
        "credential_spec: {file: f}",
        "isolation: default",
        "use_api_socket: true",
    ] {
        let case = Case::new(&format!("services: {{a: {{image: x, {attribute}}}}}"));
        let project = case.project();
        let name = attribute.split(':').next().unwrap();
        let title = format!("`{name}` has no effect in service `a`");
        assert!(titles(&project.warnings).contains(&title), "{name}");
        assert!(
            project
                .canonical()
                .to_yaml()
                .contains(&format!("    {name}:")),
            "{name}"
        );
    }
}
