//! `network`: the networks that there are.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Outcome;
use super::image::short_id;
use crate::connect::{Client, escape};
use crate::error::Failure;
use crate::output::{self, Table};
use crate::project::Context;

/// Manage networks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List networks
    Ls {
        /// Print only ids
        #[arg(short, long)]
        quiet: bool,
    },
    /// Create a network for stacks that refer to it as external
    Create {
        /// Addresses, e.g. 10.71.0.0/24; with --ipv6 once more for those [default: chosen]
        #[arg(long = "subnet", value_name = "CIDR")]
        subnets: Vec<String>,
        /// With IPv6 addresses too
        #[arg(long)]
        ipv6: bool,
        /// Without a way out
        #[arg(long)]
        internal: bool,
        name: String,
    },
    /// Remove networks
    Rm {
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Show all there is to know about networks
    Inspect {
        #[arg(required = true)]
        networks: Vec<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Network {
    id: String,
    name: String,
    driver: String,
    scope: String,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Ls { quiet } => {
                let networks = match context.existing_node().await? {
                    Some(client) => client.get("/networks").await?,
                    None => Vec::new(),
                };
                list(&networks, quiet);
                Ok(ExitCode::SUCCESS)
            }
            Command::Create {
                subnets,
                ipv6,
                internal,
                name,
            } => {
                let config: Vec<Value> = subnets.iter().map(|it| json!({"Subnet": it})).collect();
                let body = json!({
                    "Name": name,
                    "Internal": internal,
                    "EnableIPv6": ipv6,
                    "IPAM": {"Config": config},
                });
                let client = context.client();
                let path = "/networks/create";
                let _: Value = client.send_json(Method::POST, path, &body).await?;
                output::line(&name);
                Ok(ExitCode::SUCCESS)
            }
            Command::Rm { networks } => remove_all(&context.client(), "/networks", &networks).await,
            Command::Inspect { networks } => {
                inspect_all(&context.client(), "/networks", &networks).await
            }
        }
    }
}

fn list(networks: &[Network], quiet: bool) {
    if quiet {
        networks
            .iter()
            .for_each(|it| output::line(short_id(&it.id)));
        return;
    }
    let mut table = Table::new(10, &["NETWORK ID", "NAME", "DRIVER", "SCOPE"]);
    for it in networks {
        let id = short_id(&it.id).to_owned();
        table.row(vec![
            id,
            it.name.clone(),
            it.driver.clone(),
            it.scope.clone(),
        ]);
    }
    output::result(table.render());
}

/// Removes each that can be; says afterwards what could not.
pub(super) async fn remove_all(client: &Client, path: &str, names: &[String]) -> Outcome {
    let mut failed = Vec::new();
    for name in names {
        let path = format!("{path}/{}", escape(name));
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

/// Prints an array of what is known about each; says afterwards what was not found.
pub(super) async fn inspect_all(client: &Client, path: &str, names: &[String]) -> Outcome {
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        match client
            .get::<Value>(&format!("{path}/{}", escape(name)))
            .await
        {
            Ok(object) => found.push(object),
            Err(error) if error.status().is_some() => failed.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    output::line(format!("{:#}", Value::Array(found)));
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::new(failed.join("\n"))),
    }
}
