//! `restart`: ends containers and starts them again, as they are.

use agent::api::x::ServicesRequest;

use super::Outcome;
use crate::deploy::ServiceAction;
use crate::follow::{self, Want};
use crate::progress::Intent;
use crate::project::Context;

/// Restart containers; changes in the file are not applied
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the services that depend on these alone
    #[arg(long)]
    no_deps: bool,
    /// Seconds until a container that does not stop is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to restart [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let request = ServicesRequest {
            services: self.services,
            timeout: self.timeout,
            no_deps: self.no_deps,
            ..ServicesRequest::default()
        };
        ServiceAction {
            verb: "restart",
            title: "Restarting",
            intent: Intent::Restart,
            request,
        }
        .run(context, |stack, services| {
            follow::reached(stack, services, Want::Started)
        })
        .await
    }
}
