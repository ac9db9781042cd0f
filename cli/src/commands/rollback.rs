//! `rollback`: services go back to the version that was completed before the current one.

use agent::api::x::ServicesRequest;

use super::Outcome;
use crate::deploy::ServiceAction;
use crate::follow;
use crate::progress::Intent;
use crate::project::Context;

/// Go back to the version before; the file is left as it is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services to take back
    #[arg(required = true)]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let request = ServicesRequest {
            services: self.services,
            ..ServicesRequest::default()
        };
        ServiceAction {
            verb: "rollback",
            title: "Rolling back",
            intent: Intent::Up,
            request,
        }
        .run(context, follow::settled)
        .await
    }
}
