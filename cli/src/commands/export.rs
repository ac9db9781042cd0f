//! `export`: the files of a container as a tar archive.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use http_body_util::BodyExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Outcome;
use crate::docker;
use crate::error::Failure;
use crate::output;
use crate::project::Context;

/// Write the files of a container as a tar archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of the container, when the service has several
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    service: String,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.output.is_none() && output::stdout_is_terminal() {
            return Err(Failure::new("an archive is not written to a terminal")
                .hint("Name a file with -o, or send the output somewhere."));
        }
        let project = context.project_name()?;
        let client = context.client();
        let container = docker::one_of(&client, &project, &self.service, self.index).await?;
        let path = format!("/containers/{}/export", container.id);
        let mut body = client.fetch(hyper::Method::GET, &path).await?.into_body();
        let mut out: Box<dyn AsyncWrite + Unpin> = match &self.output {
            None => Box::new(tokio::io::stdout()),
            Some(path) => Box::new(
                tokio::fs::File::create(path)
                    .await
                    .with_context(|| format!("cannot create {}", path.display()))?,
            ),
        };
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                out.write_all(&bytes).await?;
            }
        }
        out.flush().await?;
        Ok(ExitCode::SUCCESS)
    }
}
