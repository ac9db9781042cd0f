//! One stack on several hosts: its containers reach each other, and every host answers for it.

use std::collections::BTreeSet;

use crate::support::cluster::{Cluster, secs};

const STACK: &str = r#"
services:
  web:
    image: busybox:1.35
    init: true
    command: ["sh", "-c", "mkdir -p /w && hostname > /w/index.html && exec httpd -f -p 80 -h /w"]
    ports: ["8080:80"]
    deploy: {replicas: 2, placement: {constraints: ["node.hostname != node0"]}}
  client:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    deploy: {placement: {constraints: ["node.hostname == node0"]}}
"#;

#[test]
fn containers_reach_each_other_across_hosts_and_every_host_answers_on_a_published_port() {
    let cluster = Cluster::of(1, 2);
    cluster
        .host(0)
        .compose("app", STACK, "up -d --wait")
        .succeeds();

    // Each of the two runs one, and answers with it; the first host has none, and asks them in turn.
    let ask = |index: usize| {
        let (answer, _) = cluster.within(secs(60), "the published port is answered", || {
            let ran = cluster
                .host(index)
                .shell("curl -sf --max-time 5 http://127.0.0.1:8080");
            match ran.code {
                0 => Ok(ran.stdout),
                _ => Err(ran.to_string()),
            }
        });
        answer
    };
    // That a container serves is heard on the other hosts as well, and may be heard there first.
    let ((second, third), _) = cluster.within(secs(60), "each answers with its own", || {
        let (second, third) = (ask(1), ask(2));
        (second != third)
            .then(|| (second.clone(), third))
            .ok_or_else(|| format!("both answered {second}"))
    });
    let both = BTreeSet::from([second, third]);
    let answers: BTreeSet<String> = (0..6).map(|_| ask(0)).collect();
    assert_eq!(answers, both);

    // By the service's name, from a container on a third host.
    let found: BTreeSet<String> = (0..6)
        .map(|_| {
            let ran = cluster
                .host(0)
                .wharfie("-p app exec -T client timeout 30 wget -qO- http://web");
            ran.succeeds().stdout
        })
        .collect();
    assert_eq!(found, both);

    cluster.host(0).wharfie("-p app down").succeeds();
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}

/// Left to themselves they would be on the host that has nothing yet.
const COMPANIONS: &str = r#"
services:
  db:
    image: busybox:1.35
    init: true
    command: ["sh", "-c", "echo of the database >/w/index.html && exec httpd -f -p 80 -h /w"]
    volumes: [/w]
    deploy: {placement: {constraints: ["node.hostname == node1"]}}
  inside:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    network_mode: service:db
  beside:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    volumes_from: [db]
  apart:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    pid: service:db
    deploy: {placement: {constraints: ["node.hostname == node0"]}}
"#;

#[test]
fn what_shares_a_namespace_or_volumes_runs_where_the_other_one_does() {
    let cluster = Cluster::of(1, 2);
    let host = cluster.host(0);
    host.compose("app", COMPANIONS, "up -d --wait --wait-timeout 20")
        .fails_with(1);
    for (service, line) in [
        ("inside", "timeout 30 wget -qO- http://127.0.0.1"),
        ("beside", "cat /w/index.html"),
    ] {
        let ran = host.wharfie(&format!("-p app exec -T {service} {line}"));
        assert_eq!(ran.succeeds().stdout, "of the database\n", "{service}");
    }
    host.compose("app", COMPANIONS, "why apart")
        .says("without container app-db-1, whose namespace or volumes it shares");
    host.wharfie("-p app down").succeeds();
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}

/// Each wants one of a node's things.
const GREEDY: &str = "
services:
  train:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    deploy:
      replicas: 2
      resources:
        reservations:
          generic_resources: [{discrete_resource_spec: {kind: gpu, value: 1}}]
";

#[test]
fn containers_are_told_which_of_a_nodes_things_are_theirs() {
    let mut cluster = Cluster::of(1, 1);
    cluster.host_mut(1).options = ["--node-generic-resource", "gpu=one,gpu=two"]
        .map(String::from)
        .to_vec();
    cluster.kill(1);
    cluster.start(1);
    cluster.within(secs(60), "the managers know of them", || {
        let ran = cluster.host(0).wharfie("node inspect node1");
        let known = ran.stdout.contains("\"two\"");
        known.then_some(()).ok_or_else(|| ran.to_string())
    });
    let up = cluster.host(0).compose("app", GREEDY, "up -d --wait");
    up.succeeds();
    let told: BTreeSet<String> = [1, 2]
        .map(|index| {
            let line = format!("-p app exec -T --index {index} train env");
            let all = cluster.host(0).wharfie(&line).succeeds().stdout;
            let mut all = all.lines();
            let own = all.find_map(|it| it.strip_prefix("DOCKER_RESOURCE_GPU="));
            let own = own.expect("it is told");
            // Whoever is asked shows the same.
            for host in [0, 1] {
                let seen = cluster.host(host).inspect(&format!("app-train-{index}"));
                let shown = seen["Config"]["Env"].to_string();
                let expected = format!("\"DOCKER_RESOURCE_GPU={own}\"");
                assert!(shown.contains(&expected), "{expected} at {host}: {shown}");
            }
            own.to_owned()
        })
        .into();
    assert_eq!(told, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
    cluster.host(0).wharfie("-p app down -t 1").succeeds();
}
