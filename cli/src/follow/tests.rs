use scheduler::model::time::Timestamp;
use scheduler::status::RolloutStatus;

use super::*;
use crate::progress::tests::stack;

#[track_caller]
fn check(want: Want, services: &[&str], picture: &str, expected: &str) {
    let services: Vec<String> = services.iter().map(|&it| it.to_owned()).collect();
    let verdict = match reached(&stack(picture), &services, want) {
        Verdict::NotYet => "not yet".to_owned(),
        Verdict::Reached => "reached".to_owned(),
        Verdict::Failed(names) => format!("failed: {}", names.join(", ")),
    };
    assert_eq!(verdict, expected);
}

#[test]
fn up_is_over_when_all_have_started() {
    check(Want::Started, &[], "web:starting/progressing", "not yet");
    check(Want::Started, &[], "web:running", "reached");
    check(
        Want::Started,
        &[],
        "db:running! web:pending/waiting",
        "not yet",
    );
    check(Want::Started, &[], "job:complete", "reached");
}

#[test]
fn health_counts_only_when_it_is_waited_for() {
    check(Want::Started, &[], "db:running!", "reached");
    check(Want::Healthy, &[], "db:running!", "not yet");
    check(Want::Healthy, &[], "db:running+", "reached");
}

#[test]
fn services_that_were_not_asked_for_do_not_count() {
    check(
        Want::Started,
        &["web"],
        "db:starting/progressing web:running",
        "reached",
    );
}

#[test]
fn a_failure_ends_the_waiting_for_all() {
    check(
        Want::Started,
        &[],
        "db:failed/failed web:pending/waiting",
        "failed: db",
    );
}

/// The verdict on `job`, which has failed in this way; its update has come so far.
#[track_caller]
fn check_fault(want: Want, fault: Option<Fault>, phase: Option<RolloutPhase>, expected: &str) {
    let mut stack = stack("job:failed/failed db:running");
    let job = stack.services.iter_mut().find(|it| it.name == "job");
    let job = job.unwrap();
    job.wanted = 1;
    job.rollout = phase.map(|phase| RolloutStatus {
        phase,
        reason: String::new(),
        started_at: Timestamp::EPOCH,
        ended_at: None,
        updated: 0,
        total: 1,
        text: String::new(),
    });
    job.containers[0].fault = fault;
    let verdict = match reached(&stack, &[], want) {
        Verdict::NotYet => "not yet",
        Verdict::Reached => "reached",
        Verdict::Failed(_) => "failed",
    };
    assert_eq!(verdict, expected);
}

#[test]
fn a_program_that_ends_with_an_error_has_been_started() {
    let program = Some(Fault::Program);
    check_fault(Want::Started, program, None, "reached");
    check_fault(Want::Created, program, None, "reached");
    check_fault(Want::Healthy, program, None, "failed");
    check_fault(Want::Started, Some(Fault::Start), None, "failed");
    check_fault(Want::Started, Some(Fault::Hook), None, "failed");
    // A node of the version before.
    check_fault(Want::Started, None, None, "failed");
    let paused = Some(RolloutPhase::Paused);
    check_fault(Want::Started, program, paused, "failed");
    let updating = Some(RolloutPhase::Updating);
    check_fault(Want::Started, program, updating, "failed");
    let completed = Some(RolloutPhase::Completed);
    check_fault(Want::Started, program, completed, "reached");
}

#[test]
fn what_is_leaving_is_waited_for() {
    check(
        Want::Started,
        &[],
        "web:running old:xrunning/removing",
        "not yet",
    );
}

#[test]
fn stopped_is_when_nothing_runs() {
    assert_eq!(
        stopped(&stack("web:shutdown db:running"), &[]),
        Verdict::NotYet
    );
    assert_eq!(
        stopped(&stack("web:shutdown db:running"), &["web".to_owned()]),
        Verdict::Reached
    );
}
