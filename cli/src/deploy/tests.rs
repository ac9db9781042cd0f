use scheduler::model::service::{Dependency, DependencyCondition, ServiceSpec};

use super::*;
use crate::progress::tests::stack;

#[test]
fn the_story_names_the_container_its_code_and_who_waited() {
    let status = stack("db:failed/failed web:pending/waiting");
    assert_eq!(
        story(&["db".to_owned()], &status),
        "service db failed: container shop-db-1 exited with code 3; web was waiting for it"
    );
}

#[test]
fn one_that_failed_because_of_another_is_not_told_twice() {
    let status = stack("db:failed/failed web:pending/failed");
    assert_eq!(
        story(&["db".to_owned(), "web".to_owned()], &status),
        "service db failed: container shop-db-1 exited with code 3; web was waiting for it"
    );
}

#[test]
fn a_container_that_never_ran_has_a_reason() {
    let status = stack("db:rejected/failed");
    assert_eq!(
        story(&["db".to_owned()], &status),
        "service db failed: container shop-db-1: it broke"
    );
}

#[test]
fn a_service_brings_what_it_needs() {
    let dependency = Dependency {
        condition: DependencyCondition::ServiceStarted,
        restart: false,
        required: true,
    };
    let service = |needs: &[&str]| ServiceSpec {
        depends_on: needs
            .iter()
            .map(|&it| (it.to_owned(), dependency))
            .collect(),
        ..ServiceSpec::default()
    };
    let mut stack = Stack::default();
    for (name, needs) in [
        ("web", &["api"][..]),
        ("api", &["db"]),
        ("db", &[]),
        ("other", &[]),
    ] {
        stack.services.insert(name.to_owned(), service(needs));
    }
    assert_eq!(
        with_dependencies(&stack, &["web".to_owned()]),
        ["api", "db", "web"]
    );
    assert_eq!(with_dependencies(&stack, &[]).len(), 4);
}
