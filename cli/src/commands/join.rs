//! `join` and `leave`: a host into a cluster, and out of it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::api::x::cluster::LeaveRequest;
use agent::cluster::info::ClusterInfo;
use agent::cluster::{JoinRequest, Joined};
use hyper::Method;
use scheduler::control_plane::command::Force;

use super::Outcome;
use super::node::AvailabilityArg;
use crate::connect::Client;
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// A node with many containers needs seconds to start.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Make this host a node of a cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `wharfie cluster join-token` printed; it says whether as a worker or a manager
    #[arg(long)]
    token: String,
    /// Manager of the cluster: HOST or HOST:PORT; further ones are asked when it does not answer
    #[arg(required = true, value_name = "ADDRESS")]
    managers: Vec<String>,
    /// Address that others reach this host at [default: the one that the manager is reached from]
    #[arg(long, value_name = "ADDRESS")]
    advertise_addr: Option<String>,
    /// Address to listen on for other nodes [default: 0.0.0.0:2377]
    #[arg(long, value_name = "ADDRESS")]
    listen_addr: Option<String>,
    /// Whether it gets containers
    #[arg(long, value_enum, default_value = "active")]
    availability: AvailabilityArg,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.node().await?;
        let request = JoinRequest {
            token: self.token,
            managers: self.managers,
            listen: self.listen_addr,
            advertise: self.advertise_addr,
            availability: self.availability.into(),
        };
        let joined: Joined = client
            .send_json(Method::POST, "/x/cluster/join", &request)
            .await?;
        becomes(&client, |info| info.id == joined.cluster).await?;
        let role = joined.role;
        output::line(format!("This node joined the cluster as a {role}."));
        Ok(ExitCode::SUCCESS)
    }
}

/// Take this host out of its cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Leave {
    /// Also as a manager, and when no other node can be told
    #[arg(short, long)]
    force: bool,
}

impl Leave {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client();
        let force = match self.force {
            true => Force::Yes,
            false => Force::No,
        };
        client
            .send_empty(Method::POST, "/x/cluster/leave", &LeaveRequest { force })
            .await?;
        becomes(&client, |info| info.id.is_empty()).await?;
        output::line("This node left the cluster.");
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits until the node, which starts again, answers.
pub(super) async fn answers_again(client: &Client) -> Result<(), Failure> {
    // It may not have stopped yet: what it is then is as good.
    tokio::time::sleep(POLL_EVERY * 10).await;
    becomes(client, |_| true).await
}

/// Waits until the node has started again, as what it is to be.
async fn becomes(client: &Client, wanted: impl Fn(&ClusterInfo) -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        if let Ok(info) = client.get::<ClusterInfo>("/x/cluster").await
            && wanted(&info)
        {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            return Err(Failure::new(format!(
                "the node does not answer {} s after it began to start again",
                START_LIMIT.as_secs()
            ))
            .hint("Its log says why: agent.log in the data root, or the journal of its unit."));
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}
