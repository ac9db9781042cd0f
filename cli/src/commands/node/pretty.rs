//! `node inspect --pretty`: one node, for people, in Docker's words.

use agent::cluster::info::NodeView;
use scheduler::model::node::Role;

use super::{availability, manager, status};
use crate::output;

/// ```text
/// ID:                 4f00
/// Hostname:           alpha
/// Status:
///  State:             Ready
/// ```
pub(super) fn text(node: &NodeView) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        text.push_str(format!("{name:<24}{value}").trim_end());
        text.push('\n');
    };
    line("ID:", node.id.as_str());
    labels(&mut line, "Labels:", &node.labels);
    line("Hostname:", &node.hostname);
    line("Status:", "");
    line(" State:", status(node.status));
    if !node.status_reason.is_empty() {
        line(" Message:", &node.status_reason);
    }
    line(" Since:", &node.status_since);
    line(" Availability:", availability(node.availability));
    if let Some(address) = node.address {
        line(" Address:", &address.ip().to_string());
    }
    if node.role == Role::Manager {
        line("Manager Status:", "");
        if let Some(address) = node.address {
            line(" Address:", &address.to_string());
        }
        line(" Raft Status:", manager(node));
    }
    line("Platform:", "");
    line(" Operating System:", &node.os);
    line(" Architecture:", &node.architecture);
    line("Resources:", "");
    line(" CPUs:", &cpus(node.cpu_millis));
    line(" Memory:", &output::binary_size(node.memory));
    for (kind, of) in &node.generic_resources {
        line(&format!(" {kind}:"), &of.join(", "));
    }
    line("Containers:", &node.running.to_string());
    line("Engine Version:", &node.engine_version);
    labels(&mut line, "Engine Labels:", &node.engine_labels);
    if !node.cut_off.is_empty() {
        line("Not Reached:", "");
        for (other, since) in &node.cut_off {
            line(&format!(" {other}:"), &format!("since {since}"));
        }
    }
    text
}

fn labels(
    line: &mut impl FnMut(&str, &str),
    title: &str,
    labels: &std::collections::BTreeMap<String, String>,
) {
    if labels.is_empty() {
        return;
    }
    line(title, "");
    for (key, value) in labels {
        line(&format!(" - {key}={value}"), "");
    }
}

/// `2`, or `1.5` where a part of one is given.
fn cpus(millis: u64) -> String {
    match (millis / 1000, millis % 1000) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{}", format!("{part:03}").trim_end_matches('0')),
    }
}
