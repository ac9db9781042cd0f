//! `kill`: sends a signal to containers.

use agent::api::x::ServicesRequest;
use scheduler::status::StackStatus;

use super::Outcome;
use crate::deploy::ServiceAction;
use crate::follow::{self, Verdict};
use crate::progress::Intent;
use crate::project::Context;

/// Kill containers, or send them a signal
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal to send
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Services to kill [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        // Only this signal ends a container for certain: any other one may be handled.
        let is_final = matches!(self.signal.as_str(), "SIGKILL" | "KILL" | "9");
        let request = ServicesRequest {
            services: self.services,
            signal: Some(self.signal),
            ..ServicesRequest::default()
        };
        let goal = |stack: &StackStatus, services: &[String]| match is_final {
            true => follow::stopped(stack, services),
            false => Verdict::Reached,
        };
        ServiceAction {
            verb: "kill",
            title: "Killing",
            intent: Intent::Kill,
            request,
        }
        .run(context, goal)
        .await
    }
}
