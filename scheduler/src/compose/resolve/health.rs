//! `healthcheck`.

use super::{count, duration, flag};
use crate::compose::document::Node;
use crate::model::container::{HealthTest, Healthcheck};

pub(super) fn healthcheck(service: &Node) -> Option<Healthcheck> {
    let node = service.get("healthcheck")?;
    let test = if flag(node, "disable") {
        Some(HealthTest::Disabled)
    } else {
        node.get("test").and_then(test)
    };
    Some(Healthcheck {
        test,
        interval: duration(node, "interval"),
        timeout: duration(node, "timeout"),
        retries: count(node, "retries"),
        start_period: duration(node, "start_period"),
        start_interval: duration(node, "start_interval"),
    })
}

/// Canonical form: the first word says what the rest is.
fn test(node: &Node) -> Option<HealthTest> {
    let mut words = node
        .items()
        .iter()
        .filter_map(Node::as_str)
        .map(str::to_owned);
    match words.next()?.as_str() {
        "NONE" => Some(HealthTest::Disabled),
        "CMD" => Some(HealthTest::Command(words.collect())),
        _ => Some(HealthTest::Shell(words.next().unwrap_or_default())),
    }
}
