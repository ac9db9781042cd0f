//! `cp`: copies files between containers and this host, as tar archives.
//!
//!     SERVICE:PATH ── GET archive ──► tar ──► DESTINATION, or standard output for `-`
//!     SOURCE, or standard input ──► tar ── PUT archive ──► SERVICE:PATH
//!
//! | module | what it does |
//! |---|---|
//! | [`place`] | `SERVICE:PATH`, a path here or `-`, and what is in a container |
//! | [`pack`] | a tree of this host → tar |
//! | [`unpack`] | tar → a place on this host |

pub(super) mod pack;
mod place;
mod unpack;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use futures::TryStreamExt;
use http_body_util::BodyExt;
use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use self::pack::{Links, Owners};
use self::place::{Place, Stat};
use super::Outcome;
use crate::connect::{Client, body_of, url};
use crate::docker::{self, Container};
use crate::error::Failure;
use crate::progress::{Event, Kind};
use crate::project::Context;

/// Bytes between the archive's writer and the connection.
const PIPE_LEN: usize = 64 * 1024;

/// Copy files between containers and this host: one of the two is SERVICE:PATH
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep users and groups
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symbolic link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Number of the container [default: all when writing, the first when reading]
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    /// Write to containers that `run` made, too
    #[arg(long)]
    all: bool,
    /// What to copy: SERVICE:PATH, a path, or - for an archive on standard input
    source: Place,
    /// Where to: SERVICE:PATH, a path, or - for an archive on standard output
    destination: Place,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        match (&self.source, &self.destination) {
            (Place::Container { service, path }, Place::Container { .. }) => Err(Failure::new(
                "files are not copied from one service to another",
            )
            .hint(format!(
                "Copy them here first: `wharfie cp {service}:{path} .`."
            ))),
            (Place::Container { service, path }, to) => {
                let container = docker::one_of(&client, &project, service, self.index).await?;
                self.fetch(&client, &container, path, to).await?;
                self.copied(context, &container, to);
                Ok(ExitCode::SUCCESS)
            }
            (from, Place::Container { service, path }) => {
                let containers = self.written(&client, &project, service).await?;
                if *from == Place::Stream && containers.len() > 1 {
                    return Err(Failure::new(format!(
                        "standard input goes to one container, and \"{service}\" has several"
                    ))
                    .hint("Choose one with --index."));
                }
                for container in &containers {
                    self.send(&client, container, from, path).await?;
                    self.copied(context, container, &self.destination);
                }
                Ok(ExitCode::SUCCESS)
            }
            (Place::Here(_) | Place::Stream, Place::Here(_) | Place::Stream) => {
                Err(Failure::new("neither is in a container")
                    .hint("Write one of the two as SERVICE:PATH."))
            }
        }
    }

    fn copied(&self, context: &Context, container: &Container, to: &Place) {
        if *to == Place::Stream {
            return;
        }
        let mut progress = context.progress("Copying");
        progress.show(Event {
            id: format!("Container {}", container.name()),
            word: "Copied",
            kind: Kind::Done,
            details: format!("{} to {}", self.source, self.destination),
            bytes: None,
        });
        progress.redraw();
    }

    /// The containers that are written to.
    async fn written(
        &self,
        client: &Client,
        project: &str,
        service: &str,
    ) -> Result<Vec<Container>, Failure> {
        if self.index.is_some() {
            return Ok(vec![
                docker::one_of(client, project, service, self.index).await?,
            ]);
        }
        let mut found = docker::of_services(client, project, &[service.to_owned()]).await?;
        found.retain(|it| self.all || !it.is_one_off());
        match found.is_empty() {
            false => Ok(found),
            true => Err(Failure::new(format!(
                "no container found for service \"{service}\""
            ))),
        }
    }

    async fn fetch(
        &self,
        client: &Client,
        container: &Container,
        path: &str,
        to: &Place,
    ) -> Result<(), Failure> {
        let mut path = path.to_owned();
        if self.follow_link
            && let Some(stat) = Stat::of(client, container, &path).await?
            && stat.is_link()
        {
            path = stat.link_target;
        }
        let archive = url(
            &format!("/containers/{}/archive", container.id),
            &[("path", &path)],
        );
        let mut body = client.fetch(Method::GET, &archive).await?.into_body();
        let Place::Here(to) = to else {
            let mut out = tokio::io::stdout();
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame?.into_data() {
                    out.write_all(&bytes).await?;
                }
            }
            return Ok(out.flush().await?);
        };
        let pieces = http_body_util::BodyDataStream::new(body).map_err(std::io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(pieces));
        let (to, owners) = (to.clone(), self.owners());
        let unpacked =
            tokio::task::spawn_blocking(move || unpack::unpack(reader, &path, &to, owners));
        Ok(unpacked.await??)
    }

    async fn send(
        &self,
        client: &Client,
        container: &Container,
        from: &Place,
        path: &str,
    ) -> Result<(), Failure> {
        let stat = Stat::follow(client, container, path).await?;
        let Place::Here(source) = from else {
            return match stat {
                Some(stat) if stat.is_directory() => {
                    self.upload(client, container, &stat.path, body_of(tokio::io::stdin()))
                        .await
                }
                _ => Err(Failure::new(format!(
                    "{path} is not a directory in {}",
                    container.name()
                ))
                .hint("An archive is unpacked into a directory that is there.")),
            };
        };
        let (directory, name) = place::landing(source, path, stat.as_ref())?;
        let (reader, writer) = tokio::io::duplex(PIPE_LEN);
        let writer = SyncIoBridge::new(writer);
        let (source, owners) = (PathBuf::from(source), self.owners());
        let links = match self.follow_link {
            true => Links::Followed,
            false => Links::Kept,
        };
        check_readable(&source)?;
        let packing =
            tokio::task::spawn_blocking(move || pack::pack(&source, &name, owners, links, writer));
        let sent = self
            .upload(client, container, &directory, body_of(reader))
            .await;
        let packed = packing.await?;
        // What the node refuses also ends the archive; its reason is the better one.
        sent?;
        Ok(packed?)
    }

    async fn upload(
        &self,
        client: &Client,
        container: &Container,
        directory: &str,
        body: crate::connect::Body,
    ) -> Result<(), Failure> {
        let keep = if self.archive { "1" } else { "0" };
        let query = [
            ("path", directory),
            ("noOverwriteDirNonDir", "1"),
            ("copyUIDGID", keep),
        ];
        let path = url(&format!("/containers/{}/archive", container.id), &query);
        Ok(client.upload(&path, body).await?)
    }

    fn owners(&self) -> Owners {
        match self.archive {
            true => Owners::Kept,
            false => Owners::Ours,
        }
    }
}

/// Nothing is sent of what is not there.
fn check_readable(source: &Path) -> Result<(), Failure> {
    std::fs::symlink_metadata(source)
        .with_context(|| format!("cannot read {}", source.display()))?;
    Ok(())
}
