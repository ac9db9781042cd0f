//! `create`: makes the containers, and starts none.

use agent::api::x::{DeployRequest, Recreate};
use hyper::Method;
use scheduler::status::StackStatus;

use super::Outcome;
use super::up::{Pull, parse_scale};
use crate::connect::credentials;
use crate::deploy::{self, with_dependencies};
use crate::follow::{self, Want, stack_path};
use crate::progress::{Differ, Intent};
use crate::project::Context;

/// Create containers without starting them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recreate containers even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Leave existing containers as they are
    #[arg(long)]
    no_recreate: bool,
    /// When images are pulled [default: as the file says]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// Say nothing about pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,
    /// Number of containers of a service; may be repeated
    #[arg(long, value_name = "SERVICE=NUM", value_parser = parse_scale)]
    scale: Vec<(String, u32)>,
    /// Services to create [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.load_with(&self.services)?;
        let client = context.node().await?;
        let before = follow::status(&client, &project.name).await?;
        let scope = with_dependencies(&project.stack, &self.services);
        let images = project
            .stack
            .services
            .values()
            .map(|it| it.container.image.as_str());
        let request = DeployRequest {
            registry_auth: credentials::for_images(images),
            stack: project.stack,
            services: self.services,
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Force,
                (false, true) => Recreate::Never,
                (false, false) => Recreate::IfChanged,
            },
            scale: self.scale.into_iter().collect(),
            remove_orphans: self.remove_orphans,
            pull: self.pull.and_then(Pull::policy),
            no_start: true,
            ..DeployRequest::default()
        };
        let path = stack_path(&project.name, "");
        let accepted = deploy::ask(&client, Method::PUT, &path, &request).await?;
        let mut differ = Differ::new(&before, Intent::Up);
        if self.quiet_pull {
            differ.hide_pulls();
        }
        let mut progress = context.progress("Creating");
        let converge = follow::converge(
            &client,
            &project.name,
            accepted.revision,
            &mut differ,
            &mut progress,
            |stack: &StackStatus| follow::reached(stack, &scope, Want::Created),
        );
        let (verdict, status) = deploy::interruptible(converge).await?;
        deploy::finish(&client, &verdict, &status).await
    }
}
