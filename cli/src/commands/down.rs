//! `down`: ends a stack and removes what it was made of.
//!
//! It waits for what the node does, but not for ever: some time after the last container had to be
//! gone it tells what is left, and why.

mod left;

use std::process::ExitCode;
use std::time::Duration;

use agent::api::x::DownRequest;
use clap::ValueEnum;
use hyper::Method;
use scheduler::status::StackStatus;

use super::Outcome;
use crate::connect::Client;
use crate::deploy;
use crate::docker::Inspected;
use crate::error::Failure;
use crate::follow::{self, Verdict, stack_path};
use crate::output;
use crate::progress::{Differ, Event, Intent, Kind, Progress};
use crate::project::Context;

/// How long removing may take beyond the time that the containers have to stop, unless the environment
/// says otherwise in [`PATIENCE_VARIABLE`], in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

const PATIENCE_VARIABLE: &str = "WHARFIE_PATIENCE";

/// How long a node that is asked what it is at may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Stop and remove containers and networks
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Remove the volumes too: named ones that are not external, and anonymous ones
    #[arg(short, long)]
    volumes: bool,
    /// Remove the images too: all, or those that were built
    #[arg(long, value_enum, value_name = "WHICH")]
    rmi: Option<Images>,
    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,
    /// Seconds until a container that does not stop is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to remove [default: all, with the networks]
    services: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Images {
    // Of every service
    All,
    // Without a name of their own, as only a build makes them
    Local,
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
        let patience = context.seconds(PATIENCE_VARIABLE).unwrap_or(PATIENCE);
        let bounded = async {
            tokio::select! {
                done = converge => done.map(drop).map_err(Failure::from),
                waited = self.patience(&client, &before, patience) => Err(stuck(&client, &project, waited).await),
            }
        };
        deploy::interruptible(bounded).await?;
        if self.rmi == Some(Images::All) {
            self.remove_images(&client, &before, &mut progress).await;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns after as long as all should have taken.
    async fn patience(
        &self,
        client: &Client,
        before: &StackStatus,
        patience: Duration,
    ) -> Duration {
        tokio::time::sleep(patience).await;
        let grace = match self.timeout {
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) => Duration::from_secs(seconds),
                // A container that is never killed may take for ever.
                Err(_) => return std::future::pending().await,
            },
            None => longest_grace(client, before).await,
        };
        tokio::time::sleep(grace).await;
        patience + grace
    }

    async fn remove_images(&self, client: &Client, before: &StackStatus, progress: &mut Progress) {
        let in_scope = |name: &String| self.services.is_empty() || self.services.contains(name);
        let services = before.services.iter().filter(|it| in_scope(&it.name));
        let mut images: Vec<&str> = services.map(|it| it.image.as_str()).collect();
        images.sort_unstable();
        images.dedup();
        for image in images.into_iter().filter(|it| !it.is_empty()) {
            let path = format!("/images/{image}");
            let removed = client.order(Method::DELETE, &path).await;
            let (word, kind, details) = match removed {
                Ok(()) => ("Removed", Kind::Done, String::new()),
                Err(error) if error.status() == Some(404) => continue,
                // Another stack needs it.
                Err(error) => ("Kept", Kind::Warning, error.to_string()),
            };
            progress.show(Event {
                id: format!("Image {image}"),
                word,
                kind,
                details,
                bytes: None,
            });
        }
        progress.redraw();
    }
}

/// The longest time that a container of the stack has to stop. One that has gone needs none.
async fn longest_grace(client: &Client, stack: &StackStatus) -> Duration {
    let mut longest = 0;
    for container in stack.services.iter().flat_map(|it| &it.containers) {
        let path = format!("/containers/{}/json", container.id);
        let found = tokio::time::timeout(ANSWER, client.find::<Inspected>(&path)).await;
        if let Ok(Ok(Some(found))) = found {
            longest = longest.max(found.config.stop_timeout.unwrap_or(10));
        }
    }
    Duration::from_secs(longest)
}

/// What is left, and what the node says about it.
async fn stuck(client: &Client, project: &str, waited: Duration) -> Failure {
    let seconds = waited.as_secs();
    let asked = tokio::time::timeout(ANSWER, follow::status(client, project)).await;
    let told = match asked {
        Ok(Ok(stack)) => left::told(&stack),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the node does not answer".to_owned(),
    };
    Failure::new(format!(
        "project \"{project}\" is not gone after {seconds} seconds: {told}"
    ))
    .hint("The node goes on trying; its log says more, and `wharfie down` waits again.")
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
