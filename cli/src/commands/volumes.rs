//! `volumes`: the volumes of the stack.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use crate::docker::{self, PROJECT_LABEL};
use crate::error::Failure;
use crate::output::template::{self, RowFormat};
use crate::output::{self, Table};
use crate::project::Context;

/// List the volumes of the stack
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only names
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template such as `{{.Name}}`
    #[arg(long, default_value = "table")]
    format: RowFormat,
    /// Services whose volumes are shown [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let mut rows = Vec::new();
        if let Some(client) = context.existing_node().await? {
            let listed: Value = client.get("/volumes").await?;
            let listed = listed.get("Volumes").and_then(Value::as_array);
            rows = listed.cloned().unwrap_or_default();
            let label = format!("/Labels/{PROJECT_LABEL}");
            rows.retain(|it| text(it, &label) == project);
            if !self.services.is_empty() {
                let used = docker::of_services(&client, &project, &self.services).await?;
                let used = used.iter().flat_map(|it| &it.mounts);
                let used: BTreeSet<&str> = used.map(|it| it.name.as_str()).collect();
                rows.retain(|it| used.contains(text(it, "/Name")));
            }
        }
        match &self.format {
            _ if self.quiet => rows.iter().for_each(|it| output::line(text(it, "/Name"))),
            RowFormat::Table => {
                let mut table = Table::new(10, &["DRIVER", "VOLUME NAME"]);
                for it in &rows {
                    table.row(vec![
                        text(it, "/Driver").to_owned(),
                        text(it, "/Name").to_owned(),
                    ]);
                }
                output::result(table.render());
            }
            RowFormat::Json => rows.iter().for_each(|it| output::line(it.to_string())),
            RowFormat::Lines(wanted) => {
                output::result(template::lines(wanted, &rows).map_err(Failure::new)?);
            }
            RowFormat::TableOf(wanted) => {
                output::result(template::table(wanted, &rows).map_err(Failure::new)?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text<'a>(volume: &'a Value, path: &str) -> &'a str {
    volume.pointer(path).and_then(Value::as_str).unwrap_or("")
}
