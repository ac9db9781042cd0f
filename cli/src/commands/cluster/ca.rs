//! `cluster ca`: the root certificate, and another one in its place.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::cluster::rotation::{AuthorityView, RotateRequest};
use hyper::Method;

use super::update::whole_hours;
use crate::commands::Outcome;
use crate::connect::Client;
use crate::error::Failure;
use crate::output;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A manager that is asked may die meanwhile, and another one lead.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Print the root certificate, or rotate the certificate authority
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make a new authority, give every node a certificate of it, and forget the old one
    #[arg(long)]
    rotate: bool,
    /// PEM file of a root certificate to use instead of a new one
    #[arg(long, value_name = "FILE", requires_all = ["rotate", "ca_key"])]
    ca_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// How long certificates of nodes are good, in whole hours, e.g. `2160h`
    #[arg(long, value_name = "DURATION", requires = "rotate", value_parser = whole_hours)]
    cert_expiry: Option<u64>,
    #[arg(long, hide = true, value_name = "SPEC")]
    external_ca: Option<String>,
    /// Do not wait until all nodes have followed
    #[arg(short, long, requires = "rotate")]
    detach: bool,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        if self.external_ca.is_some() {
            return Err(Failure::new(
                "--external-ca is not supported: managers sign certificates themselves",
            )
            .hint("Bring a root of your own with --ca-cert and --ca-key."));
        }
        let mut view: AuthorityView = if self.rotate {
            let request = RotateRequest {
                certificate: self.ca_cert.as_deref().map(read).transpose()?,
                private_key: self.ca_key.as_deref().map(read).transpose()?,
                certificate_hours: self.cert_expiry,
            };
            client
                .send_json(Method::POST, "/x/cluster/ca", &request)
                .await?
        } else {
            client.get("/x/cluster/ca").await?
        };
        if self.detach {
            return Ok(ExitCode::SUCCESS);
        }
        if self.rotate {
            view = follow(client, view, self.quiet).await?;
        }
        output::result(&view.certificate);
        Ok(ExitCode::SUCCESS)
    }
}

/// Until every node that is not down has followed.
async fn follow(
    client: &Client,
    begun: AuthorityView,
    quiet: bool,
) -> Result<AuthorityView, Failure> {
    let wanted = begun.digest.clone();
    if !quiet {
        output::note(format!("desired root digest: {wanted}"));
    }
    let mut said = None;
    let mut view = begun;
    let mut heard = Instant::now();
    loop {
        if view.digest != wanted {
            return Err(Failure::new("another rotation has begun meanwhile")
                .hint("Print the root certificate with `wharfie cluster ca`."));
        }
        let progress = (view.renewed, view.nodes);
        if !quiet && said != Some(progress) {
            output::note(format!(
                "rotated certificates: {} of {} nodes",
                view.renewed, view.nodes
            ));
            said = Some(progress);
        }
        if !view.rotating {
            return Ok(view);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match client.get("/x/cluster/ca").await {
            Ok(next) => {
                heard = Instant::now();
                view = next;
            }
            Err(_) if heard.elapsed() < SILENCE_LIMIT => {}
            Err(error) => {
                return Err(Failure::from(error)
                    .hint("The rotation goes on by itself: `wharfie cluster ca` on a manager shows the root."));
            }
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}
