//! Majorities: what goes on without some managers, what without most of them, and the way back.

use std::time::Duration;

use crate::support::cluster::{Cluster, secs};

const WEB: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    restart: always
    command: sh -c 'mkdir -p /www && echo answered >/www/index.html && httpd -f -p 80 -h /www'
    ports: ['8080:80']
    deploy: {replicas: 2}
";

/// Asks for a change until it is accepted.
#[track_caller]
fn is_obeyed(cluster: &Cluster, by: usize, change: &str) -> Duration {
    let (_, took) = cluster.within(secs(90), "a change is accepted", || {
        let ran = cluster.host(by).wharfie(change);
        (ran.code == 0)
            .then_some(())
            .ok_or_else(|| format!("{ran}\n{}", cluster.host(by).agent_log()))
    });
    took
}

#[test]
fn five_managers_do_without_two_and_refuse_without_three_and_say_so() {
    let mut cluster = Cluster::of(5, 0);
    cluster.kill(1);
    cluster.kill(2);
    is_obeyed(&cluster, 0, "node update --label-add two=gone node0");

    // Two of five are no majority: nothing is promised, and nobody waits for ever.
    cluster.kill(3);
    let (_, took) = cluster.within(secs(90), "it is refused", || {
        let ran = cluster
            .host(0)
            .wharfie("node update --label-add three=gone node0");
        let said = ran.stderr.contains("majority") || ran.stderr.contains("managers");
        (ran.code != 0 && said)
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    assert!(took < secs(60), "{took:?}");
    cluster.within(secs(60), "it is shown who answers", || {
        let shown = cluster.nodes_seen_by(0)?;
        let parts: Vec<&str> = shown.iter().map(|it| it.manager.as_str()).collect();
        let gone = "Unreachable";
        (parts == ["Reachable", gone, gone, gone, "Reachable"])
            .then_some(())
            .ok_or_else(|| format!("{shown:?}"))
    });
    let listed = cluster.host(0).wharfie("node ls");
    listed.says("no majority of the managers answers");

    cluster.start(1);
    is_obeyed(&cluster, 0, "node update --label-add back=yes node0");
    let inspected = cluster.host(1).wharfie("node inspect node0").succeeds();
    inspected.says("\"two\"").says("\"back\"");
}

#[test]
fn most_managers_are_gone_for_good_and_the_last_one_goes_on_alone() {
    let mut cluster = Cluster::of(3, 1);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    is_obeyed(&cluster, 0, "node update --label-add kept=yes node3");
    cluster.power_off(1);
    cluster.power_off(2);

    let asked = cluster.host(0).wharfie("cluster recover");
    assert_ne!(
        asked.code, 0,
        "without --force it is only explained: {asked}"
    );
    cluster.within(secs(60), "it recovers", || {
        let ran = cluster.host(0).wharfie("cluster recover --force");
        (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
    });
    is_obeyed(&cluster, 0, "node update --label-add recovered=yes node3");
    let inspected = cluster.host(0).wharfie("node inspect node3").succeeds();
    inspected.says("\"kept\"").says("\"recovered\"");
    // The worker follows, and what ran goes on.
    cluster.within(secs(90), "the worker is back, and all run", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let ready = nodes
            .iter()
            .any(|it| it.hostname == "node3" && it.status == "Ready");
        let shown = cluster
            .host(0)
            .wharfie("-p app ps --format {{.State}}")
            .stdout;
        (ready && shown == "running\nrunning\n")
            .then_some(())
            .ok_or_else(|| format!("{nodes:?} {shown}"))
    });
    cluster.host(0).wharfie("-p app down").succeeds();
}

#[test]
fn node_after_node_is_restarted_and_no_request_is_lost() {
    let mut cluster = Cluster::of(3, 1);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    for host in 0..4 {
        cluster.within(secs(60), "every node answers", || {
            let url = format!("http://{}:8080/", cluster.address(host));
            cluster.switch().get(&url)
        });
    }
    let stop = cluster.switch().path("stop");
    let client = |host: usize| {
        let line = format!(
            "lost=0; n=0; while [ ! -e {} ] && [ $n -lt 20000 ]; do n=$((n+1)); \
             curl -sf --max-time 10 http://{}:8080/ >/dev/null || lost=$((lost+1)); \
             sleep 0.05; done; echo $lost lost; [ $n -gt 20 ]",
            stop.display(),
            cluster.address(host),
        );
        let mut command = cluster.switch().command("sh");
        command.args(["-c", &line]);
        command
    };
    let commands: Vec<_> = (0..4).map(client).collect();
    let clients: Vec<_> = commands
        .into_iter()
        .map(|mut command| std::thread::spawn(move || command.output().unwrap()))
        .collect();
    for host in 0..4 {
        cluster.kill(host);
        cluster.start(host);
        cluster.wait_until_ready();
    }
    std::fs::write(stop, "").unwrap();
    for client in clients {
        let output = client.join().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said == "0 lost\n", "{output:?}");
    }
    cluster.host(0).wharfie("-p app down").succeeds();
}

#[test]
fn a_worker_that_leaves_takes_its_containers_along_and_can_join_again() {
    let cluster = Cluster::of(1, 1);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    cluster
        .host(0)
        .wharfie("node update --availability drain node1")
        .succeeds();
    cluster.within(secs(60), "all run on the manager", || {
        let shown = cluster
            .host(0)
            .wharfie("-p app ps --format {{.Node}}:{{.State}}")
            .stdout;
        (shown == "node0:running\nnode0:running\n")
            .then_some(())
            .ok_or(shown)
    });
    cluster.host(1).wharfie("leave").succeeds();
    cluster.host(1).leaves_nothing();
    let nodes = cluster.nodes_seen_by(0).unwrap();
    assert!(nodes.iter().all(|it| it.hostname == "node0"), "{nodes:?}");
    cluster.within(secs(60), "its node answers again", || {
        let ran = cluster.host(1).wharfie("ls");
        (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
    });
    cluster.join(1, 0, crate::support::cluster::Role::Worker);
    cluster.wait_until_ready();
    cluster.host(0).wharfie("-p app down").succeeds();
}

#[test]
fn a_manager_leaves_the_other_one_who_goes_on_alone() {
    let cluster = Cluster::of(2, 1);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    // Whoever leads: what it held is somebody else's to decide.
    let (leaver, other) = match cluster.leader() {
        Some(1) => (1, 0),
        _ => (0, 1),
    };
    let left = cluster.host(leaver).wharfie("leave --force").succeeds();
    left.says("This node left the cluster.");
    is_obeyed(&cluster, other, "node update --label-add alone=yes node2");
    let nodes = cluster.nodes_seen_by(other).unwrap();
    assert!(
        nodes.iter().all(|it| it.hostname != cluster.name(leaver)),
        "{nodes:?}"
    );
    cluster.host(leaver).leaves_nothing();
    cluster.host(other).wharfie("-p app down").succeeds();
}
