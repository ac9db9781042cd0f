//! Networks that fall apart: who goes on, who waits, and that nothing is there twice afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Direction, Role, secs};

/// On the workers only, and one that answers is one that runs.
const WEB: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    restart: always
    command: sh -c 'mkdir -p /www && echo answered >/www/index.html && exec httpd -f -h /www'
    deploy: {replicas: 2, placement: {constraints: [node.role == worker]}}
";

/// One that answers on the first worker, and one that asks on the second.
const TWO: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    restart: always
    command: sh -c 'mkdir -p /www && echo answered >/www/index.html && exec httpd -f -h /www'
    deploy: {placement: {constraints: [node.hostname == node1]}}
  client:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    deploy: {placement: {constraints: [node.hostname == node2]}}
";

/// Asks for a change until it is accepted.
#[track_caller]
fn is_obeyed(cluster: &Cluster, by: usize, label: &str) {
    let change = format!("node update --label-add {label}=yes node0");
    let (_, took) = cluster.within(secs(90), "a change is accepted", || {
        let ran = cluster.host(by).wharfie(&change);
        let failed = || format!("{ran}\n{}", cluster.host(by).agent_log());
        (ran.code == 0).then_some(()).ok_or_else(failed)
    });
    eprintln!("{label}: accepted after {took:?}");
}

/// The containers of a service with two replicas that run on a host, as that says itself.
fn replicas(cluster: &Cluster, host: usize) -> BTreeSet<u64> {
    let names = ["app-web-1", "app-web-2"];
    let pids = names.iter().filter_map(|name| cluster.pid_of(host, name));
    pids.collect()
}

/// Waits until each of these hosts runs so many.
#[track_caller]
fn runs(cluster: &Cluster, wanted: &[(usize, usize)]) {
    cluster.within(secs(90), "so many run where they should", || {
        let seen = |(host, _): &(usize, usize)| (*host, replicas(cluster, *host).len());
        let seen: Vec<_> = wanted.iter().map(seen).collect();
        let logs = || format!("{seen:?}\n{}", cluster.host(wanted[0].0).agent_log());
        (seen == wanted).then_some(()).ok_or_else(logs)
    });
}

#[test]
fn the_larger_side_goes_on_the_smaller_keeps_what_it_runs_and_nothing_is_there_twice_afterwards() {
    let cluster = Cluster::of(3, 2);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    runs(&cluster, &[(3, 1), (4, 1)]);
    let kept = replicas(&cluster, 3);
    let leader = cluster.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|host| *host != leader).collect();

    cluster.split(&[leader, 3], &[others[0], others[1], 4]);
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            let ran = cluster
                .host(leader)
                .wharfie("node update --label-add lost=yes node0");
            assert_ne!(ran.code, 0, "{ran}");
            ran
        });
        is_obeyed(&cluster, others[0], "majority");
        runs(&cluster, &[(4, 2)]);
        assert_eq!(replicas(&cluster, 3), kept, "cut off, and as it was");
        refused.join().unwrap().says("manager");
    });

    cluster.heal();
    cluster.within(secs(90), "all are together again", || {
        let nodes = cluster.nodes_seen_by(leader)?;
        let ready = nodes.iter().filter(|node| node.status == "Ready").count();
        (ready == 5)
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}"))
    });
    runs(&cluster, &[(3, 0), (4, 2)]);
    is_obeyed(&cluster, leader, "healed");
    let inspected = cluster
        .host(leader)
        .wharfie("node inspect node0")
        .succeeds();
    inspected.says("majority").never_says("lost");
    cluster.host(0).wharfie("-p app down").succeeds();
}

#[test]
fn a_leader_that_is_deaf_or_mute_is_followed_by_another_and_comes_back() {
    let cluster = Cluster::of(3, 1);
    for (round, deaf) in [(1, true), (2, false)] {
        let (leader, _) = cluster.within(secs(60), "somebody leads", || {
            cluster.leader().ok_or_else(|| "nobody".to_owned())
        });
        let others: Vec<usize> = (0..3).filter(|host| *host != leader).collect();
        for other in others.iter().chain([&3]) {
            match deaf {
                true => cluster.cut(*other, leader, Direction::There),
                false => cluster.cut(leader, *other, Direction::There),
            }
        }
        is_obeyed(&cluster, others[0], &format!("round{round}"));
        cluster.heal();
        cluster.wait_until_ready();
        is_obeyed(&cluster, leader, &format!("healed{round}"));
    }
}

#[test]
fn a_worker_that_is_heard_one_way_only_keeps_its_containers_and_has_none_twice_afterwards() {
    let cluster = Cluster::of(1, 2);
    cluster.host(0).compose("app", WEB, "up -d").succeeds();
    runs(&cluster, &[(1, 1), (2, 1)]);
    let kept = replicas(&cluster, 1);
    cluster.cut(1, 0, Direction::There);
    runs(&cluster, &[(2, 2)]);
    assert_eq!(replicas(&cluster, 1), kept, "cut off, and as it was");
    cluster.heal();
    runs(&cluster, &[(1, 0), (2, 2)]);
    cluster.wait_until_ready();
    cluster.host(0).wharfie("-p app down").succeeds();
}

/// Whether the client's container gets an answer from the other worker's; no manager is asked.
fn talk(cluster: &Cluster) -> Result<(), String> {
    let client = cluster.pid_of(2, "app-client-1").ok_or("no client")?;
    let ran = cluster.host(2).shell(&format!(
        "nsenter -t {client} -m -n timeout 3 wget -qO- http://web/"
    ));
    match ran.stdout.as_str() {
        "answered\n" => Ok(()),
        _ => Err(ran.to_string()),
    }
}

fn all_ready(cluster: &Cluster) -> Result<(), String> {
    let nodes = cluster.nodes_seen_by(0)?;
    let ready = nodes.iter().all(|node| node.status == "Ready");
    ready.then_some(()).ok_or_else(|| format!("{nodes:?}"))
}

#[test]
fn workers_that_all_fall_silent_at_once_are_not_given_up_and_go_on_among_themselves() {
    let cluster = Cluster::of(1, 2);
    cluster.host(0).compose("app", TWO, "up -d").succeeds();
    cluster.within(secs(60), "they talk", || talk(&cluster));
    let pids = || {
        [
            cluster.pid_of(1, "app-web-1"),
            cluster.pid_of(2, "app-client-1"),
        ]
    };
    let before = pids();

    cluster.split(&[0], &[1, 2]);
    cluster.within(secs(60), "the leader suspects itself", || {
        let ran = cluster.host(0).wharfie("node ls");
        let said = ran.stderr.contains("silent at once");
        said.then_some(()).ok_or_else(|| ran.to_string())
    });
    let why = cluster.host(0).wharfie("-p app why web").succeeds();
    why.says("silent at once");
    // Longer than it takes to give up a single node.
    let until = Instant::now() + secs(7);
    while Instant::now() < until {
        all_ready(&cluster).unwrap();
        talk(&cluster).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }

    cluster.heal();
    cluster.within(secs(60), "nothing is wrong any more", || {
        let ran = cluster.host(0).wharfie("node ls");
        let fine = ran.code == 0 && ran.stderr.is_empty();
        fine.then_some(()).ok_or_else(|| ran.to_string())
    });
    all_ready(&cluster).unwrap();
    assert_eq!(pids(), before, "nothing was touched");

    // Between the two only: what they say to each other is lost, and nothing else.
    cluster.split(&[1], &[2]);
    cluster.within(
        secs(90),
        "it is told that they do not reach each other",
        || {
            let ran = cluster.host(0).wharfie("node ls");
            let told = |from, to| format!("containers on {from} do not reach those on {to}");
            let both = [told("node1", "node2"), told("node2", "node1")];
            let said = both.iter().all(|told| ran.stderr.contains(told));
            talk(&cluster).expect_err("they talk");
            all_ready(&cluster).unwrap();
            said.then_some(()).ok_or_else(|| ran.to_string())
        },
    );
    let why = cluster.host(0).wharfie("-p app why web").succeeds();
    why.says("containers on node2 do not reach those on node1");
    cluster.heal();
    cluster.within(secs(60), "they talk again", || talk(&cluster));
    cluster.within(secs(90), "nothing is wrong any more", || {
        let ran = cluster.host(0).wharfie("node ls");
        let fine = ran.code == 0 && ran.stderr.is_empty();
        fine.then_some(()).ok_or_else(|| ran.to_string())
    });
    assert_eq!(pids(), before, "nothing was touched");
    cluster.host(0).wharfie("-p app down").succeeds();
}

#[test]
fn a_join_over_a_slow_line_takes_its_time_and_ends_well() {
    let mut cluster = Cluster::nodes(3);
    cluster.init(0);
    for (host, role) in [(1, Role::Worker), (2, Role::Manager)] {
        cluster.slow_down(host, 100);
        cluster.join(host, 0, role);
    }
    cluster.within(secs(120), "both are there, and the manager votes", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let there = nodes.iter().filter(|it| it.status == "Ready").count() == 3;
        let votes = nodes.iter().any(|it| it.manager == "Reachable");
        (there && votes)
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}"))
    });
    cluster.speed_up(1);
    cluster.speed_up(2);
    is_obeyed(&cluster, 2, "joined");
    cluster.kill(0);
    cluster.start(0);
    cluster.wait_until_ready();
}
