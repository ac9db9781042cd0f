//! `ps`: the containers of the stack.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tokio::join;

use super::Outcome;
use crate::connect::{ApiError, Client};
use crate::docker::{self, Container};
use crate::error::Failure;
use crate::follow;
use crate::nodes::Nodes;
use crate::output::template::RowFormat;
use crate::output::{self, Table, ellipsis};
use crate::project::{Context, Warnings};
use scheduler::compose::{Purpose, Steps};
use scheduler::model::task::TaskState;
use scheduler::status::{ContainerStatus, StackStatus};

mod json;
mod ports;

/// List containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show ended ones, and those of `run`, too
    #[arg(short, long)]
    all: bool,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Print only the names of services
    #[arg(long)]
    services: bool,
    /// Show containers in this state; may be repeated
    #[arg(long, value_name = "STATE")]
    status: Vec<State>,
    /// The same as --status, written `status=STATE`
    #[arg(long, value_name = "status=STATE", value_parser = parse_filter)]
    filter: Vec<State>,
    /// `table`, `json`, or a template such as `{{.Name}}` or `table {{.Name}}\t{{.Status}}`
    #[arg(long, default_value = "table")]
    format: RowFormat,
    /// Print long texts whole
    #[arg(long)]
    no_trunc: bool,
    /// Show containers of services that are not in the file
    #[arg(
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    orphans: bool,
    /// Services to list [default: all]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    Paused,
    Restarting,
    Removing,
    Running,
    Dead,
    Created,
    Exited,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Running => "running",
            Self::Dead => "dead",
            Self::Created => "created",
            Self::Exited => "exited",
        }
    }
}

fn parse_filter(text: &str) -> Result<State, String> {
    let state = text
        .strip_prefix("status=")
        .ok_or("the only filter is status=STATE")?;
    clap::ValueEnum::from_str(state, true)
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.named()?;
        let known = match self.orphans {
            true => None,
            false => {
                let steps = Steps {
                    purpose: Purpose::Show,
                    ..Steps::default()
                };
                let loaded = context.load(&[], steps, Warnings::Hidden)?;
                Some(loaded.stack.services.into_keys().collect::<BTreeSet<_>>())
            }
        };
        let Seen {
            mut containers,
            nodes,
            stack,
        } = match context.existing_node().await? {
            Some(client) if self.is_for_people() => Seen::whole(&client, &project.name).await?,
            Some(client) => Seen::containers(&client, &project.name).await?,
            None => Seen::default(),
        };
        project.check(&self.names, |name| {
            containers.iter().any(|it| it.service() == name)
        })?;
        containers.retain(|it| {
            self.shows(it)
                && known
                    .as_ref()
                    .is_none_or(|known| known.contains(it.service()))
        });
        self.print(&containers, &nodes)?;
        lost(&containers, &nodes);
        remarks(&stack);
        Ok(ExitCode::SUCCESS)
    }

    fn is_for_people(&self) -> bool {
        !self.quiet && !self.services && self.format == RowFormat::Table
    }

    fn shows(&self, container: &Container) -> bool {
        let states: Vec<_> = self
            .status
            .iter()
            .chain(&self.filter)
            .map(|it| it.word())
            .collect();
        let in_state = match (states.is_empty(), self.all) {
            (false, _) => states.contains(&container.state.as_str()),
            (true, true) => true,
            (true, false) => {
                matches!(
                    container.state.as_str(),
                    "running" | "restarting" | "paused"
                ) && !container.is_one_off()
            }
        };
        let is_named =
            self.names.is_empty() || self.names.iter().any(|it| it == container.service());
        in_state && is_named
    }

    fn print(&self, containers: &[Container], nodes: &Nodes) -> Result<(), Failure> {
        if self.quiet {
            containers.iter().for_each(|it| output::line(&it.id));
        } else if self.services {
            let services: BTreeSet<_> = containers.iter().map(Container::service).collect();
            services.into_iter().for_each(output::line);
        } else {
            let objects = || {
                let objects = containers.iter();
                objects.map(|it| json::object(it, self.no_trunc)).collect()
            };
            let shown = || table(containers, nodes, Timestamp::now(), self.no_trunc);
            output::result(self.format.text(objects, shown)?);
        }
        Ok(())
    }
}

/// What the node knows.
#[derive(Default)]
struct Seen {
    containers: Vec<Container>,
    /// Only people are told of these two.
    nodes: Nodes,
    stack: StackStatus,
}

impl Seen {
    async fn containers(client: &Client, project: &str) -> Result<Self, ApiError> {
        let containers = docker::containers(client, project).await?;
        Ok(Self {
            containers,
            ..Self::default()
        })
    }

    /// Asks for everything at the same time.
    async fn whole(client: &Client, project: &str) -> Result<Self, ApiError> {
        let containers = docker::containers(client, project);
        let stack = follow::status(client, project);
        let (containers, nodes, stack) = join!(containers, Nodes::seen_by(client), stack);
        Ok(Self {
            containers: containers?,
            nodes,
            stack: stack?,
        })
    }
}

/// Says what the table cannot know: what was seen last of a container whose node is down may not be
/// so any more, and a worker has not seen the others.
fn lost(containers: &[Container], nodes: &Nodes) {
    for container in containers {
        if let Some(node) = nodes.down(&container.node) {
            let (name, since) = (container.name(), &node.status_since);
            output::note(format!(
                "{name}: node {} is down since {since}: this was seen last",
                node.hostname
            ));
        }
    }
    if let Some(hint) = nodes.blind_spot() {
        output::note(hint);
    }
}

/// Says of each service how its update goes, or how it ended if not well (`web: 2 of 5 updated`),
/// and of each container that has no place why (`app-web-2: no node can run it: 2 down`).
fn remarks(stack: &StackStatus) {
    for service in &stack.services {
        if let Some(rollout) = &service.rollout {
            output::note(format!("{}: {}", service.name, rollout.text));
        }
        let mut unplaced = service.containers.iter();
        let is_unplaced = |it: &&ContainerStatus| it.state == TaskState::Pending;
        if let Some(first) = unplaced.find(is_unplaced) {
            let more = match unplaced.filter(is_unplaced).count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            output::note(format!("{}{more}: {}", first.name, first.reason));
        }
    }
}

const HEADER: [&str; 8] = [
    "NAME", "IMAGE", "COMMAND", "SERVICE", "NODE", "CREATED", "STATUS", "PORTS",
];
const NODE_COLUMN: usize = 4;
/// Characters of the command that Docker shows.
const COMMAND_WIDTH: usize = 20;

fn table(containers: &[Container], nodes: &Nodes, now: Timestamp, whole: bool) -> String {
    let mut header = HEADER.to_vec();
    if !nodes.are_several() {
        header.remove(NODE_COLUMN);
    }
    let mut table = Table::new(10, &header);
    for it in containers {
        let mut row = vec![
            it.name().to_owned(),
            it.image.clone(),
            command(it, whole),
            it.service().to_owned(),
            it.node.clone(),
            format!("{} ago", age(it.created, now)),
            it.status.clone(),
            ports::show(&it.ports),
        ];
        if !nodes.are_several() {
            row.remove(NODE_COLUMN);
        }
        table.row(row);
    }
    table.render()
}

/// The command in quotes, cut unless it is wanted whole.
fn command(container: &Container, whole: bool) -> String {
    let shown = match whole {
        true => container.command.clone(),
        false => ellipsis(&container.command, COMMAND_WIDTH),
    };
    format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""))
}

/// How long ago, in Docker's words.
pub(super) fn age(created: i64, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(created);
    output::duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
