//! `start`: starts containers that exist.

use agent::api::x::ServicesRequest;

use super::Outcome;
use crate::deploy::ServiceAction;
use crate::follow::{self, Want};
use crate::progress::Intent;
use crate::project::Context;

/// Start containers that exist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait until all are running or healthy
    #[arg(long)]
    wait: bool,
    /// Services to start [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let (want, intent) = match self.wait {
            true => (Want::Healthy, Intent::UpAndWait),
            false => (Want::Started, Intent::Up),
        };
        let request = ServicesRequest {
            services: self.services,
            ..ServicesRequest::default()
        };
        ServiceAction {
            verb: "start",
            title: "Running",
            intent,
            request,
        }
        .run(context, |stack, services| {
            follow::reached(stack, services, want)
        })
        .await
    }
}
