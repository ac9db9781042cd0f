//! `stop`: ends containers and keeps them.

use agent::api::x::ServicesRequest;

use super::Outcome;
use crate::deploy::ServiceAction;
use crate::follow;
use crate::progress::Intent;
use crate::project::Context;

/// Stop containers without removing them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds until a container that does not stop is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to stop [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let request = ServicesRequest {
            services: self.services,
            timeout: self.timeout,
            ..ServicesRequest::default()
        };
        ServiceAction {
            verb: "stop",
            title: "Stopping",
            intent: Intent::Stop,
            request,
        }
        .run(context, follow::stopped)
        .await
    }
}
