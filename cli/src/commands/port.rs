//! `port`: where a port of a service is published.

use std::process::ExitCode;

use clap::ValueEnum;

use super::Outcome;
use crate::docker;
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// Print the address that a port is published on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_enum, default_value = "tcp")]
    protocol: Protocol,
    /// Number of the container, when the service has several
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    service: String,
    /// Port in the container
    private_port: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let container =
            docker::running(&context.client(), &project, &self.service, self.index).await?;
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let published = container.ports.iter().find(|it| {
            it.private_port == self.private_port && it.public_port > 0 && it.protocol == protocol
        });
        match published {
            Some(it) if it.ip.contains(':') => {
                output::line(format!("[{}]:{}", it.ip, it.public_port))
            }
            Some(it) => output::line(format!("{}:{}", it.ip, it.public_port)),
            None => {
                let (port, name) = (self.private_port, container.name());
                return Err(Failure::new(format!(
                    "no port {port}/{protocol} for container {name}"
                )));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
