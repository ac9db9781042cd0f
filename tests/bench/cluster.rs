//! A cluster of three managers, measured: `cargo bench --bench cluster`.
//!
//! Three hosts made of namespaces on this machine, each with a node. Printed are medians, the least and
//! the most: how long one container takes to become fifty on an overlay network; how long after the
//! leader's death the others accept a change, and how long after a worker's machine is gone its
//! container runs elsewhere; and the memory of the managers' processes.
//!
//! `RUNS=n` sets how often each is measured (5).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support.rs"]
mod support;

use std::time::{Duration, Instant};

use support::cluster::{Cluster, secs};

const FILE: &str = "
services:
  web:
    image: busybox:1.35
    command: sleep 1000000
    stop_signal: SIGKILL
    restart: always
";

fn main() {
    let runs: usize =
        std::env::var("RUNS").map_or(5, |runs| runs.parse().expect("RUNS is a number"));
    let mut cluster = Cluster::of(3, 1);
    cluster.host(0).compose("app", FILE, "up -d").succeeds();

    let times: Vec<Duration> = (0..runs)
        .map(|_| {
            cluster
                .host(0)
                .compose("app", FILE, "scale web=1")
                .succeeds();
            let began = Instant::now();
            cluster
                .host(0)
                .compose("app", FILE, "scale web=50")
                .succeeds();
            began.elapsed()
        })
        .collect();
    print("1 to 50 containers on four hosts, until all run", &times);
    for index in 0..3 {
        println!(
            "  memory of manager {index}: {} MB",
            resident(&cluster, index) / 1_000_000
        );
    }
    cluster
        .host(0)
        .compose("app", FILE, "scale web=4")
        .succeeds();

    let times: Vec<Duration> = (0..runs).map(|run| failover(&mut cluster, run)).collect();
    print(
        "the leader is killed: until another accepts a change",
        &times,
    );

    let times: Vec<Duration> = (0..runs).map(|_| lost_worker(&mut cluster)).collect();
    print(
        "a worker's machine is gone: until its container runs elsewhere",
        &times,
    );
    cluster.host(0).wharfie("-p app down").succeeds();
}

fn failover(cluster: &mut Cluster, run: usize) -> Duration {
    let (leader, _) = cluster.within(secs(60), "somebody leads", || {
        cluster.leader().ok_or_else(|| "nobody".to_owned())
    });
    let other = (leader + 1) % 3;
    cluster.kill(leader);
    let change = format!("node update --label-add run={run} node3");
    let (_, took) = cluster.within(secs(60), "a change is accepted", || {
        let ran = cluster.host(other).wharfie(&change);
        (ran.code == 0).then_some(()).ok_or_else(|| ran.to_string())
    });
    cluster.start(leader);
    cluster.wait_until_ready();
    took
}

/// One container is on the worker, which has four of them to share with three managers.
fn lost_worker(cluster: &mut Cluster) -> Duration {
    cluster
        .host(0)
        .compose("app", FILE, "up -d --force-recreate --scale web=8")
        .succeeds();
    cluster.power_off(3);
    let (_, took) = cluster.within(secs(60), "all run again", || {
        let shown = cluster.host(0).wharfie("-p app ps --format json").stdout;
        let running = shown
            .lines()
            .filter(|line| {
                !line.contains("\"Node\":\"node3\"") && line.contains("\"State\":\"running\"")
            })
            .count();
        (running == 8).then_some(()).ok_or(shown)
    });
    cluster.power_on(3);
    cluster.wait_until_ready();
    took
}

/// Bytes, as `/proc/PID/status` says (proc_pid_status(5)).
fn resident(cluster: &Cluster, index: usize) -> u64 {
    let path = format!("/proc/{}/status", cluster.host(index).agent_pid());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kilobytes * 1024
}

fn print(what: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort();
    let shown = |index: usize| format!("{:.2} s", sorted[index].as_secs_f64());
    let last = sorted.len() - 1;
    println!(
        "{what}: {} (least {}, most {}, {} runs)",
        shown(last / 2),
        shown(0),
        shown(last),
        sorted.len()
    );
}
