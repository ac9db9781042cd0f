//! A cluster from one seed: real control planes on simulated hosts, disks, clocks and networks, and
//! everything that can go wrong with them.
//!
//!     WHARFIE_SEEDS=100000 cargo test -p agent --test simulation    # more of them
//!     WHARFIE_SEED=42      cargo test -p agent --test simulation    # one again, with its trace
//!     WHARFIE_FIRST_SEED=500 WHARFIE_SEEDS=500 …                    # others
//!
//! The managers are the program's own code, and so is everything they decide, and so are the node
//! loops, each in a runtime whose clock stands still until the world lets it go on (`node.rs`). Made
//! up are disks, the network, what a session carries, and what a kernel does (`machine.rs`). The rules
//! are in `rules.rs`, `takeover.rs` and `rest.rs`; that they can fail is tested, too, by breaking some
//! of them on purpose.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod chance;
mod faults;
mod lasting;
mod machine;
mod member;
mod node;
mod rest;
mod rules;
mod takeover;
mod wishes;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rules::Rule;
use world::{Summary, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 500;
/// An ordinary run begins no further seed after this time: the machine may be busy.
const ENOUGH: Duration = Duration::from_secs(110);

/// Runs a seed; what went wrong, with what happened before.
fn run(seed: u64, broken: Option<Rule>) -> Result<Summary, String> {
    let mut world = World::new(seed, broken);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let wrong = match result {
        Ok(Ok(summary)) => return Ok(summary),
        Ok(Err(wrong)) => wrong,
        Err(_) => "a panic".to_owned(),
    };
    let trace: Vec<String> = world.trace.into_iter().collect();
    let (second, trace) = (world.now / 1_000_000, trace.join("\n"));
    Err(format!("seed {seed}, second {second}: {wrong}\n{trace}"))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds on all cores until one fails, or the time is over. Returns what all of them were like
/// together. Of a rule that is broken on purpose only what is expected counts as a failure: a node
/// that leaves twice, say, has other consequences, too.
fn run_all(
    seeds: std::ops::Range<u64>,
    limit: Duration,
    broken: Option<(Rule, &str)>,
) -> Result<Summary, String> {
    let begin = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Ok(Summary::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let over = seed >= seeds.end || begin.elapsed() > limit;
            if over || total.lock().unwrap().is_err() {
                return;
            }
            let result = run(seed, broken.map(|(rule, _)| rule));
            let mut total = total.lock().unwrap();
            match (result, &mut *total) {
                (Ok(one), Ok(sum)) => sum.add(one),
                (Err(wrong), Ok(_)) if !broken.is_none_or(|(_, it)| wrong.contains(it)) => {}
                (Err(wrong), Ok(_)) => *total = Err(wrong),
                (_, Err(_)) => {}
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap()
}

#[test]
fn every_rule_holds_whatever_goes_wrong() {
    let begin = Instant::now();
    if let Some(seed) = number("WHARFIE_SEED") {
        match run(seed, None) {
            Ok(summary) => eprintln!("{summary:#?}"),
            Err(wrong) => panic!("{wrong}"),
        }
        return;
    }
    let wanted = number("WHARFIE_SEEDS");
    let limit = wanted.map_or(ENOUGH, |_| Duration::MAX);
    let first = number("WHARFIE_FIRST_SEED").unwrap_or(0);
    match run_all(first..first + wanted.unwrap_or(SEEDS), limit, None) {
        Ok(summary) => {
            let count = summary.seeds;
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            eprintln!("{count} seeds, {rate:.1} a second: {summary:?}");
        }
        Err(wrong) => panic!("{wrong}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, other) = (run(7, None).unwrap(), run(7, None).unwrap());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn writes_are_accepted_again_soon_after_the_leader_has_died() {
    let times = (0..20).map(|seed| World::new(seed, None).failover().unwrap());
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    let (half, most) = (times[times.len() / 2] / 1000, times[times.len() - 1] / 1000);
    eprintln!("writes are accepted again after {half} ms, {most} ms at most");
    assert!(most <= 1500, "{most} ms");
}

/// A seed that has found something.
#[track_caller]
fn check_good(seed: u64) {
    if let Err(wrong) = run(seed, None) {
        panic!("{wrong}");
    }
}

#[test]
fn nobody_stands_for_election_while_the_state_it_was_sent_is_not_on_disk() {
    check_good(222);
}

#[test]
fn an_update_that_turns_to_fewer_at_a_time_takes_no_more_away_at_once() {
    check_good(126);
}

#[test]
fn an_update_that_turns_to_start_first_keeps_what_serves_until_the_next_one_does() {
    check_good(10);
}

/// Breaks a rule on purpose: among so many seeds one must notice.
#[track_caller]
fn check_noticed(broken: Rule, expected: &str) {
    let noticed = run_all(0..200, Duration::MAX, Some((broken, expected)));
    assert!(noticed.is_err(), "nobody notices");
}

#[test]
fn a_disk_that_lies_is_noticed() {
    check_noticed(Rule::WaitForTheDisk, "seed ");
}

#[test]
fn a_command_that_is_carried_out_twice_is_noticed() {
    check_noticed(Rule::KeepTheId, "was carried out twice");
}

#[test]
fn a_node_that_obeys_the_old_is_noticed() {
    check_noticed(Rule::RefuseTheOld, "went back from");
}
