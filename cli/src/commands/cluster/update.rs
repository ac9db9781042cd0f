//! `cluster update`: what can be set for all nodes at once. Settings of Swarm that mean nothing here are
//! refused by name.

use std::process::ExitCode;

use hyper::Method;
use scheduler::compose::parse_duration;
use scheduler::control_plane::command::ClusterUpdate;
use scheduler::model::cluster::{FASTEST_MILLIS, SLOWEST_MILLIS};

use crate::commands::Outcome;
use crate::connect::Client;
use crate::error::Failure;
use crate::output;

/// Change settings of the whole cluster
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long certificates of nodes are good from their next renewal on, in whole hours, e.g. `2160h`
    #[arg(long, value_name = "DURATION", value_parser = whole_hours)]
    cert_expiry: Option<u64>,
    /// Time between two heartbeats of a node; it is down after five of them
    #[arg(long, value_name = "DURATION", value_parser = heartbeat)]
    dispatcher_heartbeat: Option<u64>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    autolock: Option<String>,
    #[arg(long, hide = true)]
    task_history_limit: Option<String>,
    #[arg(long, hide = true)]
    snapshot_interval: Option<String>,
    #[arg(long, hide = true)]
    max_snapshots: Option<String>,
    #[arg(long, hide = true)]
    external_ca: Option<String>,
}

impl Args {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        if let Some((flag, why)) = self.refused() {
            return Err(Failure::new(format!("{flag} is not supported: {why}")));
        }
        let update = ClusterUpdate {
            certificate_hours: self.cert_expiry,
            heartbeat_millis: self.dispatcher_heartbeat,
        };
        if update == ClusterUpdate::default() {
            return Err(Failure::new("nothing is to be changed")
                .hint("See `wharfie cluster update --help`."));
        }
        client
            .send_empty(Method::POST, "/x/cluster/settings", &update)
            .await?;
        output::line("The cluster was updated.");
        Ok(ExitCode::SUCCESS)
    }

    fn refused(&self) -> Option<(&'static str, &'static str)> {
        let given = [
            (
                self.autolock.is_some(),
                "--autolock",
                "what lies on a manager's disk is always encrypted, with the key in `node.key` of its data root",
            ),
            (
                self.task_history_limit.is_some(),
                "--task-history-limit",
                "a container keeps its own history, and goes with it",
            ),
            (
                self.snapshot_interval.is_some(),
                "--snapshot-interval",
                "snapshots are made when the log has grown enough",
            ),
            (
                self.max_snapshots.is_some(),
                "--max-snapshots",
                "one snapshot is kept; back up the data root of a manager",
            ),
            (
                self.external_ca.is_some(),
                "--external-ca",
                "managers sign certificates themselves; see `wharfie cluster ca --ca-cert`",
            ),
        ];
        let first = given.into_iter().find(|(is_given, ..)| *is_given);
        first.map(|(_, flag, why)| (flag, why))
    }
}

/// A duration of at least an hour, in hours.
pub(super) fn whole_hours(text: &str) -> Result<u64, String> {
    let seconds = parse(text)?.as_secs();
    if seconds < 3600 || seconds % 3600 != 0 {
        return Err("it must be at least 1h, and whole hours".to_owned());
    }
    Ok(seconds / 3600)
}

fn heartbeat(text: &str) -> Result<u64, String> {
    let millis = u64::try_from(parse(text)?.as_millis()).unwrap_or(u64::MAX);
    if !(FASTEST_MILLIS..=SLOWEST_MILLIS).contains(&millis) {
        return Err(format!(
            "it must be between {FASTEST_MILLIS}ms and {}s",
            SLOWEST_MILLIS / 1000
        ));
    }
    Ok(millis)
}

fn parse(text: &str) -> Result<std::time::Duration, String> {
    parse_duration(text).map_err(|_| "write for example `30s` or `2160h`".to_owned())
}
