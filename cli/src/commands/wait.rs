//! `wait`: blocks until the containers of services have ended.

use futures::future::{select_all, try_join_all};

use super::Outcome;
use super::exec::exit_code;
use crate::deploy;
use crate::docker::{self, Container, Waited};
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// Wait until the containers of services have ended, and print their exit codes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bring the project down as soon as the first container has ended
    #[arg(long)]
    down_project: bool,
    #[arg(required = true)]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        let mut containers = docker::containers(&client, &project).await?;
        containers.retain(|it| self.services.iter().any(|name| name == it.service()));
        if containers.is_empty() {
            return Err(Failure::new(format!(
                "no containers for project \"{project}\""
            )));
        }
        let wait = |it: &Container| {
            let path = format!("/containers/{}/wait", it.id);
            let (client, name) = (client.clone(), it.name().to_owned());
            async move {
                let mut lines = client.post_lines::<Waited>(&path, &[], None).await?;
                let code = lines.next().await?.map_or(1, |it| it.status_code);
                output::line(format!(
                    "container \"{name}\" exited with status code {code}"
                ));
                Ok::<_, Failure>(code)
            }
        };
        if self.down_project {
            let waits = containers.iter().map(|it| Box::pin(wait(it)));
            let first = async { select_all(waits).await.0 };
            let code = deploy::interruptible(first).await?;
            super::down::Args::default().run(context).await?;
            return Ok(exit_code(i32::try_from(code).unwrap_or(1)));
        }
        let codes = deploy::interruptible(try_join_all(containers.iter().map(wait))).await?;
        Ok(exit_code(
            codes
                .last()
                .and_then(|&it| i32::try_from(it).ok())
                .unwrap_or(0),
        ))
    }
}
