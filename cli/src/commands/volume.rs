//! `volume`: the named volumes that there are.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde::Deserialize;

use super::Outcome;
use super::network::inspect_all;
use crate::connect::{escape, url};
use crate::error::Failure;
use crate::output::{self, Table};
use crate::project::Context;

/// Manage volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List volumes
    Ls {
        /// Print only names
        #[arg(short, long)]
        quiet: bool,
    },
    /// Create a volume for stacks that refer to it as external
    Create { name: String },
    /// Remove volumes and their data
    Rm {
        /// It is no error when one does not exist
        #[arg(short, long)]
        force: bool,
        #[arg(required = true)]
        volumes: Vec<String>,
    },
    /// Show all there is to know about volumes
    Inspect {
        #[arg(required = true)]
        volumes: Vec<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Listed {
    volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Volume {
    name: String,
    driver: String,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Ls { quiet } => {
                let listed: Listed = match context.existing_node().await? {
                    Some(client) => client.get("/volumes").await?,
                    None => Listed::default(),
                };
                list(&listed.volumes.unwrap_or_default(), quiet);
                Ok(ExitCode::SUCCESS)
            }
            Command::Create { name } => {
                let body = serde_json::json!({ "Name": name });
                let client = context.client();
                let path = "/volumes/create";
                let _: serde_json::Value = client.send_json(Method::POST, path, &body).await?;
                output::line(&name);
                Ok(ExitCode::SUCCESS)
            }
            Command::Rm { force, volumes } => {
                let client = context.client();
                let mut failed = Vec::new();
                for name in &volumes {
                    let force = if force { "1" } else { "0" };
                    let path = url(&format!("/volumes/{}", escape(name)), &[("force", force)]);
                    match client.order(Method::DELETE, &path).await {
                        Ok(()) => output::line(name),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                match failed.is_empty() {
                    true => Ok(ExitCode::SUCCESS),
                    false => Err(Failure::new(failed.join("\n"))),
                }
            }
            Command::Inspect { volumes } => {
                inspect_all(&context.client(), "/volumes", &volumes).await
            }
        }
    }
}

fn list(volumes: &[Volume], quiet: bool) {
    if quiet {
        volumes.iter().for_each(|it| output::line(&it.name));
        return;
    }
    let mut table = Table::new(10, &["DRIVER", "VOLUME NAME"]);
    for it in volumes {
        table.row(vec![it.driver.clone(), it.name.clone()]);
    }
    output::result(table.render());
}
