//! `ls`: the stacks that there are.

use std::process::ExitCode;

use agent::api::x::StackSummary;
use clap::ValueEnum;
use serde_json::json;

use super::Outcome;
use crate::output::{self, Table};
use crate::project::Context;

/// List the stacks that are running
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show stopped ones too
    #[arg(short, long)]
    all: bool,
    /// Print only names
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut stacks: Vec<StackSummary> = match context.existing_node().await? {
            Some(client) => client.get("/x/stacks").await?,
            None => Vec::new(),
        };
        if !self.all {
            let runs = |state: &str| matches!(state, "running" | "restarting" | "paused");
            stacks
                .iter_mut()
                .for_each(|it| it.containers.retain(|state, _| runs(state)));
            stacks.retain(|it| it.containers.values().any(|&count| count > 0));
        }
        if self.quiet {
            stacks.iter().for_each(|it| output::line(&it.name));
            return Ok(ExitCode::SUCCESS);
        }
        match self.format {
            Format::Json => {
                let objects: Vec<_> = stacks
                    .iter()
                    .map(|it| json!({"Name": it.name, "Status": status(it), "ConfigFiles": it.config_files.join(",")}))
                    .collect();
                output::line(serde_json::Value::Array(objects).to_string());
            }
            Format::Table => {
                let mut table = Table::new(20, &["NAME", "STATUS", "CONFIG FILES"]);
                for it in &stacks {
                    table.row(vec![it.name.clone(), status(it), it.config_files.join(",")]);
                }
                output::result(table.render());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `exited(1), running(2)`
fn status(stack: &StackSummary) -> String {
    let counts = stack.containers.iter().filter(|(_, count)| **count > 0);
    counts
        .map(|(state, count)| format!("{state}({count})"))
        .collect::<Vec<_>>()
        .join(", ")
}
