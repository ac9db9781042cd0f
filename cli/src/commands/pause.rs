//! `pause` and `unpause`: containers whose processes do not run for a while.

use std::process::ExitCode;

use hyper::Method;

use super::Outcome;
use crate::docker::{self, Container};
use crate::error::Failure;
use crate::progress::{Event, Kind};
use crate::project::Context;

/// Pause the processes of containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services to pause [default: all]
    services: Vec<String>,
}

/// Let the processes of paused containers go on
#[derive(Debug, clap::Args)]
pub(crate) struct UnpauseArgs {
    /// Services to let go on [default: all]
    services: Vec<String>,
}

/// One of the two, in the words of the API and of the progress.
struct Verb {
    path: &'static str,
    /// The state of the containers that it is for.
    from: &'static str,
    done: &'static str,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let verb = Verb {
            path: "pause",
            from: "running",
            done: "Paused",
        };
        verb.apply(context, &self.services).await
    }
}

impl UnpauseArgs {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let verb = Verb {
            path: "unpause",
            from: "paused",
            done: "Unpaused",
        };
        verb.apply(context, &self.services).await
    }
}

impl Verb {
    /// Goes on when one cannot be changed, and tells all that could not.
    async fn apply(&self, context: &Context, services: &[String]) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        let containers = docker::of_services(&client, &project, services).await?;
        let mut progress = context.progress("Running");
        let mut failures = Vec::new();
        let is_meant = |it: &&Container| it.state == self.from;
        for container in containers.iter().filter(is_meant) {
            let path = format!("/containers/{}/{}", container.id, self.path);
            let changed = client.order(Method::POST, &path).await;
            let (word, kind, details) = match changed {
                Ok(()) => (self.done, Kind::Done, String::new()),
                Err(error) => ("Error", Kind::Error, error.to_string()),
            };
            if kind == Kind::Error {
                let verb = self.path;
                failures.push(format!("cannot {verb} {}: {details}", container.name()));
            }
            progress.show(Event {
                id: format!("Container {}", container.name()),
                word,
                kind,
                details,
                bytes: None,
            });
        }
        progress.redraw();
        match failures.is_empty() {
            true => Ok(ExitCode::SUCCESS),
            false => Err(Failure::new(failures.join("\n"))),
        }
    }
}
