//! `node ls`: the nodes, with Swarm's columns and filters.

use std::process::ExitCode;

use agent::cluster::info::NodeView;
use scheduler::model::node::Role;
use serde_json::{Value, json};

use super::{availability, manager, status};
use crate::commands::Outcome;
use crate::connect::Client;
use crate::error::Failure;
use crate::output::template::RowFormat;
use crate::output::{self, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template such as `{{.Hostname}}` or `table {{.ID}}\t{{.Status}}`
    #[arg(long, default_value = "table")]
    format: RowFormat,
    /// Show only nodes with id=, name= (or beginnings of them), role=, membership=, label= (of the
    /// engine) or node.label=; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

/// What a node must be, to be shown. Of several filters with one key, one must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    key: Key,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Id,
    Name,
    Role,
    Membership,
    EngineLabel,
    NodeLabel,
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed")?;
        let one_of = |known: &[&str]| match known.contains(&value) {
            true => Ok(()),
            false => Err(format!("{key} is one of {}", known.join(", "))),
        };
        let key = match key.trim() {
            "id" => Key::Id,
            "name" => Key::Name,
            "role" => one_of(&["manager", "worker"]).map(|()| Key::Role)?,
            "membership" => one_of(&["accepted", "pending"]).map(|()| Key::Membership)?,
            "label" => Key::EngineLabel,
            "node.label" => Key::NodeLabel,
            other => {
                return Err(format!(
                    "there is no filter {other}: use id, name, role, membership, label or node.label"
                ));
            }
        };
        Ok(Self {
            key,
            value: value.to_owned(),
        })
    }
}

impl Filter {
    fn passes(&self, node: &NodeView) -> bool {
        let value = self.value.as_str();
        let has = |labels: &std::collections::BTreeMap<String, String>| {
            let (key, wanted) = value.split_once('=').unzip();
            let found = labels.get(key.unwrap_or(value));
            found.is_some_and(|found| wanted.is_none_or(|wanted| found == wanted))
        };
        match self.key {
            Key::Id => node.id.as_str().starts_with(value),
            Key::Name => node.hostname.starts_with(value),
            Key::Role => (node.role == Role::Manager) == (value == "manager"),
            // Whoever has joined is in: nobody waits to be let in.
            Key::Membership => value == "accepted",
            Key::EngineLabel => has(&node.engine_labels),
            Key::NodeLabel => has(&node.labels),
        }
    }
}

fn pass(filters: &[Filter], node: &NodeView) -> bool {
    let holds = |one: &Filter| {
        let mut same = filters.iter().filter(|it| it.key == one.key);
        // Labels must all be there, as Docker has it.
        match one.key {
            Key::EngineLabel | Key::NodeLabel => one.passes(node),
            Key::Id | Key::Name | Key::Role | Key::Membership => same.any(|it| it.passes(node)),
        }
    };
    filters.iter().all(holds)
}

impl Args {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let mut nodes: Vec<NodeView> = client.get("/x/nodes").await?;
        nodes.retain(|node| pass(&self.filters, node));
        self.print(&nodes)?;
        super::warn(client).await;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, nodes: &[NodeView]) -> Result<(), Failure> {
        if self.quiet {
            nodes.iter().for_each(|node| output::line(node.id.as_str()));
            return Ok(());
        }
        let rows = || nodes.iter().map(row).collect();
        output::result(self.format.text(rows, || table(nodes))?);
        if self.format == RowFormat::Table {
            remarks(nodes);
        }
        Ok(())
    }
}

fn row(node: &NodeView) -> Value {
    json!({
        "ID": node.id, "Hostname": node.hostname, "Self": node.is_self,
        "Status": status(node.status), "Availability": availability(node.availability),
        "ManagerStatus": manager(node), "EngineVersion": node.engine_version,
        "TLSStatus": if node.needs_rotation { "Needs Rotation" } else { "Ready" },
        "Containers": node.running, "StatusReason": node.status_reason,
    })
}

fn table(nodes: &[NodeView]) -> String {
    let header = [
        "ID",
        "HOSTNAME",
        "STATUS",
        "AVAILABILITY",
        "MANAGER STATUS",
        "ENGINE VERSION",
    ];
    let mut table = Table::new(10, &header);
    for node in nodes {
        let mark = if node.is_self { " *" } else { "" };
        table.row(vec![
            format!("{}{mark}", node.id),
            node.hostname.clone(),
            status(node.status).to_owned(),
            availability(node.availability).to_owned(),
            manager(node).to_owned(),
            node.engine_version.clone(),
        ]);
    }
    table.render()
}

/// What the table has no column for.
fn remarks(nodes: &[NodeView]) {
    for node in nodes.iter().filter(|node| !node.status_reason.is_empty()) {
        output::note(format!("{}: {}", node.hostname, node.status_reason));
    }
    for node in nodes {
        for (other, since) in &node.cut_off {
            output::note(crate::commands::why::cut_off(
                &node.hostname,
                other,
                &format!("since {since}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: Value) -> NodeView {
        let mut whole = json!({
            "id": "4f00", "hostname": "alpha", "is_self": false, "status": "ready",
            "status_reason": "", "status_since": "", "availability": "active", "role": "worker",
            "manager": null, "address": null, "labels": {"zone": "a"}, "os": "linux",
            "architecture": "amd64", "cpu_millis": 1000, "memory": 1, "engine_version": "0",
            "engine_labels": {"disk": "ssd"}, "running": 0,
        });
        for (key, value) in json.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    /// Which of a worker `alpha` and a manager `beta` are shown.
    #[track_caller]
    fn check(filters: &[&str], expected: &str) {
        let filters: Vec<Filter> = filters.iter().map(|it| it.parse().unwrap()).collect();
        let nodes = [
            node(json!({})),
            node(json!({"id": "5f00", "hostname": "beta", "role": "manager", "labels": {}})),
        ];
        let shown = nodes.iter().filter(|it| pass(&filters, it));
        let names: Vec<_> = shown.map(|it| it.hostname.as_str()).collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn filters_with_one_key_are_choices_and_others_conditions() {
        check(&[], "alpha beta");
        check(&["role=manager"], "beta");
        check(&["role=manager", "role=worker"], "alpha beta");
        check(&["name=al"], "alpha");
        check(&["id=5f"], "beta");
        check(&["id=5f", "name=alpha"], "");
        check(&["membership=pending"], "");
        check(&["membership=accepted"], "alpha beta");
        check(&["node.label=zone"], "alpha");
        check(&["node.label=zone=b"], "");
        check(&["label=disk=ssd"], "alpha beta");
        check(&["label=disk", "label=none"], "");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let check = |text: &str, expected: &str| {
            let refused = text.parse::<Filter>().unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        };
        check("role", "KEY=VALUE");
        check("role=boss", "manager, worker");
        check("colour=red", "no filter colour");
    }
}
