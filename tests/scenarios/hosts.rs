//! What the tests of several hosts stand on: the faults that they make are the ones that happen.

use std::process::Command;

use crate::support::cluster::{Cluster, Direction, secs};

/// Whether a packet of one host comes to another and the answer back.
fn reaches(cluster: &Cluster, from: usize, to: usize) -> bool {
    let address = cluster.address(to);
    let words = ["ping", "-c", "1", "-W", "1", &address];
    cluster.host(from).run("busybox", &words).code == 0
}

#[track_caller]
fn eventually_reaches(cluster: &Cluster, from: usize, to: usize) {
    cluster.within(secs(30), "it is reached", || {
        reaches(cluster, from, to)
            .then_some(())
            .ok_or_else(String::new)
    });
}

#[test]
fn hosts_of_a_cluster_reach_each_other_until_they_are_cut_off() {
    let cluster = Cluster::hosts(3);
    eventually_reaches(&cluster, 0, 2);
    assert_eq!(cluster.host(2).shell("hostname").stdout, "node2\n");

    cluster.cut(0, 1, Direction::There);
    assert!(!reaches(&cluster, 0, 1));
    assert!(reaches(&cluster, 0, 2));
    cluster.heal();
    eventually_reaches(&cluster, 0, 1);

    cluster.isolate(2);
    assert!(!reaches(&cluster, 2, 0));
    assert!(!reaches(&cluster, 1, 2));
    cluster.heal();

    cluster.unplug(2);
    assert!(!reaches(&cluster, 2, 0));
    cluster.plug(2);
    eventually_reaches(&cluster, 2, 0);
}

#[test]
fn a_machine_loses_power_and_boots_again() {
    let mut cluster = Cluster::nodes(1);
    cluster
        .host(0)
        .import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
    let file = "services:\n  web:\n    image: busybox:1.35\n    init: true\n    restart: always\n    command: sleep 77000\n";
    cluster.host(0).compose("app", file, "up -d").succeeds();
    let before = cluster.host(0).inspect("app-web-1")["State"]["Pid"].clone();
    cluster.freeze(0);
    cluster.thaw(0);

    cluster.power_off(0);
    let gone = Command::new("pgrep").args(["-fx", "sleep 77000"]).status();
    assert!(!gone.unwrap().success(), "its container still runs");

    cluster.power_on(0);
    cluster.within(secs(60), "the container runs again", || {
        let state = cluster.host(0).inspect("app-web-1")["State"].clone();
        let runs = state["Running"] == true && state["Pid"] != before;
        runs.then_some(()).ok_or_else(|| state.to_string())
    });
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(0).leaves_nothing();
}
