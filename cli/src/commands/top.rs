//! `top`: the processes in the stack's containers.

use std::process::ExitCode;

use super::Outcome;
use crate::docker::{self, Processes};
use crate::output::{self, Table};
use crate::project::Context;

/// Show the running processes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services to show [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let Some(client) = context.existing_node().await? else {
            return Ok(ExitCode::SUCCESS);
        };
        let mut containers = docker::containers(&client, &project).await?;
        let is_named =
            |name: &str| self.services.is_empty() || self.services.iter().any(|it| it == name);
        containers.retain(|it| it.is_running() && is_named(it.service()));
        let mut table: Option<Table> = None;
        for container in &containers {
            let path = format!("/containers/{}/top", container.id);
            let top: Processes = match client.get(&path).await {
                Ok(top) => top,
                // What cannot be reached does not hide the rest.
                Err(error) if containers.len() > 1 => {
                    output::note(format!("warning: {error}"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let table = table.get_or_insert_with(|| {
                let header: Vec<_> = ["SERVICE", "#"]
                    .into_iter()
                    .chain(top.titles.iter().map(String::as_str))
                    .collect();
                Table::new(4, &header).padded_by(2)
            });
            for process in top.processes {
                let mut row = vec![
                    container.service().to_owned(),
                    container.number().to_string(),
                ];
                row.extend(process);
                table.row(row);
            }
        }
        if let Some(table) = table {
            output::result(table.render());
        }
        Ok(ExitCode::SUCCESS)
    }
}
