//! Nodes that stand still for a while and go on as if nothing had been.

use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, secs};

const FILE: &str = "
services:
  db:
    image: busybox:1.35
    init: true
    restart: always
    command: sleep 1000000
    volumes: ['data:/data']
  web:
    image: busybox:1.35
    init: true
    restart: always
    command: sleep 1000000
    deploy: {replicas: 2}
volumes: {data: {}}
";

/// How many of these run on a host, by its own account; a host that stands still has none to give.
fn count(cluster: &Cluster, host: usize, names: &[&str]) -> usize {
    let found = names.iter().filter_map(|name| cluster.pid_of(host, name));
    found.count()
}

#[test]
fn a_volume_has_one_owner_while_its_node_stands_still_and_what_was_replaced_is_dropped() {
    let cluster = Cluster::of(1, 2);
    cluster
        .host(0)
        .wharfie("node update --availability drain node0")
        .succeeds();
    cluster.host(0).compose("app", FILE, "up -d").succeeds();
    let web = ["app-web-1", "app-web-2"];
    let (home, _) = cluster.within(secs(60), "all run", || {
        let all = (1..3)
            .map(|host| count(&cluster, host, &web))
            .sum::<usize>();
        let home = [1, 2]
            .into_iter()
            .find(|host| count(&cluster, *host, &["app-db-1"]) == 1);
        home.filter(|_| all == 2).ok_or_else(|| format!("{all}"))
    });
    let other = 3 - home;
    let owner = cluster.pid_of(home, "app-db-1");

    cluster.freeze(home);
    cluster.within(secs(60), "the other one runs what it can", || {
        let running = count(&cluster, other, &web);
        assert_eq!(count(&cluster, other, &["app-db-1"]), 0, "a second owner");
        (running == 2)
            .then_some(())
            .ok_or_else(|| format!("{running}\n{}", cluster.host(0).agent_log()))
    });
    let why = cluster.host(0).wharfie("-p app why db").succeeds();
    why.says(&cluster.name(home));
    let until = Instant::now() + secs(3);
    while Instant::now() < until {
        assert_eq!(count(&cluster, other, &["app-db-1"]), 0, "a second owner");
        std::thread::sleep(Duration::from_millis(200));
    }

    cluster.thaw(home);
    cluster.within(secs(60), "what was replaced is dropped", || {
        let (here, there) = (count(&cluster, home, &web), count(&cluster, other, &web));
        (here == 0 && there == 2)
            .then_some(())
            .ok_or_else(|| format!("{here} {there}\n{}", cluster.host(home).agent_log()))
    });
    cluster.wait_until_ready();
    assert_eq!(cluster.pid_of(home, "app-db-1"), owner, "its owner goes on");
    cluster.host(0).wharfie("-p app down -v").succeeds();
}

#[test]
fn a_leader_that_stands_still_is_followed_by_another_and_obeys_it_when_it_goes_on() {
    let cluster = Cluster::of(3, 0);
    let leader = cluster.leader().unwrap();
    let (other, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.freeze(leader);
    let obeyed = |label: &str, by: usize| {
        let change = format!("node update --label-add {label}=yes node0");
        cluster.within(secs(90), "a change is accepted", || {
            let ran = cluster.host(by).wharfie(&change);
            (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
        })
    };
    let (_, took) = obeyed("without", other);
    eprintln!("accepted {took:?} after the leader stood still");
    cluster.thaw(leader);
    obeyed("again", leader);
    let inspected = cluster
        .host(leader)
        .wharfie("node inspect node0")
        .succeeds();
    inspected.says("without").says("again");
    let (seen, _) = cluster.within(secs(60), "all see the same leader", || {
        let seen = [leader, other, third].map(|host| cluster.leader_seen_by(host));
        let same = seen[0].is_some() && seen.iter().all(|it| *it == seen[0]);
        same.then_some(seen[0]).ok_or_else(|| format!("{seen:?}"))
    });
    assert!(seen.is_some());
}
