//! Addresses change: leases end, machines are moved. Who a node is says its certificate.

use std::fmt::Write as _;

use crate::support::cluster::{Cluster, SeenNode, secs};

/// A service on each host, `at0`, `at1`, …, which says its name to whoever asks.
fn one_on_each(hosts: usize) -> String {
    let mut file = String::from("services:\n");
    for host in 0..hosts {
        let _ = write!(
            file,
            "  at{host}:\n    image: busybox:1.35\n    init: true\n    restart: always\n    \
             command: sh -c 'mkdir -p /www && echo at{host} >/www/index.html && exec httpd -f -p 80 -h /www'\n    \
             deploy:\n      placement:\n        constraints: [node.hostname == node{host}]\n"
        );
    }
    file
}

/// Takes the host's address away and gives it another one.
fn readdress(cluster: &Cluster, host: usize, from: &str, to: &str) {
    cluster
        .host(host)
        .shell(&format!(
            "ip addr del {from}/24 dev cable0 && ip addr add {to}/24 dev cable0 \
             && ip route replace default via 10.77.0.254"
        ))
        .succeeds();
}

/// Everybody is ready, and the host is known at this address, as a manager sees it.
#[track_caller]
fn settles(cluster: &Cluster, by: usize, host: usize, address: &str) {
    let name = cluster.name(host);
    cluster.within(secs(120), "the cluster heals", || {
        let shown = cluster.host(by).wharfie(&format!("node inspect {name}"));
        let nodes = cluster.nodes_seen_by(by)?;
        let votes = |manager: &str| matches!(manager, "" | "Leader" | "Reachable");
        let well = nodes
            .iter()
            .all(|it| it.status == "Ready" && votes(&it.manager));
        (shown.stdout.contains(&format!("{address}:2377")) && well)
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}\n{shown}\n{}", cluster.host(host).agent_log()))
    });
}

/// The managers agree, and have heard where these are.
#[track_caller]
fn agree(cluster: &Cluster, by: usize, addresses: &[(usize, &str)]) {
    cluster.within(secs(120), "the managers agree again", || {
        for (host, address) in addresses {
            let name = cluster.name(*host);
            let shown = cluster.host(by).wharfie(&format!("node inspect {name}"));
            if shown.stderr.contains("warning") || !shown.stdout.contains(address) {
                return Err(format!("{shown}\n{}", cluster.host(by).agent_log()));
            }
        }
        let nodes = cluster.nodes_seen_by(by)?;
        let votes = |it: &&SeenNode| {
            matches!(it.manager.as_str(), "Leader" | "Reachable") && it.status == "Ready"
        };
        (nodes.iter().filter(votes).count() == 3)
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}\n{}", cluster.host(by).agent_log()))
    });
}

/// Between the containers of two hosts packets go both ways.
#[track_caller]
fn talk(cluster: &Cluster, by: usize, one: usize, other: usize) {
    for (from, to) in [(one, other), (other, one)] {
        cluster.within(secs(120), "a container is reached over the network", || {
            let asked = cluster.host(by).wharfie(&format!(
                "-p app exec -T at{from} timeout 10 wget -qO- http://at{to}/"
            ));
            (asked.stdout == format!("at{to}\n"))
                .then_some(())
                .ok_or_else(|| asked.to_string())
        });
    }
}

#[test]
fn managers_and_workers_come_back_with_other_addresses() {
    let mut cluster = Cluster::of(3, 1);
    let stack = one_on_each(4);
    cluster.host(0).compose("app", &stack, "up -d").succeeds();
    talk(&cluster, 0, 2, 3);

    // A manager while it is down.
    let leader = cluster.leader().unwrap();
    let follower = (0..3).find(|host| *host != leader).unwrap();
    let asked = (0..3)
        .find(|host| *host != leader && *host != follower)
        .unwrap();
    let before = cluster.address(follower);
    cluster.kill(follower);
    readdress(&cluster, follower, &before, "10.77.0.101");
    cluster.start(follower);
    settles(&cluster, asked, follower, "10.77.0.101");
    talk(&cluster, asked, follower, 3);

    // The leader.
    let before = cluster.address(leader);
    cluster.kill(leader);
    readdress(&cluster, leader, &before, "10.77.0.102");
    cluster.start(leader);
    settles(&cluster, asked, leader, "10.77.0.102");
    talk(&cluster, asked, leader, follower);

    // A worker, and its process goes on meanwhile.
    readdress(&cluster, 3, "10.77.0.4", "10.77.0.103");
    settles(&cluster, asked, 3, "10.77.0.103");
    talk(&cluster, asked, 3, asked);

    // The list that nodes keep for bad days has followed: the one manager that stayed goes, and the
    // others are found where they are now.
    cluster.kill(asked);
    cluster.kill(3);
    cluster.start(3);
    cluster.within(secs(90), "the worker finds the others", || {
        let nodes = cluster.nodes_seen_by(leader)?;
        let ready = |it: &SeenNode| it.hostname == "node3" && it.status == "Ready";
        (nodes.iter().any(ready))
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}\n{}", cluster.host(3).agent_log()))
    });
    cluster.start(asked);
    settles(&cluster, leader, 3, "10.77.0.103");
    cluster.host(leader).wharfie("-p app down").succeeds();
}

#[test]
fn most_managers_move_at_once_and_a_worker_that_was_away_is_looked_for() {
    let mut cluster = Cluster::of(3, 1);
    cluster.kill(3);
    for host in 0..2 {
        cluster.kill(host);
        let before = cluster.address(host);
        readdress(&cluster, host, &before, &format!("10.77.0.20{host}"));
    }
    for host in 0..2 {
        cluster.start(host);
    }
    let moved = &[(0, "10.77.0.200"), (1, "10.77.0.201")];
    for by in 0..3 {
        agree(&cluster, by, moved);
    }
    // The last one that the worker knows moves as well, while it is away.
    cluster.kill(2);
    readdress(&cluster, 2, "10.77.0.3", "10.77.0.202");
    cluster.start(2);
    agree(&cluster, 0, &[(2, "10.77.0.202")]);
    cluster.start(3);
    settles(&cluster, 0, 2, "10.77.0.202");
}
