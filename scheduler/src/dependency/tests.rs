use super::*;
use crate::model::service::{Dependency, DependencyCondition};

/// `web: api db` is a service and what it depends on; parts are separated by `,`.
fn specs(drawing: &str) -> Vec<ServiceSpec> {
    let condition = Dependency {
        condition: DependencyCondition::ServiceStarted,
        restart: false,
        required: true,
    };
    drawing
        .split(',')
        .map(|part| {
            let (name, needs) = part.split_once(':').unwrap();
            ServiceSpec {
                name: name.trim().into(),
                depends_on: needs
                    .split_whitespace()
                    .map(|need| (need.to_owned(), condition))
                    .collect(),
                ..ServiceSpec::default()
            }
        })
        .collect()
}

#[track_caller]
fn check(drawing: &str, expected: &str) {
    let specs = specs(drawing);
    let order = match DependencyGraph::new(&specs).order_up() {
        Ok(order) => order.join(" "),
        Err(cycle) => cycle.to_string(),
    };
    assert_eq!(order, expected);
}

#[test]
fn what_is_needed_comes_first() {
    check("web: api, api: db cache, cache:, db:", "cache db api web");
    check("b:, a:, c: a", "a b c");
}

#[test]
fn a_dependency_that_does_not_exist_is_left_out() {
    check("web: ghost", "web");
}

#[test]
fn a_cycle_is_shown_in_order() {
    check("a: b, b: c, c: a, d: a", "a → b → c → a");
    check("z:, x: x", "x → x");
    check("a: b c, b: d, c: a, d: a", "a → c → a");
}

#[test]
fn closure_holds_everything_needed() {
    let specs = specs("web: api, api: db, db:, other: db");
    let graph = DependencyGraph::new(&specs);
    let names: Vec<_> = graph.closure(["web"]).into_iter().collect();
    assert_eq!(names.join(" "), "api db web");
}
