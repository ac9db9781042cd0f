//! `stats`: what containers use of processor, memory, network and disks.

mod usage;

use std::collections::BTreeSet;
use std::process::ExitCode;

use futures::future::join_all;
use serde_json::json;

use self::usage::{Stats, Usage};
use super::Outcome;
use super::ls::Format;
use crate::connect::{ApiError, Client};
use crate::docker::{self, Container};
use crate::output::{self, Table};
use crate::project::Context;

/// Show what containers use, again and again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Services to show [default: all]
    services: Vec<String>,
}

/// The container has gone.
const NOT_FOUND: u16 = 404;
/// Moves to the upper left, and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        let mut told = BTreeSet::new();
        loop {
            let mut found = docker::of_services(&client, &project, &self.services).await?;
            found.retain(|it| self.all || matches!(it.state.as_str(), "running" | "paused"));
            // The node takes a second for each, and so it is a picture a second.
            let rows = join_all(found.iter().map(|it| self.row(&client, it))).await;
            let mut shown = Vec::new();
            for row in rows {
                match row {
                    Ok(row) => shown.extend(row),
                    Err(error) if told.insert(error.to_string()) => {
                        output::note(format!("warning: {error}"));
                    }
                    Err(_) => {}
                }
            }
            let rows = shown;
            if !self.no_stream && output::stdout_is_terminal() {
                output::result(CLEAR);
            }
            match self.format {
                Format::Table => output::result(table(&rows)),
                Format::Json => rows.iter().for_each(|it| output::line(machine(it))),
            }
            if self.no_stream {
                return Ok(ExitCode::SUCCESS);
            }
            if found.is_empty() {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }

    /// `None` when the container has gone meanwhile.
    async fn row(&self, client: &Client, container: &Container) -> Result<Option<Row>, ApiError> {
        let path = format!("/containers/{}/stats?stream=0", container.id);
        let stats: Stats = match client.get(&path).await {
            Ok(stats) => stats,
            Err(error) if error.status() == Some(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let id = match self.no_trunc {
            true => container.id.clone(),
            false => container.id.chars().take(12).collect(),
        };
        Ok(Some(Row {
            id,
            name: container.name().to_owned(),
            usage: Usage::of(&stats),
        }))
    }
}

struct Row {
    id: String,
    name: String,
    usage: Usage,
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(
        10,
        &[
            "CONTAINER ID",
            "NAME",
            "CPU %",
            "MEM USAGE / LIMIT",
            "MEM %",
            "NET I/O",
            "BLOCK I/O",
            "PIDS",
        ],
    );
    for Row { id, name, usage } in rows {
        table.row(vec![
            id.clone(),
            name.clone(),
            usage.cpu.clone(),
            usage.memory.clone(),
            usage.memory_share.clone(),
            usage.network.clone(),
            usage.blocks.clone(),
            usage.processes.to_string(),
        ]);
    }
    table.render()
}

fn machine(row: &Row) -> String {
    let usage = &row.usage;
    json!({
        "BlockIO": usage.blocks, "CPUPerc": usage.cpu, "Container": row.id, "ID": row.id,
        "MemPerc": usage.memory_share, "MemUsage": usage.memory, "Name": row.name,
        "NetIO": usage.network, "PIDs": usage.processes.to_string(),
    })
    .to_string()
}
