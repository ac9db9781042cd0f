//! `rm`: removes containers that have ended.

use std::io::{self, BufRead};
use std::process::ExitCode;

use agent::api::x::ServicesRequest;
use hyper::Method;
use scheduler::status::StackStatus;

use super::Outcome;
use crate::deploy;
use crate::follow::{self, Verdict, stack_path};
use crate::output;
use crate::progress::{Differ, Intent};
use crate::project::Context;

/// Remove stopped containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop the containers first
    #[arg(short, long)]
    stop: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Services to remove the containers of [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let named = context.named()?;
        let project = named.name.clone();
        let Some(client) = context.existing_node().await? else {
            return Ok(nothing());
        };
        let before = follow::status(&client, &project).await?;
        named.check(&self.services, |name| {
            before.services.iter().any(|it| it.name == name)
        })?;
        let going = self.going(&before);
        if going.is_empty() {
            return Ok(nothing());
        }
        if !self.force && !confirm(&going) {
            return Ok(ExitCode::SUCCESS);
        }
        let request = ServicesRequest {
            services: self.services.clone(),
            volumes: self.volumes,
            stop: self.stop,
            ..ServicesRequest::default()
        };
        let path = stack_path(&project, "/rm");
        let accepted = deploy::ask(&client, Method::POST, &path, &request).await?;
        let mut differ = Differ::new(&before, Intent::Stop);
        let mut progress = context.progress("Removing");
        let goal = |stack: &StackStatus| {
            let mut left = stack.services.iter().flat_map(|it| &it.containers);
            match left.any(|it| going.contains(&it.name)) {
                true => Verdict::NotYet,
                false => Verdict::Reached,
            }
        };
        let revision = accepted.revision;
        let converge = follow::converge(
            &client,
            &project,
            revision,
            &mut differ,
            &mut progress,
            goal,
        );
        deploy::interruptible(converge).await?;
        Ok(ExitCode::SUCCESS)
    }

    /// Names of the containers that are to be removed.
    fn going(&self, stack: &StackStatus) -> Vec<String> {
        let in_scope = |name: &String| self.services.is_empty() || self.services.contains(name);
        let services = stack.services.iter().filter(|it| in_scope(&it.name));
        let containers = services.flat_map(|it| &it.containers);
        let ended = containers.filter(|it| self.stop || it.state.is_terminal());
        ended.map(|it| it.name.clone()).collect()
    }
}

fn nothing() -> ExitCode {
    output::note("No stopped containers");
    ExitCode::SUCCESS
}

/// Asks; without an answer nothing is removed.
fn confirm(names: &[String]) -> bool {
    output::note(format!("? Going to remove {} [y/N]", names.join(", ")));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
