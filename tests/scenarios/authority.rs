//! Another certificate authority for a cluster that runs.

use crate::support::cluster::{Cluster, Role, SeenNode, secs};

/// What the tokens pin.
fn digest(cluster: &Cluster, by: usize) -> String {
    let info = cluster.host(by).wharfie("cluster info");
    let line = info
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Authority:"));
    line.unwrap_or_default().trim().to_owned()
}

fn token(cluster: &Cluster, by: usize) -> String {
    let ran = cluster.host(by).wharfie("cluster join-token -q worker");
    ran.succeeds().stdout.trim().to_owned()
}

/// No old authority is believed any more.
#[track_caller]
fn is_done(cluster: &Cluster, by: usize) {
    let socket = cluster.host(by).path("run/wharfie.sock");
    cluster.within(secs(120), "the rotation comes to its end", || {
        let ran = cluster.host(by).shell(&format!(
            "curl -sf --max-time 30 --unix-socket {} http://node/x/cluster/ca",
            socket.display()
        ));
        let view: serde_json::Value =
            serde_json::from_str(&ran.stdout).map_err(|error| error.to_string())?;
        (view["rotating"] == false)
            .then_some(())
            .ok_or_else(|| format!("{ran}\n{}", cluster.host(by).agent_log()))
    });
}

#[test]
fn an_authority_is_rotated_while_the_leader_dies_and_the_old_one_opens_nothing_any_more() {
    // Host 5 is there to join, and host 4 sleeps through all of it.
    let mut cluster = Cluster::nodes(6);
    cluster.init(0);
    for index in 1..=4 {
        let role = if index < 3 {
            Role::Manager
        } else {
            Role::Worker
        };
        cluster.join(index, 0, role);
    }
    let up = |cluster: &Cluster, by: usize, expected: usize| {
        cluster.within(secs(120), "nodes are ready", || {
            let nodes = cluster.nodes_seen_by(by)?;
            let settled = |it: &&SeenNode| {
                it.status == "Ready" && matches!(it.manager.as_str(), "" | "Leader" | "Reachable")
            };
            (nodes.iter().filter(settled).count() == expected)
                .then_some(())
                .ok_or_else(|| format!("{nodes:?}\n{}", cluster.host(by).agent_log()))
        });
    };
    up(&cluster, 0, 5);
    let root = cluster.host(0).wharfie("cluster ca").succeeds().stdout;
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
    let (before, old_token) = (digest(&cluster, 0), token(&cluster, 0));

    cluster.kill(4);
    up(&cluster, 0, 4);
    let leader = cluster.leader().unwrap();
    let asked = (leader + 1) % 3;
    // One that cannot follow now holds it up.
    cluster.freeze(3);
    cluster
        .host(asked)
        .wharfie("cluster ca --rotate --detach")
        .succeeds();
    cluster.kill(leader);
    cluster.thaw(3);
    up(&cluster, asked, 3);
    cluster.start(leader);
    up(&cluster, asked, 4);
    is_done(&cluster, asked);

    let after = digest(&cluster, asked);
    assert_ne!(before, after);
    let new_root = cluster.host(asked).wharfie("cluster ca").succeeds().stdout;
    assert_ne!(root, new_root);

    // The old token opens nothing, and it is said why; the new one does.
    let address = cluster.address(asked);
    let join = |host: usize, token: &str| {
        let own = cluster.address(host);
        cluster.host(host).wharfie(&format!(
            "join --advertise-addr {own} --token {token} {address}:2377"
        ))
    };
    let refused = join(5, &old_token);
    assert_ne!(refused.code, 0, "{refused}");
    refused.says("another authority").says("rotated");
    join(5, &token(&cluster, asked)).succeeds();
    up(&cluster, asked, 5);

    // The node that slept has a certificate that nobody believes, and comes back by its key.
    cluster.start(4);
    up(&cluster, asked, 6);
    let log = cluster.host(4).agent_log();
    assert!(log.contains("certificate is refused"), "{log}");

    // Once more, waiting for the end, and with a life of a certificate of one's own.
    let ran = cluster
        .host(asked)
        .wharfie("cluster ca --rotate --cert-expiry 48h")
        .succeeds();
    ran.says("rotated certificates: 6 of 6 nodes")
        .says("-----BEGIN CERTIFICATE-----");
    is_done(&cluster, asked);
    up(&cluster, asked, 6);
    let refused = cluster
        .host(asked)
        .wharfie("cluster update --task-history-limit 3");
    assert_ne!(refused.code, 0);
    refused.says("--task-history-limit is not supported");
    cluster
        .host(asked)
        .wharfie("cluster update --dispatcher-heartbeat 2s")
        .succeeds();
}
