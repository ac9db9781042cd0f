//! A manager's disk is full, and the cluster goes on without it until there is room.

use crate::support::Ran;
use crate::support::cluster::{Cluster, secs};

/// Something that takes room in the log of decisions: each of them a tenth of a megabyte.
fn write(cluster: &Cluster, by: usize, number: usize) -> Ran {
    let host = cluster.host(by);
    let label = "x".repeat(100_000);
    let text = serde_json::json!({ "Name": format!("v{number}"), "Labels": { "big": label } });
    let body = host.path("volume.json");
    std::fs::write(&body, text.to_string()).unwrap();
    host.shell(&format!(
        "curl -sS --fail-with-body --max-time 40 -X POST -H 'Content-Type: application/json' \
         --data @{} --unix-socket {} http://node/volumes/create",
        body.display(),
        host.path("run/wharfie.sock").display()
    ))
}

/// What the host says of another one's part among the managers.
fn manager(cluster: &Cluster, by: usize, of: usize) -> Result<String, String> {
    let nodes = cluster.nodes_seen_by(by)?;
    let name = cluster.name(of);
    let found = nodes.into_iter().find(|node| node.hostname == name);
    found.map(|node| node.manager).ok_or("no such node".into())
}

/// Writes until something has happened; every write must be accepted. Returns how many there were.
#[track_caller]
fn write_until(
    cluster: &Cluster,
    by: usize,
    numbers: std::ops::Range<usize>,
    what: &str,
    happened: impl Fn() -> bool,
) -> usize {
    let end = numbers.end;
    for number in numbers {
        write(cluster, by, number).succeeds();
        if happened() {
            return number + 1;
        }
    }
    panic!("{what}: not after {end} writes");
}

#[test]
fn managers_with_full_disks_make_way_and_are_back_when_there_is_room() {
    let cluster = Cluster::with_small_disks(3, 0);
    let leader = cluster.leader().unwrap();
    let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);

    cluster.fill_disk(follower);
    let is_gone = || manager(&cluster, leader, follower) == Ok("Unreachable".to_owned());
    let written = write_until(&cluster, third, 0..60, "the follower falls behind", is_gone);
    eprintln!("{written} writes until the follower's disk was full");
    cluster.free_disk(follower);
    cluster.within(secs(60), "the follower is back", || {
        let seen = manager(&cluster, leader, follower)?;
        (seen == "Reachable").then_some(()).ok_or(seen)
    });

    cluster.fill_disk(leader);
    let is_followed = || cluster.leader_seen_by(third).is_some_and(|it| it != leader);
    let numbers = written..written + 60;
    let written = write_until(
        &cluster,
        third,
        numbers,
        "the leader makes way",
        is_followed,
    );
    eprintln!("{written} writes until another one led");
    write(&cluster, third, written).succeeds();
    // Whoever asks the one without room is told.
    let refused = write(&cluster, leader, written + 1);
    assert_ne!(refused.code, 0, "{refused}");
    refused.says("no room");

    cluster.free_disk(leader);
    cluster.within(secs(60), "the leader of before has caught up", || {
        let ran = cluster.host(leader).wharfie("volume ls -q");
        let count = ran.stdout.lines().count();
        (count == written + 1)
            .then_some(())
            .ok_or_else(|| format!("{ran} {}", cluster.host(leader).agent_log()))
    });
    cluster.wait_until_ready();
    write(&cluster, leader, written + 1).succeeds();
}
