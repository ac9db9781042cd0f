//! `cluster`: several hosts as one.

mod ca;
mod update;

use std::net::SocketAddr;
use std::process::ExitCode;

use agent::api::x::cluster::TokensRequest;
use agent::cluster::info::ClusterInfo;
use agent::cluster::{InitRequest, Tokens};
use clap::{Subcommand, ValueEnum};
use hyper::Method;
use scheduler::model::node::Role;

use super::Outcome;
use crate::connect::Client;
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// Manage the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this host a cluster that others can join; what runs on it goes on
    Init {
        /// Address that others reach this host at: ADDRESS or INTERFACE, with or without a port
        #[arg(long, value_name = "ADDRESS")]
        advertise_addr: Option<String>,
        /// Address to listen on for other nodes [default: 0.0.0.0:2377]
        #[arg(long, value_name = "ADDRESS")]
        listen_addr: Option<String>,
    },
    /// Print the command that joins a host
    JoinToken {
        /// As what it may join
        role: RoleArg,
        /// Replace the token: the old one lets nobody in any more
        #[arg(long)]
        rotate: bool,
        /// Print only the token
        #[arg(short, long)]
        quiet: bool,
    },
    /// Print the root certificate, or rotate the certificate authority
    Ca(ca::Args),
    /// Change settings of the whole cluster
    Update(update::Args),
    /// Show the cluster as this node sees it
    Info,
    /// Go on alone with this manager's state, when most managers are gone for good
    Recover {
        /// Do it: managers that are still there will be refused afterwards
        #[arg(long)]
        force: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    Worker,
    Manager,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Worker => Self::Worker,
            RoleArg::Manager => Self::Manager,
        }
    }
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Init {
                advertise_addr: advertise,
                listen_addr: listen,
            } => {
                let request = InitRequest { listen, advertise };
                init(&context.node().await?, &request).await
            }
            Command::JoinToken {
                role,
                rotate,
                quiet,
            } => join_token(&context.client(), role.into(), rotate, quiet).await,
            Command::Ca(args) => args.run(&context.client()).await,
            Command::Update(args) => args.run(&context.client()).await,
            Command::Info => {
                let info: ClusterInfo = context.client().get("/x/cluster").await?;
                show(&info);
                Ok(ExitCode::SUCCESS)
            }
            Command::Recover { force } => recover(&context.client(), force).await,
        }
    }
}

async fn init(client: &Client, request: &InitRequest) -> Outcome {
    let tokens: Tokens = client
        .send_json(Method::POST, "/x/cluster/init", request)
        .await?;
    output::line(format!("This host is cluster {} now.", tokens.cluster));
    output::line("");
    output::line("To add a worker to it, run there:");
    output::line(command(&tokens.worker, &tokens.addresses));
    output::line("");
    output::line("To add a manager, run there (an odd number of managers is best):");
    output::line(command(&tokens.manager, &tokens.addresses));
    Ok(ExitCode::SUCCESS)
}

/// Ready to be pasted.
fn command(token: &str, addresses: &[SocketAddr]) -> String {
    let first = addresses.first();
    let address = first.map_or_else(|| "ADDRESS".to_owned(), ToString::to_string);
    format!("\n    wharfie join --token {token} {address}")
}

async fn join_token(client: &Client, role: Role, rotate: bool, quiet: bool) -> Outcome {
    let request = TokensRequest {
        rotate: rotate.then_some(role),
    };
    let tokens: Tokens = client
        .send_json(Method::POST, "/x/cluster/tokens", &request)
        .await?;
    let token = match role {
        Role::Worker => &tokens.worker,
        Role::Manager => &tokens.manager,
    };
    if quiet {
        output::line(token);
        return Ok(ExitCode::SUCCESS);
    }
    if rotate {
        output::line(format!("The join token for a {role} was replaced."));
        output::line("");
    }
    output::line(format!("To add a {role} to this cluster, run there:"));
    output::line(command(token, &tokens.addresses));
    Ok(ExitCode::SUCCESS)
}

fn show(info: &ClusterInfo) {
    if info.id.is_empty() {
        output::line("This host stands alone. Make it a cluster with `wharfie cluster init`.");
        return;
    }
    let line = |name: &str, value: &str| {
        if !value.is_empty() {
            output::line(format!("{:<13} {value}", format!("{name}:")));
        }
    };
    let role = info.role.map_or("", Role::word);
    line("Cluster", &info.id);
    line("Created", &info.created);
    line("This node", &format!("{} ({role})", info.node));
    line(
        "Address",
        &info.address.map(|it| it.to_string()).unwrap_or_default(),
    );
    line(
        "Certificate",
        &format!("good until {}", info.certificate_expires),
    );
    line("Authority", &info.authority);
    let count = |number: Option<usize>| number.map(|it| it.to_string()).unwrap_or_default();
    line("Nodes", &count(info.node_count));
    line("Managers", &count(info.manager_count));
    let leader = match (info.role, info.leader.as_str()) {
        (Some(Role::Manager), "") => "none that is known: nothing can be changed now",
        (_, leader) => leader,
    };
    line("Leader", leader);
    let addresses: Vec<String> = info.managers.iter().map(ToString::to_string).collect();
    line("Reached at", &addresses.join(", "));
    if info.epoch > 0 {
        line("Recovered", &format!("{} times", info.epoch));
    }
    if let Some(warning) = &info.warning {
        output::note(format!("warning: {warning}"));
    }
}

async fn recover(client: &Client, force: bool) -> Outcome {
    if !force {
        return Err(Failure::new(
            "this gives up every other manager: what only they know is lost, and they cannot come back",
        )
        .hint("Only when most managers are gone for good: run it again with --force, on the one that has seen most."));
    }
    client.order(Method::POST, "/x/cluster/recover").await?;
    super::join::answers_again(client).await?;
    output::line(
        "This node is the only manager now. Let managers join again with `wharfie cluster join-token manager`.",
    );
    Ok(ExitCode::SUCCESS)
}
