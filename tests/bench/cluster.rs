//! A cluster of three managers and a worker, measured: `cargo bench --bench cluster`.
//!
//! Hosts made of namespaces on this machine, each with a node. Printed are medians, the least and the
//! most: how long one container takes to become fifty on the three managers, on an overlay network;
//! the memory of the managers' processes then; how long after the leader's death the others accept a
//! change; how long after a worker's machine is gone that is known, and from then on until what it
//! ran runs elsewhere.
//!
//! `RUNS=n` sets how often it is scaled (5); what is lost is lost four times as often.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support.rs"]
mod support;

use std::time::{Duration, Instant};

use support::cluster::{Cluster, secs};

/// Long enough for a node to see that nothing happens any more.
const REST: Duration = Duration::from_secs(5);

/// The overlay network is the stack's own.
const MANY: &str = "
services:
  web:
    image: busybox:1.35
    command: sleep 1000000
    stop_signal: SIGKILL
    restart: always
    deploy: {placement: {constraints: [node.role == manager]}}
";

/// Spread over all four: two on each.
const SPREAD: &str = "
services:
  web:
    image: busybox:1.35
    command: sleep 1000000
    stop_signal: SIGKILL
    restart: always
    deploy: {replicas: 8}
";

fn main() {
    let runs: usize =
        std::env::var("RUNS").map_or(5, |runs| runs.parse().expect("RUNS is a number"));
    let mut cluster = Cluster::of(3, 1);
    cluster.host(0).compose("many", MANY, "up -d").succeeds();
    let times: Vec<Duration> = (0..runs).map(|_| scale(&cluster)).collect();
    print("1 to 50 containers on three hosts, until all run", &times);
    memory(&cluster, "at once");
    std::thread::sleep(REST);
    memory(&cluster, "at rest");
    cluster.host(0).wharfie("-p many down").succeeds();

    let losses = 4 * runs;
    let times: Vec<Duration> = (0..losses).map(|run| failover(&mut cluster, run)).collect();
    print(
        "the leader is killed: until another accepts a change",
        &times,
    );
    let times: Vec<_> = (0..losses).map(|_| lost_worker(&mut cluster)).collect();
    let (known, replaced): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    print(
        "a worker's machine is gone: until it counts as down",
        &known,
    );
    print("  from then on until all runs elsewhere", &replaced);
    cluster.host(0).wharfie("-p spread down").succeeds();
}

fn scale(cluster: &Cluster) -> Duration {
    let to = |replicas: &str| {
        let words = format!("scale web={replicas}");
        cluster.host(0).compose("many", MANY, &words).succeeds()
    };
    to("1");
    let began = Instant::now();
    to("50");
    began.elapsed()
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

/// Two of eight containers are on the worker.
fn lost_worker(cluster: &mut Cluster) -> (Duration, Duration) {
    let words = "up -d --force-recreate";
    cluster.host(0).compose("spread", SPREAD, words).succeeds();
    cluster.power_off(3);
    let (_, known) = cluster.within(secs(60), "it is known", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let down = nodes.iter().any(|node| node.status == "Down");
        down.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    let (_, replaced) = cluster.within(secs(60), "all run again", || {
        let format = "{{.Node}}:{{.State}}";
        let words = format!("-p spread ps --format {format}");
        let shown = cluster.host(0).wharfie(&words).stdout;
        let run = shown.lines().filter(|line| line.ends_with(":running"));
        let elsewhere = run.filter(|line| !line.starts_with("node3:")).count();
        (elsewhere == 8).then_some(()).ok_or(shown)
    });
    cluster.power_on(3);
    cluster.wait_until_ready();
    (known, replaced)
}

/// The processes of the managers: what is resident, what of it nobody else can have (`RssAnon`; the
/// rest is our program and the C library, of which the system keeps one copy for all), and the fair
/// share of everything (proc_pid_status(5), proc_pid_smaps(5)).
fn memory(cluster: &Cluster, when: &str) {
    for index in 0..3 {
        let pid = cluster.host(index).agent_pid();
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.unwrap().split_whitespace().next().unwrap();
            kilobytes.parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        println!(
            "  memory of manager {index} {when}: {:.1} MB resident, {:.1} MB of it anonymous; share {:.1} MB",
            field("status", "VmRSS:"),
            field("status", "RssAnon:"),
            field("smaps_rollup", "Pss:"),
        );
    }
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
