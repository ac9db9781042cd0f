//! `node`: the hosts of the cluster, with Swarm's columns and words.

mod ls;
mod pretty;
mod ps;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use agent::api::x::cluster::NodeRemoved;
use agent::cluster::info::{ClusterInfo, ManagerStatus, NodeView};
use clap::{Subcommand, ValueEnum};
use hyper::Method;
use scheduler::control_plane::command::NodeUpdate;
use scheduler::model::node::{Availability, NodeStatus, Role};

use super::Outcome;
use super::cluster::RoleArg;
use super::network::inspect_all;
use crate::connect::{Client, escape};
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// Manage the nodes of the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List nodes
    Ls(ls::Args),
    /// Show all there is to know about nodes
    Inspect {
        /// For people, instead of JSON
        #[arg(long)]
        pretty: bool,
        /// Ids, beginnings of ids, or host names; `self` is the node that is asked
        #[arg(default_value = "self")]
        nodes: Vec<String>,
    },
    /// List the containers of nodes
    Ps(ps::Args),
    /// Change a node
    Update {
        /// Whether it gets containers: drain also takes away those it has
        #[arg(long, value_enum)]
        availability: Option<AvailabilityArg>,
        /// What it is
        #[arg(long, value_enum)]
        role: Option<RoleArg>,
        /// Set a label: KEY=VALUE; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        label_add: Vec<String>,
        /// Remove a label; may be repeated
        #[arg(long, value_name = "KEY")]
        label_rm: Vec<String>,
        node: String,
    },
    /// Make workers managers
    Promote {
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Make managers workers
    Demote {
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Remove nodes that are gone
    Rm {
        /// Also when it runs, or is a manager
        #[arg(short, long)]
        force: bool,
        #[arg(required = true)]
        nodes: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AvailabilityArg {
    Active,
    Pause,
    Drain,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client();
        match self.command {
            Command::Ls(args) => args.run(&client).await,
            Command::Inspect { pretty, nodes } => {
                let shape = if pretty { Shape::Pretty } else { Shape::Json };
                inspect(&client, &nodes, shape).await
            }
            Command::Ps(args) => args.run(&client).await,
            Command::Update {
                availability,
                role,
                label_add,
                label_rm,
                node,
            } => {
                let update = NodeUpdate {
                    availability: availability.map(Into::into),
                    role: role.map(Into::into),
                    set_labels: labels(&label_add)?,
                    remove_labels: label_rm.into_iter().collect::<BTreeSet<_>>(),
                    ..NodeUpdate::default()
                };
                send(&client, &node, &update).await?;
                output::line(&node);
                warn(&client).await;
                Ok(ExitCode::SUCCESS)
            }
            Command::Promote { nodes } => change_role(&client, &nodes, Role::Manager).await,
            Command::Demote { nodes } => change_role(&client, &nodes, Role::Worker).await,
            Command::Rm { force, nodes } => remove(&client, &nodes, force).await,
        }
    }
}

async fn inspect(client: &Client, nodes: &[String], as_what: Shape) -> Outcome {
    if as_what == Shape::Json {
        return inspect_all(client, "/x/nodes", nodes).await;
    }
    let mut texts = Vec::new();
    for node in nodes {
        let node: NodeView = client.get(&format!("/x/nodes/{}", escape(node))).await?;
        texts.push(pretty::text(&node));
    }
    output::result(texts.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// How `inspect` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Json,
    Pretty,
}

fn status(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Ready => "Ready",
        NodeStatus::Down => "Down",
    }
}

fn availability(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "Active",
        Availability::Pause => "Pause",
        Availability::Drain => "Drain",
    }
}

fn manager(node: &NodeView) -> &'static str {
    node.manager.map_or("", ManagerStatus::word)
}

impl From<AvailabilityArg> for Availability {
    fn from(availability: AvailabilityArg) -> Self {
        match availability {
            AvailabilityArg::Active => Self::Active,
            AvailabilityArg::Pause => Self::Pause,
            AvailabilityArg::Drain => Self::Drain,
        }
    }
}

/// `KEY=VALUE`, or `KEY` for an empty value, as Docker has it.
fn labels(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            return Err(Failure::new(format!(
                "`{text}` is no label: KEY=VALUE is needed"
            )));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

async fn send(client: &Client, node: &str, update: &NodeUpdate) -> Result<NodeView, Failure> {
    let path = format!("/x/nodes/{}", escape(node));
    Ok(client.send_json(Method::POST, &path, update).await?)
}

async fn change_role(client: &Client, nodes: &[String], role: Role) -> Outcome {
    let update = NodeUpdate {
        role: Some(role),
        ..NodeUpdate::default()
    };
    let mut failed = Vec::new();
    for node in nodes {
        let before: Option<NodeView> = client.get(&format!("/x/nodes/{}", escape(node))).await.ok();
        if before.is_some_and(|before| before.role == role) {
            output::line(format!("Node {node} is already a {role}."));
            continue;
        }
        match send(client, node, &update).await {
            Ok(_) if role == Role::Manager => {
                output::line(format!("Node {node} promoted to a manager in the cluster."));
            }
            Ok(_) => output::line(format!("Manager {node} demoted in the cluster.")),
            Err(failure) => failed.push(failure),
        }
    }
    warn(client).await;
    match failed.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn remove(client: &Client, nodes: &[String], force: bool) -> Outcome {
    let mut failed = None;
    for node in nodes {
        let query = if force { "?force=1" } else { "" };
        let path = format!("/x/nodes/{}{query}", escape(node));
        match client
            .send_nothing::<NodeRemoved>(Method::DELETE, &path)
            .await
        {
            Ok(removed) => {
                output::line(node);
                for volume in removed.volumes {
                    output::note(format!(
                        "warning: the data of volume {volume} was on {node}; what uses it next begins with an empty one"
                    ));
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Says what is wrong with the cluster as a whole. What was asked for is done already.
pub(super) async fn warn(client: &Client) {
    let info = client.get::<ClusterInfo>("/x/cluster").await;
    if let Ok(ClusterInfo {
        warning: Some(warning),
        ..
    }) = info
    {
        output::note(format!("warning: {warning}"));
    }
}
