//! `down`: ends a stack and removes what it was made of.

use std::process::ExitCode;

use agent::api::x::DownRequest;
use hyper::Method;
use scheduler::status::StackStatus;

use super::Outcome;
use crate::deploy;
use crate::follow::{self, Verdict, stack_path};
use crate::output;
use crate::progress::{Differ, Intent};
use crate::project::Context;

/// Stop and remove containers and networks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove the volumes too: named ones that are not external, and anonymous ones
    #[arg(short, long)]
    volumes: bool,
    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,
    /// Seconds until a container that does not stop is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to remove [default: all, with the networks]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let named = context.named()?;
        let project = named.name.clone();
        let Some(client) = context.existing_node().await? else {
            return Ok(nothing_to_remove(&project));
        };
        let before = follow::status(&client, &project).await?;
        if is_empty(&before, &self) {
            return Ok(nothing_to_remove(&project));
        }
        named.check(&self.services, |name| {
            before.services.iter().any(|it| it.name == name)
        })?;
        let request = DownRequest {
            services: self.services.clone(),
            volumes: self.volumes,
            remove_orphans: self.remove_orphans,
            timeout: self.timeout,
        };
        let path = stack_path(&project, "/down");
        let accepted = deploy::ask(&client, Method::POST, &path, &request).await?;
        let mut differ = Differ::new(&before, Intent::Stop);
        let mut progress = context.progress("Running");
        let is_left = |stack: &StackStatus| {
            let mut networks = before.networks.iter();
            networks.any(|it| stack.leaving_networks.contains(&it.name))
        };
        let goal = |stack: &StackStatus| match is_empty(stack, &self) && !is_left(stack) {
            true => Verdict::Reached,
            false => Verdict::NotYet,
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
}

fn nothing_to_remove(project: &str) -> ExitCode {
    output::note(format!(
        "warning: no resource found to remove for project \"{project}\""
    ));
    ExitCode::SUCCESS
}

/// Nothing is left of what is to go.
fn is_empty(stack: &StackStatus, args: &Args) -> bool {
    let in_scope = |name: &String| args.services.is_empty() || args.services.contains(name);
    let containers = stack
        .services
        .iter()
        .filter(|it| in_scope(&it.name))
        .flat_map(|it| &it.containers)
        // What `run` has made belongs to the stack, not to a service.
        .filter(|it| args.services.is_empty() || !it.one_off);
    let leaves_networks = !args.services.is_empty();
    containers.count() == 0
        && (leaves_networks || stack.networks.is_empty())
        && (leaves_networks || !args.volumes || stack.volumes.is_empty())
}
