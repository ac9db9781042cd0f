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
