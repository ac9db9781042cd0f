//! `node ps`: the containers of nodes, with Swarm's columns.

use std::process::ExitCode;

use agent::cluster::info::TaskView;
use jiff::Timestamp;
use scheduler::model::task::{DesiredState, TaskState};
use serde_json::json;

use super::Format;
use crate::commands::Outcome;
use crate::connect::{Client, escape};
use crate::output::{self, Table, ellipsis};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show also those that have ended
    #[arg(short, long)]
    all: bool,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print long texts whole
    #[arg(long)]
    no_trunc: bool,
    /// Ids, beginnings of ids, or host names; `self` is the node that is asked
    #[arg(default_value = "self")]
    nodes: Vec<String>,
}

/// Characters of an id, and of a reason, that are shown.
const SHORT_ID: usize = 12;
const REASON_WIDTH: usize = 60;

impl Args {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let mut tasks = Vec::new();
        for node in &self.nodes {
            let path = format!("/x/nodes/{}/tasks", escape(node));
            tasks.extend(client.get::<Vec<TaskView>>(&path).await?);
        }
        tasks.retain(|task| self.all || !task.state.is_terminal());
        match (self.quiet, self.format) {
            (true, _) => tasks.iter().for_each(|task| output::line(self.id(task))),
            (false, Format::Json) => tasks.iter().for_each(|task| output::line(self.json(task))),
            (false, Format::Table) => output::result(self.table(&tasks, Timestamp::now())),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn id<'a>(&self, task: &'a TaskView) -> &'a str {
        match self.no_trunc {
            true => &task.id,
            false => task.id.get(..SHORT_ID).unwrap_or(&task.id),
        }
    }

    fn json(&self, task: &TaskView) -> String {
        json!({
            "ID": self.id(task), "Name": task.name, "Image": task.image, "Node": task.node,
            "DesiredState": desired(task.desired), "CurrentState": state(task.state),
            "Since": task.since, "Error": error(task), "Service": task.service,
            "Project": task.stack.as_deref().unwrap_or_default(),
        })
        .to_string()
    }

    fn table(&self, tasks: &[TaskView], now: Timestamp) -> String {
        let header = [
            "ID",
            "NAME",
            "IMAGE",
            "NODE",
            "DESIRED STATE",
            "CURRENT STATE",
            "ERROR",
        ];
        let mut table = Table::new(10, &header);
        for task in tasks {
            let reason = error(task);
            table.row(vec![
                self.id(task).to_owned(),
                task.name.clone(),
                task.image.clone(),
                task.node.clone(),
                desired(task.desired).to_owned(),
                format!("{} {}", state(task.state), ago(&task.since, now)),
                match self.no_trunc {
                    true => reason.to_owned(),
                    false => ellipsis(reason, REASON_WIDTH),
                },
            ]);
        }
        table.render()
    }
}

/// Why it does not run, where that is more than its state says.
fn error(task: &TaskView) -> &str {
    match task.state {
        TaskState::Failed | TaskState::Rejected | TaskState::Orphaned | TaskState::Pending => {
            &task.reason
        }
        _ => "",
    }
}

fn desired(desired: DesiredState) -> &'static str {
    match desired {
        DesiredState::Ready => "Ready",
        DesiredState::Running => "Running",
        DesiredState::Shutdown => "Shutdown",
        DesiredState::Remove => "Remove",
    }
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::New => "New",
        TaskState::Pending => "Pending",
        TaskState::Assigned => "Assigned",
        TaskState::Preparing => "Preparing",
        TaskState::Ready => "Ready",
        TaskState::Starting => "Starting",
        TaskState::Running => "Running",
        TaskState::Complete => "Complete",
        TaskState::Shutdown => "Shutdown",
        TaskState::Failed => "Failed",
        TaskState::Rejected => "Rejected",
        TaskState::Orphaned => "Orphaned",
    }
}

/// `2 minutes ago`; nothing for what is no time.
fn ago(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return String::new();
    };
    let shown = crate::commands::ps::age(since.as_second(), now);
    format!("{} ago", shown.to_lowercase())
}
