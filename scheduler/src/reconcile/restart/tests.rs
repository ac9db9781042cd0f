use super::*;
use crate::control_plane::Input;
use crate::control_plane::tests::world::{Fate, World, node};
use crate::model::service::RestartCondition::{Always, Never, OnFailure, UnlessStopped};
use crate::model::task::TaskState::{Complete, Failed, Rejected, Shutdown};
use crate::report::{Report, Rerun};

/// A run that ended after `ran` seconds, as the `runs`-th restart with `failures` in a row.
fn ended(state: TaskState, ran: u64, restarts: u32, failures: u32) -> Task {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    let task = world.plane.state().tasks.values().next().unwrap();
    let mut task = (**task).clone();
    let start = Timestamp::from_nanos(0);
    let end = start.plus(Duration::from_secs(ran));
    task.status = TaskStatus {
        started_at: Some(start),
        finished_at: Some(end),
        ..TaskStatus::new(state, end, "ended")
    };
    task.restarts = restarts;
    task.failures = failures;
    task
}

#[track_caller]
fn check(condition: RestartCondition, max_attempts: u32, task: &Task, expected: &str) {
    let policy = RestartPolicy {
        condition,
        max_attempts,
        ..RestartPolicy::default()
    };
    let tally = Tally {
        restarts: task.restarts,
        failures: task.failures,
    };
    let found = match restart(&policy, &task.status, tally) {
        None => "stays".to_owned(),
        Some(Again {
            failures,
            start_after,
        }) => {
            let end = task.status.finished_at.unwrap();
            format!("{failures} in a row, after {:?}", start_after.since(end))
        }
    };
    assert_eq!(found, expected);
}

#[test]
fn the_policy_decides_by_how_it_ended() {
    let first = "1 in a row, after 100ms";
    check(Never, 0, &ended(Failed, 0, 0, 0), "stays");
    check(OnFailure, 0, &ended(Complete, 0, 0, 0), "stays");
    check(OnFailure, 0, &ended(Shutdown, 0, 0, 0), "stays");
    check(OnFailure, 0, &ended(Failed, 0, 0, 0), first);
    check(Always, 0, &ended(Complete, 0, 0, 0), first);
    check(UnlessStopped, 0, &ended(Shutdown, 0, 0, 0), first);
}

#[test]
fn waits_double_up_to_a_minute_and_a_good_run_begins_anew() {
    check(
        Always,
        0,
        &ended(Failed, 1, 3, 3),
        "4 in a row, after 800ms",
    );
    check(
        Always,
        0,
        &ended(Failed, 1, 9, 9),
        "10 in a row, after 51.2s",
    );
    check(
        Always,
        0,
        &ended(Failed, 1, 40, 40),
        "41 in a row, after 60s",
    );
    check(
        Always,
        0,
        &ended(Failed, 10, 40, 40),
        "1 in a row, after 100ms",
    );
}

#[test]
fn a_window_says_how_long_a_good_run_is() {
    let policy = RestartPolicy {
        condition: OnFailure,
        max_attempts: 2,
        window: Duration::from_secs(3),
        ..RestartPolicy::default()
    };
    let tally = Tally {
        restarts: 7,
        failures: 2,
    };
    let after = |ran| restart(&policy, &ended(Failed, ran, 0, 0).status, tally);
    assert_eq!(after(2), None, "two attempts in a row were not enough");
    assert_eq!(after(3).map(|it| it.failures), Some(1));
}

/// What becomes of a service that is found unhealthy.
#[track_caller]
fn check_ill(drawing: &str, trace: &str, tasks: &str) {
    let mut world = World::new();
    world.fate("web", Fate::Health(HealthStatus::Healthy));
    world.up(drawing).unwrap();
    world.settle();
    world.take_trace();
    world.fate("web", Fate::Health(HealthStatus::Unhealthy));
    world.round();
    world.round();
    world.fate("web", Fate::Health(HealthStatus::Healthy));
    world.wait(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.take_trace(), trace);
    assert_eq!(world.tasks(), tasks);
}

#[test]
fn what_is_unhealthy_is_ended_and_run_again_where_its_policy_says_so() {
    check_ill(
        "web v1 restart always",
        "stop shop-web-1 | prepare shop-web-1 | start shop-web-1",
        "web.1 running",
    );
    check_ill("web v1", "", "web.1 running");
}

#[test]
fn attempts_are_counted() {
    check(
        OnFailure,
        3,
        &ended(Failed, 0, 2, 2),
        "3 in a row, after 400ms",
    );
    check(OnFailure, 3, &ended(Failed, 0, 3, 3), "stays");
}

#[test]
fn what_could_not_be_started_is_not_tried_again_unless_it_ran_before() {
    check(Always, 0, &ended(Rejected, 0, 0, 0), "stays");
    check(
        Always,
        0,
        &ended(Rejected, 0, 1, 1),
        "2 in a row, after 200ms",
    );
}

/// What a node says after a time alone: it has started the container again by itself.
fn ran_again(world: &mut World, tally: Tally) {
    let task = world.assignment.tasks[0].clone();
    let status = TaskStatus {
        pid: Some(4711),
        ..world.plane.state().tasks[&task.id].status.clone()
    };
    let report = Report {
        tasks: vec![(task.id.clone(), status)],
        reruns: vec![Rerun {
            task: task.id.clone(),
            tally,
        }],
        ..Report::default()
    };
    world.input(Input::Report {
        node: node(),
        report,
    });
}

#[test]
fn what_a_node_restarted_while_it_was_alone_counts_and_is_not_started_once_more() {
    let mut world = World::new();
    world.up("web v1 restart always").unwrap();
    world.settle();
    let tally = Tally {
        restarts: 5,
        failures: 5,
    };
    ran_again(&mut world, tally);
    let tasks: Vec<_> = world.plane.state().tasks.values().cloned().collect();
    assert_eq!(tasks.len(), 1);
    let task = tasks[0].clone();
    assert_eq!((task.restarts, task.failures), (5, 5));
    assert_eq!(task.status.pid, Some(4711));
    assert_eq!(world.assignment.tasks[0].restarts, 5);

    let name = task.name.clone();
    world.crash(&name, 1);
    let last = world.plane.state().tasks.values().next_back().unwrap();
    assert_eq!((last.restarts, last.failures), (6, 6));
    // An older tally changes nothing.
    ran_again(&mut world, Tally::default());
    let last = world.plane.state().tasks.values().next_back().unwrap();
    assert_eq!(last.restarts, 6);
}

#[test]
fn a_clock_that_was_set_back_holds_nobody_back() {
    let policy = RestartPolicy::default();
    let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
    assert!(is_early(&policy, at(1010), at(1000)));
    assert!(!is_early(&policy, at(1000), at(1000)));
    assert!(!is_early(&policy, at(999), at(1000)));
    assert!(!is_early(&policy, at(4600), at(1000)), "an hour");
    let slow = RestartPolicy {
        delay: Duration::from_secs(7200),
        ..policy
    };
    assert!(is_early(&slow, at(4600), at(1000)), "as long as it wants");
}
