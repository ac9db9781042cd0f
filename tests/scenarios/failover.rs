//! What goes on when managers and nodes go away, and come back.

use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Direction, secs};

/// A service whose containers stay where they are put: on the host with this name.
fn pinned(host: &str) -> String {
    format!(
        "services:\n  web:\n    image: busybox:1.35\n    init: true\n    restart: always\n    \
         command: sleep 1000000\n    deploy:\n      placement:\n        constraints: [node.hostname == {host}]\n"
    )
}

const ANYWHERE: &str = "services:\n  web:\n    image: busybox:1.35\n    init: true\n    restart: always\n    command: sleep 1000000\n";

fn pid(cluster: &Cluster, host: usize, container: &str) -> Option<u64> {
    cluster.pid_of(host, container)
}

#[track_caller]
fn runs(cluster: &Cluster, host: usize, container: &str, not: Option<u64>) -> (u64, Duration) {
    cluster.within(secs(60), "the container runs", || {
        pid(cluster, host, container)
            .filter(|pid| Some(*pid) != not)
            .ok_or_else(|| cluster.host(host).agent_log())
    })
}

fn end(pid: u64) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_worker_restarts_its_containers_while_no_manager_answers_and_says_so_afterwards() {
    let mut cluster = Cluster::of(1, 1);
    cluster
        .host(0)
        .compose("app", &pinned("node1"), "up -d")
        .succeeds();
    let (first, _) = runs(&cluster, 1, "app-web-1", None);

    // A worker decides nothing, and says who does.
    let refused = cluster.host(1).wharfie("-p app down");
    assert_ne!(refused.code, 0, "{refused}");
    refused.says("10.77.0.1");

    cluster.kill(0);
    end(first);
    let (second, took) = runs(&cluster, 1, "app-web-1", Some(first));
    eprintln!("restarted without managers after {took:?}");

    // The node itself may end and come back, still without managers: the container is kept.
    cluster.kill(1);
    cluster.start(1);
    assert_eq!(runs(&cluster, 1, "app-web-1", None).0, second);

    cluster.start(0);
    cluster.within(secs(60), "the restart is counted", || {
        let inspected = cluster.host(1).inspect("app-web-1");
        let count = inspected["RestartCount"].clone();
        (count == 1).then_some(()).ok_or_else(|| count.to_string())
    });
    // Nobody has started another one.
    assert_eq!(pid(&cluster, 1, "app-web-1"), Some(second));
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(1).leaves_nothing();
}

#[test]
fn a_leader_that_dies_is_followed_by_another_and_no_node_is_given_up() {
    let mut cluster = Cluster::of(3, 1);
    cluster
        .host(0)
        .compose("app", &pinned("node3"), "up -d")
        .succeeds();
    let (before, _) = runs(&cluster, 3, "app-web-1", None);
    let leader = cluster.leader().unwrap();
    let other = (0..3).find(|host| *host != leader).unwrap();

    cluster.kill(leader);
    let (_, took) = cluster.within(secs(60), "another one leads and is obeyed", || {
        let ran = cluster
            .host(other)
            .wharfie("node update --label-add obeyed=yes node3");
        if ran.code == 0 {
            Ok(())
        } else {
            Err(format!("{ran}\n{}", cluster.host(other).agent_log()))
        }
    });
    eprintln!("a command is carried out {took:?} after the leader died");
    let until = Instant::now() + secs(8);
    while Instant::now() < until {
        let nodes = cluster.nodes_seen_by(other).unwrap();
        let down = nodes.iter().filter(|node| node.status == "Down");
        let given_up: Vec<_> = down
            .filter(|it| it.hostname != cluster.name(leader))
            .collect();
        assert!(given_up.is_empty(), "{given_up:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(pid(&cluster, 3, "app-web-1"), Some(before));

    // The new leader is obeyed by the worker.
    cluster.start(leader);
    cluster.host(other).wharfie("-p app down").succeeds();
    cluster.host(3).leaves_nothing();
}

#[test]
fn what_ran_on_a_machine_that_vanished_runs_elsewhere_and_is_dropped_there_when_it_is_back() {
    let mut cluster = Cluster::of(1, 2);
    cluster
        .host(0)
        .wharfie("node update --availability drain node0")
        .succeeds();
    cluster.host(0).compose("app", ANYWHERE, "up -d").succeeds();
    let home = [1, 2]
        .into_iter()
        .find(|host| pid(&cluster, *host, "app-web-1").is_some());
    let home = home.unwrap();
    let other = 3 - home;

    cluster.power_off(home);
    let begun = Instant::now();
    let (_, down) = cluster.within(secs(60), "it is down", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let gone = nodes
            .iter()
            .find(|node| node.hostname == cluster.name(home));
        let down = gone.is_some_and(|node| node.status == "Down");
        down.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    runs(&cluster, other, "app-web-1", None);
    eprintln!("down after {down:?}, replaced after {:?}", begun.elapsed());

    cluster.power_on(home);
    cluster.within(secs(60), "the old one is dropped", || {
        let gone = pid(&cluster, home, "app-web-1").is_none();
        gone.then_some(())
            .ok_or_else(|| cluster.host(home).agent_log())
    });
    assert!(pid(&cluster, other, "app-web-1").is_some());
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(other).leaves_nothing();
}

#[test]
fn a_node_that_hears_nothing_finds_the_leader_again_when_the_network_is_back() {
    let cluster = Cluster::of(1, 1);
    cluster.cut(0, 1, Direction::Both);
    cluster.within(secs(60), "it is down", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let down = nodes.iter().any(|node| node.status == "Down");
        down.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    cluster.heal();
    let (_, back) = cluster.within(secs(60), "it is back", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let ready = nodes.iter().all(|node| node.status == "Ready");
        ready.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    eprintln!("back {back:?} after the network was");
}

#[test]
fn containers_go_on_while_their_node_is_promoted_and_demoted() {
    let cluster = Cluster::of(1, 2);
    cluster
        .host(0)
        .compose("app", &pinned("node1"), "up -d")
        .succeeds();
    let (before, _) = runs(&cluster, 1, "app-web-1", None);
    cluster
        .host(0)
        .wharfie("node promote node1 node2")
        .succeeds();
    let manager = |host: usize, wanted: bool| {
        cluster.within(secs(90), "it has its role", || {
            let nodes = cluster.nodes_seen_by(0)?;
            let name = cluster.name(host);
            let is = nodes
                .iter()
                .any(|node| node.hostname == name && !node.manager.is_empty());
            let ready = nodes.iter().all(|node| node.status == "Ready");
            let knows = cluster.nodes_seen_by(host).is_ok() == wanted;
            (is == wanted && ready && knows)
                .then_some(())
                .ok_or_else(|| format!("{nodes:?}\n{}", cluster.host(host).agent_log()))
        })
    };
    manager(1, true);
    manager(2, true);
    assert_eq!(runs(&cluster, 1, "app-web-1", None).0, before);
    // A follower passes on what it is asked for, and shows it at once.
    let follower = cluster.host(1);
    follower
        .wharfie("node update --label-add seen=here node2")
        .succeeds();
    follower
        .wharfie("node inspect node2")
        .succeeds()
        .says("seen");

    cluster
        .host(0)
        .wharfie("node demote node1 node2")
        .succeeds();
    manager(1, false);
    assert_eq!(runs(&cluster, 1, "app-web-1", None).0, before);
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(1).leaves_nothing();
}
