//! `secret`: secrets, and configs, that stacks refer to with `external: true`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::Outcome;
use super::network::{inspect_all, remove_all};
use crate::error::Failure;
use crate::output::{self, Table};
use crate::project::Context;

/// Manage secrets and configs that files refer to as external
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configs instead of secrets
    #[arg(long, global = true)]
    config: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create one from a file, or from standard input
    Create {
        /// Label: KEY=VALUE; may be repeated
        #[arg(short, long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        name: String,
        /// `-` is standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// List those that there are, those of stacks too
    Ls {
        /// Print only names
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove what no service uses
    Rm {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Show all there is to know; of a secret that is not what it says
    Inspect {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Content {
    spec: Spec,
    created_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Spec {
    name: String,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let path = match self.config {
            true => "/configs",
            false => "/secrets",
        };
        match self.command {
            Command::Create { labels, name, file } => {
                let body = json!({
                    "Name": name,
                    "Labels": pairs(&labels),
                    "Data": STANDARD.encode(read(&file)?),
                });
                let client = context.client();
                let path = format!("{path}/create");
                let _: serde_json::Value = client.send_json(Method::POST, &path, &body).await?;
                output::line(&name);
                Ok(ExitCode::SUCCESS)
            }
            Command::Ls { quiet } => {
                let found = match context.existing_node().await? {
                    Some(client) => client.get(path).await?,
                    None => Vec::new(),
                };
                list(&found, quiet);
                Ok(ExitCode::SUCCESS)
            }
            Command::Rm { names } => remove_all(&context.client(), path, &names).await,
            Command::Inspect { names } => inspect_all(&context.client(), path, &names).await,
        }
    }
}

/// A key alone has an empty value.
fn pairs(labels: &[String]) -> BTreeMap<&str, &str> {
    let pair = |it| str::split_once(it, '=').unwrap_or((it, ""));
    labels.iter().map(|it| pair(it.as_str())).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot read {}: {error}", file.display()));
    if file != Path::new("-") {
        return fs::read(file).map_err(failed);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn list(found: &[Content], quiet: bool) {
    if quiet {
        found.iter().for_each(|it| output::line(&it.spec.name));
        return;
    }
    let mut table = Table::new(10, &["NAME", "CREATED AT"]);
    for it in found {
        table.row(vec![it.spec.name.clone(), it.created_at.clone()]);
    }
    output::result(table.render());
}
