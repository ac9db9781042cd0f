//! The stack that a file means.

use std::time::Duration;

use super::{Case, titles};
use crate::model::container::{
    FileGrant, HealthTest, HostAddress, Mount, MountSource, NamespaceMode, NetworkMode, PullPolicy,
    SeccompProfile,
};
use crate::model::service::{
    DependencyCondition, RestartCondition, ServiceMode, ServiceSpec, UpdateOrder,
};
use crate::model::stack::Stack;

#[track_caller]
fn stack(text: &str) -> Stack {
    Case::new(text).project().stack
}

/// The only interesting service, given by its attributes.
#[track_caller]
fn service(attributes: &str) -> ServiceSpec {
    let text = format!(
        "services:\n  a: {{image: x, {attributes}}}\n  b: {{image: y}}\nvolumes: {{v: }}\nnetworks: {{n: {{name: fixed}}}}\n\
         secrets: {{s: {{environment: SET}}}}\nconfigs: {{c: {{content: hello}}}}\n"
    );
    stack(&text).services["a"].clone()
}

#[test]
fn names_belong_to_the_project_unless_they_are_given() {
    let stack = stack(
        "services: {a: {image: x, networks: [n, e], volumes: ['v:/v', 'w:/w']}}\n\
         networks: {n: , e: {external: true}}\nvolumes: {v: , w: {name: kept}, unused: }\n",
    );
    assert_eq!(stack.name, "shop");
    assert_eq!(stack.networks["n"].name, "shop_n");
    assert_eq!(stack.networks["e"].name, "e");
    assert!(stack.networks["e"].external);
    assert_eq!(stack.volumes["v"].name, "shop_v");
    assert_eq!(stack.volumes["w"].name, "kept");
    assert!(!stack.volumes.contains_key("unused"));
    assert_eq!(stack.config_files, ["/shop/compose.yaml"]);
}

#[test]
fn commands_are_split_or_cleared() {
    let spec = service("command: sh -c 'echo 1', entrypoint: []").container;
    assert_eq!(
        spec.command,
        Some(vec!["sh".into(), "-c".into(), "echo 1".into()])
    );
    assert_eq!(spec.entrypoint, Some(vec![]));
    assert_eq!(service("command: ").container.command, None);
}

#[test]
fn mounts_of_every_kind() {
    let mounts =
        service("volumes: [v:/v:nocopy, ./x:/x:ro, /anon], tmpfs: ['/t:size=1k,mode=700,exec']")
            .container
            .mounts
            .clone();
    assert_eq!(
        mounts,
        [
            Mount {
                target: "/v".into(),
                read_only: false,
                source: MountSource::Volume {
                    name: "shop_v".into(),
                    no_copy: true,
                    subpath: None
                },
            },
            Mount {
                target: "/x".into(),
                read_only: true,
                source: MountSource::Bind {
                    path: "/shop/x".into(),
                    create: true,
                    propagation: None,
                    recursive: true,
                    writable_below: false
                },
            },
            Mount {
                target: "/anon".into(),
                read_only: false,
                source: MountSource::Anonymous { no_copy: false }
            },
            Mount {
                target: "/t".into(),
                read_only: false,
                source: MountSource::Tmpfs {
                    size: Some(1024),
                    mode: Some(0o700),
                    uid: None,
                    gid: None,
                    options: vec!["exec".into()],
                },
            },
        ]
    );
}

#[test]
fn networks_keep_their_wishes_in_order_of_priority() {
    let NetworkMode::Attached(attachments) =
        service("networks: {default: , n: {aliases: [w], priority: 5, interface_name: lan}}")
            .container
            .network
            .clone()
    else {
        panic!("not attached")
    };
    let names: Vec<_> = attachments.iter().map(|it| it.network.as_str()).collect();
    assert_eq!(names, ["fixed", "shop_default"]);
    assert_eq!(attachments[0].aliases, ["w"]);
    assert_eq!(attachments[0].interface_name.as_deref(), Some("lan"));
    assert_eq!(
        service("network_mode: host").container.network,
        NetworkMode::Host
    );
    let joined = service("network_mode: 'service:b'");
    assert_eq!(joined.container.network, NetworkMode::Service("b".into()));
    assert!(joined.depends_on["b"].restart);
}

#[test]
fn links_are_aliases_of_the_other_service() {
    let stack = stack("services: {a: {image: x, links: ['b:db']}, b: {image: y}}");
    let NetworkMode::Attached(attachments) = &stack.services["b"].container.network else {
        panic!("not attached")
    };
    assert_eq!(attachments[0].aliases, ["db"]);
    assert!(stack.services["a"].depends_on.contains_key("b"));
}

#[test]
fn dependencies_and_restarts() {
    let spec = service("depends_on: {b: {condition: service_healthy}}, restart: 'on-failure:3'");
    assert_eq!(
        spec.depends_on["b"].condition,
        DependencyCondition::ServiceHealthy
    );
    assert!(spec.depends_on["b"].required && !spec.depends_on["b"].restart);
    assert_eq!(
        (spec.restart.condition, spec.restart.max_attempts),
        (RestartCondition::OnFailure, 3)
    );
    assert_eq!(
        service("restart: unless-stopped").restart.condition,
        RestartCondition::UnlessStopped
    );
    assert_eq!(
        service("restart: no").restart.condition,
        RestartCondition::Never
    );
    let policy =
        service("restart: always, deploy: {restart_policy: {condition: none, window: 1m}}").restart;
    assert_eq!(
        (policy.condition, policy.window),
        (RestartCondition::Never, Duration::from_secs(60))
    );
}

#[test]
fn deploy_says_how_many_and_how_they_change() {
    let spec = service(
        "deploy: {replicas: 3, update_config: {order: start-first, delay: 1s}, endpoint_mode: dnsrr, labels: [l=1], \
         placement: {constraints: ['node.role == manager', 'node.labels.a=b'], preferences: [{spread: node.labels.z}]}}",
    );
    assert_eq!(spec.mode, ServiceMode::Replicated { replicas: 3 });
    assert_eq!(
        (spec.update.order, spec.update.parallelism),
        (UpdateOrder::StartFirst, 1)
    );
    assert_eq!(
        spec.placement.constraints,
        ["node.role==manager", "node.labels.a==b"]
    );
    assert_eq!(spec.placement.spread, ["node.labels.z"]);
    assert_eq!(spec.labels["l"], "1");
    assert_eq!(service("deploy: {mode: global}").mode, ServiceMode::Global);
    assert_eq!(
        service("scale: 2").mode,
        ServiceMode::Replicated { replicas: 2 }
    );
    assert_eq!(
        service("user: 1000").update,
        crate::model::service::UpdateConfig::default()
    );
}

#[test]
fn amounts() {
    let spec = service(
        "cpus: 0.5, mem_limit: 64m, shm_size: 1g, stop_grace_period: 1m30s, pids_limit: -1, cpu_period: 100ms, \
         ulimits: {nofile: {soft: 1, hard: 2}}, deploy: {resources: {reservations: {cpus: '1.5', memory: 1k}}}",
    )
    .container;
    assert_eq!(spec.resources.cpu_limit_millis, Some(500));
    assert_eq!(spec.resources.cpu_reservation_millis, Some(1500));
    assert_eq!(spec.resources.memory_limit, Some(64 << 20));
    assert_eq!(spec.resources.memory_reservation, Some(1024));
    assert_eq!(spec.resources.pids_limit, Some(-1));
    assert_eq!(spec.resources.cpu_period, Some(100_000));
    assert_eq!(spec.shm_size, Some(1 << 30));
    assert_eq!(spec.stop_grace, Some(Duration::from_secs(90)));
    assert_eq!(
        (spec.ulimits["nofile"].soft, spec.ulimits["nofile"].hard),
        (1, 2)
    );
}

#[test]
fn secrets_and_configs_carry_their_content() {
    let text = "services: {a: {image: x, secrets: [s, {source: f, target: deep/f, uid: '7', mode: 0400}], configs: [c]}}\n\
                secrets: {s: {environment: SET}, f: {file: ./s.txt}}\nconfigs: {c: {content: 'hi $SET'}}\n";
    let stack = stack(&format!("=== compose.yaml\n{text}=== s.txt\nbytes"));
    assert_eq!(
        stack.secrets["s"].content.as_deref(),
        Some(b"value".as_slice())
    );
    assert_eq!(
        stack.secrets["f"].content.as_deref(),
        Some(b"bytes".as_slice())
    );
    assert_eq!(
        stack.configs["c"].content.as_deref(),
        Some(b"hi value".as_slice())
    );
    let spec = &stack.services["a"];
    let grant = |source: &str, target: &str, uid, mode| FileGrant {
        source: source.into(),
        target: target.into(),
        uid,
        gid: 0,
        mode,
    };
    let expected = [
        grant("shop_s", "/run/secrets/s", 0, 0o444),
        grant("shop_f", "/run/secrets/deep/f", 7, 0o400),
    ];
    assert_eq!(spec.container.secrets, expected);
    assert_eq!(spec.container.configs, [grant("shop_c", "/c", 0, 0o444)]);
    let changed = self::stack(&format!("=== compose.yaml\n{text}=== s.txt\nother"));
    assert_ne!(changed.services["a"].content_digest, spec.content_digest);
    assert_eq!(spec.content_digest.len(), 64);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let failure = Case::new("services: {a: {image: x, secrets: [s], env_file: no.env}}\nsecrets: {s: {file: ./s.txt}}\n").load().unwrap_err();
    assert_eq!(
        titles(&failure.errors),
        "compose.yaml:1:50 /shop/no.env cannot be read: no such file\n\
         compose.yaml:2:21 secret `s`: /shop/s.txt cannot be read: no such file\n"
    );
}

#[test]
fn environment_comes_from_files_and_the_project() {
    let stack = stack(
        "=== compose.yaml\nservices: {a: {image: x, env_file: [one.env, {path: two.env, required: false}], environment: {B: own, SET: , GONE: }}}\n\
         === one.env\nA=1\nB=2\nHOME\n",
    );
    let environment: Vec<_> = stack.services["a"]
        .container
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(environment, ["A=1", "B=own", "HOME=/home/me", "SET=value"]);
}

#[test]
fn health_hosts_namespaces_and_security() {
    let spec = service(
        "healthcheck: {test: curl x, retries: 2}, extra_hosts: ['h:host-gateway', 'i=::1'], pid: host, ipc: 'service:b', \
         security_opt: ['no-new-privileges:true', 'seccomp=unconfined'], init: yes",
    )
    .container;
    let health = spec.healthcheck.clone().unwrap();
    assert_eq!(
        (health.test, health.retries),
        (Some(HealthTest::Shell("curl x".into())), Some(2))
    );
    assert_eq!(spec.extra_hosts[0], ("h".into(), HostAddress::Gateway));
    assert_eq!(
        spec.extra_hosts[1],
        ("i".into(), HostAddress::Address("::1".parse().unwrap()))
    );
    assert_eq!(
        (&spec.pid, &spec.ipc),
        (&NamespaceMode::Host, &NamespaceMode::Service("b".into()))
    );
    assert_eq!(spec.security.no_new_privileges, Some(true));
    assert_eq!(spec.security.seccomp, SeccompProfile::Unconfined);
    assert!(spec.init);
}

#[test]
fn ports_choose_from_ranges() {
    let ports = service(
        "ports: ['8000-8010:80', '127.0.0.1:53:53/udp', {target: 9, mode: host, published: 90}, 7]",
    )
    .container
    .ports
    .clone();
    let shown: Vec<_> = ports
        .iter()
        .map(|it| {
            format!(
                "{:?} {:?} {} {} {:?}",
                it.host_ip,
                it.published,
                it.target,
                it.protocol.as_str(),
                it.mode
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "None Some((8000, 8010)) 80 tcp Ingress",
            "Some(127.0.0.1) Some((53, 53)) 53 udp Ingress",
            "None Some((90, 90)) 9 tcp Host",
            "None None 7 tcp Ingress",
        ]
    );
}

#[test]
fn variables_of_an_included_project_fill_its_environment() {
    let stack = stack(
        "=== compose.yaml\ninclude: [sub/i.yaml]\n=== sub/i.yaml\nservices: {i: {image: x, environment: [V]}}\n=== sub/.env\nV=1\n",
    );
    let environment = &stack.services["i"].container.environment;
    assert_eq!(environment["V"].as_deref(), Some("1"));
}

#[test]
fn the_bridge_of_docker_is_the_network_of_the_project() {
    let stack = stack("services: {a: {image: x, network_mode: bridge}}");
    let NetworkMode::Attached(attachments) = &stack.services["a"].container.network else {
        panic!("not attached")
    };
    assert_eq!(attachments[0].network, "shop_default");
    assert!(stack.networks.contains_key("default"));
}

#[test]
fn devices_are_files_or_names_of_vendors() {
    let names = |attributes: &str| service(attributes).container.vendor_devices.join(" ");
    assert_eq!(names("gpus: all"), "nvidia.com/gpu=all");
    assert_eq!(
        names("gpus: [{driver: nvidia, count: 2}]"),
        "nvidia.com/gpu=0 nvidia.com/gpu=1"
    );
    assert_eq!(
        names("gpus: [{device_ids: [GPU-1]}]"),
        "nvidia.com/gpu=GPU-1"
    );
    assert_eq!(
        names(
            "deploy: {resources: {reservations: {devices: [{driver: cdi, device_ids: [v.com/c=n]}]}}}"
        ),
        "v.com/c=n"
    );
    let spec = service("devices: [/dev/null, 'v.com/c=n']").container;
    assert_eq!(spec.vendor_devices, ["v.com/c=n"]);
    assert_eq!(spec.devices.len(), 1);
}

#[test]
fn images_are_fetched_again_after_a_time() {
    let policy = |text: &str| {
        service(&format!("pull_policy: {text}"))
            .container
            .pull_policy
    };
    let hours = |count: u64| PullPolicy::Every(Duration::from_secs(count * 3600));
    assert_eq!(policy("daily"), hours(24));
    assert_eq!(policy("weekly"), hours(7 * 24));
    assert_eq!(
        policy("every_90m"),
        PullPolicy::Every(Duration::from_secs(5400))
    );
}

#[test]
fn volumes_of_others_and_of_images() {
    let spec = service(
        "volumes_from: ['b:ro', 'container:c'], volumes: [{type: image, source: i, target: /i, image: {subpath: s}}]",
    );
    assert!(spec.depends_on.contains_key("b"));
    let from: Vec<_> = spec
        .container
        .volumes_from
        .iter()
        .map(|it| (it.key(), it.read_only))
        .collect();
    assert_eq!(
        from,
        [
            ("volumes of b".to_owned(), true),
            ("volumes of c".to_owned(), false)
        ]
    );
    let MountSource::Image { image, subpath } = &spec.container.mounts[0].source else {
        panic!("{:?}", spec.container.mounts)
    };
    assert_eq!((image.as_str(), subpath.as_deref()), ("i", Some("s")));
}

#[test]
fn commands_around_the_life_take_variables_from_the_project() {
    let spec = service("post_start: [{command: a 'b c', environment: [SET, GONE, X=1]}], pre_stop: [{command: [z], user: root}]").container;
    assert_eq!(spec.post_start[0].command, ["a", "b c"]);
    let environment: Vec<_> = spec.post_start[0].environment.iter().collect();
    assert_eq!(
        environment,
        [
            (&"SET".to_owned(), &Some("value".to_owned())),
            (&"X".to_owned(), &Some("1".to_owned()))
        ]
    );
    assert_eq!(spec.pre_stop[0].user.as_deref(), Some("root"));
}

#[test]
fn steps_before_a_service_become_jobs_that_it_waits_for() {
    let text = |image: &str| {
        format!(
            "services:\n  db: {{image: y}}\n  web:\n    image: {image}\n    user: u\n    entrypoint: [e]\n    \
             depends_on: [db]\n    ports: ['80:80']\n    labels: {{a: b}}\n    volumes: ['v:/v']\n    deploy: {{replicas: 3}}\n    \
             pre_start:\n      - {{command: a b, environment: [A=1]}}\n      - {{image: z, per_replica: true, privileged: true}}\n\
             volumes: {{v: }}\n"
        )
    };
    let found = stack(&text("x"));
    let needs = |name: &str| {
        let names = found.services[name].depends_on.iter();
        let names = names.map(|(name, it)| format!("{name} {:?}", it.condition));
        names.collect::<Vec<_>>().join(", ")
    };
    let completed = |number: u32| format!("web-pre-start-{number} ServiceCompletedSuccessfully");
    let db = "db ServiceStarted";
    assert_eq!(needs("web-pre-start-1"), db);
    assert_eq!(needs("web-pre-start-2"), format!("{db}, {}", completed(1)));
    assert_eq!(
        needs("web"),
        format!("{db}, {}, {}", completed(1), completed(2))
    );
    let one = &found.services["web-pre-start-1"];
    assert_eq!(
        one.mode,
        ServiceMode::ReplicatedJob {
            completions: 1,
            concurrent: 0
        }
    );
    assert_eq!(one.pre_start_of.as_deref(), Some("web"));
    assert_eq!(one.container.image, "x");
    assert_eq!(one.container.entrypoint, Some(vec!["a".into(), "b".into()]));
    assert_eq!(one.container.user.as_deref(), Some("u"));
    assert_eq!(one.container.environment["A"].as_deref(), Some("1"));
    assert!(one.container.ports.is_empty() && !one.container.labels.contains_key("a"));
    assert_eq!(one.container.mounts, found.services["web"].container.mounts);
    let two = &found.services["web-pre-start-2"];
    assert_eq!(
        two.mode,
        ServiceMode::ReplicatedJob {
            completions: 3,
            concurrent: 0
        }
    );
    assert_eq!(two.container.image, "z");
    assert_eq!(
        (&two.container.entrypoint, &two.container.user),
        (&None, &None)
    );
    assert!(two.container.privileged && !one.container.privileged);
    // Another service needs its steps anew.
    let other = stack(&text("w"));
    assert_ne!(
        other.services["web-pre-start-2"],
        found.services["web-pre-start-2"]
    );
}
