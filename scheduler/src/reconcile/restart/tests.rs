use super::*;
use crate::control_plane::tests::world::World;
use crate::model::service::RestartCondition::{Always, Never, OnFailure, UnlessStopped};
use crate::model::task::TaskState::{Complete, Failed, Rejected, Shutdown};
use crate::model::task::TaskStatus;

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
    let found = match restart(&policy, task) {
        None => "stays".to_owned(),
        Some(Cause::Policy {
            failures,
            start_after,
        }) => {
            let end = task.status.finished_at.unwrap();
            format!("{failures} in a row, after {:?}", start_after.since(end))
        }
        Some(Cause::Person(_)) => "a person".to_owned(),
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
