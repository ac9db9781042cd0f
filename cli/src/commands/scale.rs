//! `scale`: changes how many containers a service has.

use agent::api::x::{DeployRequest, Recreate};
use hyper::Method;
use scheduler::status::StackStatus;

use super::Outcome;
use super::up::parse_scale;
use crate::connect::credentials;
use crate::deploy::{self, with_dependencies};
use crate::follow::{self, Want, stack_path};
use crate::progress::{Differ, Intent};
use crate::project::Context;

/// Change the number of containers of services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the services that these depend on alone
    #[arg(long)]
    no_deps: bool,
    #[arg(required = true, value_name = "SERVICE=NUM", value_parser = parse_scale)]
    scale: Vec<(String, u32)>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let services: Vec<String> = self.scale.iter().map(|(name, _)| name.clone()).collect();
        let project = context.load_with(&services)?;
        let client = context.node().await?;
        let before = follow::status(&client, &project.name).await?;
        let scope = match self.no_deps {
            true => services.clone(),
            false => with_dependencies(&project.stack, &services),
        };
        let images = project
            .stack
            .services
            .values()
            .map(|it| it.container.image.as_str());
        let request = DeployRequest {
            registry_auth: credentials::for_images(images),
            stack: project.stack,
            services,
            no_deps: self.no_deps,
            recreate: Recreate::Never,
            scale: self.scale.into_iter().collect(),
            ..DeployRequest::default()
        };
        let path = stack_path(&project.name, "");
        let accepted = deploy::ask(&client, Method::PUT, &path, &request).await?;
        let mut differ = Differ::new(&before, Intent::Up).only(&scope);
        let mut progress = context.progress("Running");
        let converge = follow::converge(
            &client,
            &project.name,
            accepted.revision,
            &mut differ,
            &mut progress,
            |stack: &StackStatus| follow::reached(stack, &scope, Want::Started),
        );
        let (verdict, status) = deploy::interruptible(converge).await?;
        deploy::finish(&client, &verdict, &status).await
    }
}
