//! What one manager has confirmed every other one shows, and nobody shows the past as the present.

use crate::support::cluster::{Cluster, secs};

#[test]
fn what_one_manager_has_confirmed_every_other_one_shows_at_once() {
    let cluster = Cluster::of(3, 0);
    for round in 0..30 {
        let (by, other) = (round % 3, (round + 1) % 3);
        let change = format!("node update --label-add round=r{round}x node0");
        cluster.within(secs(90), "it is confirmed", || {
            let ran = cluster.host(by).wharfie(&change);
            (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
        });
        let shown = cluster.host(other).wharfie("node inspect node0").succeeds();
        shown.never_says("warning").says(&format!("\"r{round}x\""));
    }
}

#[test]
fn a_leader_that_is_cut_off_says_that_its_news_are_old() {
    let mut cluster = Cluster::of(3, 0);
    let label = |by: usize, value: &str| {
        let change = format!("node update --label-add value={value} node0");
        cluster.within(secs(90), "it is confirmed", || {
            let ran = cluster.host(by).wharfie(&change);
            (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
        });
    };
    label(0, "before");
    let leader = cluster.leader().unwrap();
    let other = (leader + 1) % 3;
    // Its process stands still while the others go on: it awakes believing that it leads.
    cluster.freeze(leader);
    cluster.isolate(leader);
    label(other, "after");
    cluster.thaw(leader);
    for _ in 0..5 {
        let shown = cluster.host(leader).wharfie("node inspect node0");
        if shown.code == 0 {
            shown.says("warning: no majority").says("\"before\"");
        }
    }
    let docker = cluster.host(leader).shell(&format!(
        "curl -s --max-time 30 --unix-socket {} -o /dev/null -w '%{{http_code}}' http://node/containers/json",
        cluster.host(leader).path("run/wharfie.sock").display()
    ));
    assert_eq!(docker.stdout, "503", "{docker}");
    cluster.heal();
    cluster.within(secs(90), "it follows again", || {
        let shown = cluster.host(leader).wharfie("node inspect node0");
        let fresh = shown.stdout.contains("\"after\"") && !shown.stderr.contains("warning");
        fresh.then_some(()).ok_or_else(|| shown.to_string())
    });
    // Without a majority there is still something to be seen.
    for host in (0..3).filter(|host| *host != leader) {
        cluster.kill(host);
    }
    let shown = cluster.within(secs(90), "what was known last is shown", || {
        let shown = cluster.host(leader).wharfie("node inspect node0");
        let old = shown.stdout.contains("\"after\"") && shown.stderr.contains("warning");
        old.then_some(shown.stderr.clone())
            .ok_or_else(|| shown.to_string())
    });
    assert_eq!(shown.0.matches("warning").count(), 1, "{}", shown.0);
}
