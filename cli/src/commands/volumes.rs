//! `volumes`: the volumes of the stack.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use crate::docker::{self, PROJECT_LABEL};
use crate::output::template::RowFormat;
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
        if self.quiet {
            rows.iter().for_each(|it| output::line(text(it, "/Name")));
        } else {
            let shown = || table(&rows);
            output::result(self.format.text(|| rows.clone(), shown)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(rows: &[Value]) -> String {
    let mut table = Table::new(10, &["DRIVER", "VOLUME NAME"]);
    for it in rows {
        let cells = ["/Driver", "/Name"].map(|path| text(it, path).to_owned());
        table.row(cells.to_vec());
    }
    table.render()
}

fn text<'a>(volume: &'a Value, path: &str) -> &'a str {
    volume.pointer(path).and_then(Value::as_str).unwrap_or("")
}
