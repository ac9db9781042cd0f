use scheduler::model::task::{DesiredState, Fault};
use scheduler::model::time::Timestamp;

use super::{Activity, ended, status};
use crate::container::Exit;
use crate::host::{Means, Observed, Phase, SeenContainer, Stopping};
use crate::plan::drawing;

/// A container whose task 1 has the phase; what is said of it, as `State: reason`.
#[track_caller]
fn check(desired: DesiredState, seen: Option<SeenContainer>, expected: &str) {
    let task = drawing::task("web:1", desired);
    let mut observed = Observed::default();
    observed
        .containers
        .extend(seen.map(|seen| (task.container.clone(), seen)));
    let said = status(&task, &observed, Activity::Nothing, Timestamp::EPOCH)
        .map_or("nothing".to_owned(), |status| {
            format!("{:?}: {}", status.state, status.reason)
        });
    assert_eq!(said, expected);
}

fn seen(task: &str, phase: Phase) -> Option<SeenContainer> {
    Some(SeenContainer::new(
        Some(scheduler::model::id::TaskId::new(task)),
        phase,
    ))
}

fn exit(code: i32) -> Exit {
    Exit {
        code,
        oom_killed: false,
        started_at: None,
        finished_at: Timestamp::EPOCH,
        error: None,
    }
}

/// What has failed, of a run that ended so.
#[track_caller]
fn check_fault(exit: Exit, expected: Option<Fault>) {
    let task = drawing::task("web:1", DesiredState::Running);
    let own = seen("web:1", Phase::Released(exit)).unwrap();
    assert_eq!(ended(&task, &own).unwrap().fault, expected);
}

#[test]
fn a_failure_says_whether_it_is_that_of_the_program() {
    let started_at = Some(Timestamp::EPOCH);
    let error = Some("no such table".to_owned());
    let ran = |code| Exit {
        started_at,
        ..exit(code)
    };
    check_fault(ran(0), None);
    check_fault(ran(3), Some(Fault::Program));
    let by_hook = Exit {
        error: error.clone(),
        ..ran(143)
    };
    check_fault(by_hook, Some(Fault::Hook));
    check_fault(Exit { error, ..exit(127) }, Some(Fault::Start));
}

#[test]
fn an_end_is_told_by_how_it_came() {
    let running = DesiredState::Running;
    check(
        running,
        seen("web:1", Phase::Released(exit(0))),
        "Complete: completed",
    );
    check(
        running,
        seen("web:1", Phase::Released(exit(3))),
        "Failed: exit code 3",
    );
    check(
        DesiredState::Shutdown,
        seen("web:1", Phase::Released(exit(143))),
        "Shutdown: stopped, exit code 143",
    );
    let mut told = seen("web:1", Phase::Released(exit(0)));
    told.as_mut().unwrap().stop = Some(Stopping {
        since: Timestamp::EPOCH,
        signal: None,
        by: Means::Signal,
    });
    check(running, told, "Shutdown: stopped, exit code 0");
    let oom = Exit {
        oom_killed: true,
        ..exit(137)
    };
    check(
        running,
        seen("web:1", Phase::Released(oom)),
        "Failed: out of memory, exit code 137",
    );
}

#[test]
fn an_end_is_told_only_when_everything_is_given_back() {
    check(
        DesiredState::Running,
        seen("web:1", Phase::Ended(exit(0))),
        "nothing",
    );
    check(
        DesiredState::Shutdown,
        seen("web:0", Phase::Ended(exit(0))),
        "nothing",
    );
}

#[test]
fn a_task_that_never_ran_can_end() {
    check(
        DesiredState::Shutdown,
        None,
        "Shutdown: ended before it was started",
    );
    check(
        DesiredState::Remove,
        seen("web:1", Phase::Prepared),
        "Shutdown: ended before it was started",
    );
    check(
        DesiredState::Shutdown,
        seen("web:0", Phase::Released(exit(0))),
        "Shutdown: ended before it was started",
    );
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    check(DesiredState::Running, None, "nothing");
    check(
        DesiredState::Running,
        seen("web:0", Phase::Released(exit(0))),
        "nothing",
    );
    check(
        DesiredState::Running,
        seen(
            "web:1",
            Phase::Found {
                started_at: Timestamp::EPOCH,
            },
        ),
        "nothing",
    );
}
