//! `pull`: fetches the images of services.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::ValueEnum;
use futures::StreamExt;
use scheduler::model::container::{ContainerSpec, PullPolicy};

use super::Outcome;
use crate::connect::{ApiError, Client, credentials, url};
use crate::deploy::{self, with_dependencies};
use crate::docker::{Image, ProgressLine};
use crate::error::Failure;
use crate::output;
use crate::progress::{Event, Kind, Progress};
use crate::project::Context;

/// Pull the images of services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on when an image cannot be pulled
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Pull for the services that these depend on, too
    #[arg(long)]
    include_deps: bool,
    #[arg(long, value_enum, default_value = "always")]
    policy: Policy,
    /// Services to pull for [default: all]
    services: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    Always,
    // Only images that are not there
    Missing,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.load_with(&self.services)?;
        let client = context.node().await?;
        let services = match self.include_deps || self.services.is_empty() {
            true => with_dependencies(&project.stack, &self.services),
            false => self.services.clone(),
        };
        let mut images: Vec<&str> = services
            .iter()
            .filter_map(|it| project.stack.services.get(it))
            .map(|it| it.container.image.as_str())
            .filter(|it| !it.is_empty())
            .collect();
        images.sort_unstable();
        images.dedup();
        if self.policy == Policy::Missing {
            retain_missing(&client, &mut images).await?;
        }
        let mut progress = match self.quiet {
            true => Progress::Quiet,
            false => context.progress("Pulling"),
        };
        let failures = deploy::interruptible(pull_all(
            &client,
            &images,
            context.parallel(),
            &mut progress,
        ))
        .await?;
        if failures.is_empty() || self.ignore_pull_failures {
            failures
                .iter()
                .for_each(|it| output::note(format!("warning: {it}")));
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(failures.join("\n")))
    }
}

/// Leaves out what the node has.
async fn retain_missing(client: &Client, images: &mut Vec<&str>) -> Result<(), Failure> {
    let present: Vec<Image> = client.get("/images/json").await?;
    images.retain(|image| !present.iter().any(|it| has_tag(it, image)));
    Ok(())
}

/// Fetches what the services need, so many images at a time. A node that is left to it fetches
/// what each container needs when it needs it.
pub(super) async fn ahead<'a>(
    context: &Context,
    client: &Client,
    services: impl Iterator<Item = &'a ContainerSpec>,
    asked: Option<PullPolicy>,
    quiet: bool,
) -> Result<(), Failure> {
    let (mut missing, mut images) = (Vec::new(), Vec::new());
    for it in services.filter(|it| !it.image.is_empty()) {
        match asked.unwrap_or(it.pull_policy) {
            PullPolicy::Never => {}
            // Whether it is time again is for the node to say.
            PullPolicy::Missing | PullPolicy::Every(_) => missing.push(it.image.as_str()),
            PullPolicy::Always => images.push(it.image.as_str()),
        }
    }
    retain_missing(client, &mut missing).await?;
    images.append(&mut missing);
    images.sort_unstable();
    images.dedup();
    if images.is_empty() {
        return Ok(());
    }
    let mut progress = match quiet {
        true => Progress::Quiet,
        false => context.progress("Pulling"),
    };
    let pulls = pull_all(client, &images, context.parallel(), &mut progress);
    let failures = deploy::interruptible(pulls).await?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failures.join("\n"))),
    }
}

fn has_tag(image: &Image, wanted: &str) -> bool {
    let (repository, tag) = super::image::repository_and_tag(wanted);
    image
        .repo_tags
        .iter()
        .any(|it| *it == format!("{repository}:{tag}"))
        || image.repo_digests.iter().any(|it| it == wanted)
}

/// Pulls the images, so many at a time; returns why some could not be.
async fn pull_all(
    client: &Client,
    images: &[&str],
    at_once: usize,
    progress: &mut Progress,
) -> Result<Vec<String>, Failure> {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let pulls = images.iter().map(move |image| {
        let sender = sender.clone();
        async move {
            let say = |event: Event| {
                // The receiver lives as long as the pulls.
                let _ = sender.send(event);
            };
            match pull(client, image, &say).await {
                Ok(()) => {
                    say(event(image, "Pulled", Kind::Done, String::new()));
                    None
                }
                Err(error) => {
                    say(event(image, "Error", Kind::Error, error.to_string()));
                    Some(format!("cannot pull {image}: {error}"))
                }
            }
        }
    });
    // Not more than there are: the limit may be any number.
    let pulls = futures::stream::iter(pulls).buffered(at_once.min(images.len()).max(1));
    let pulls = pulls.collect::<Vec<_>>();
    let mut frames = tokio::time::interval(std::time::Duration::from_millis(100));
    tokio::pin!(pulls);
    let failures = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => progress.show(event),
            failures = &mut pulls => break failures,
            _ = frames.tick() => progress.redraw(),
        }
    };
    while let Ok(event) = events.try_recv() {
        progress.show(event);
    }
    progress.redraw();
    Ok(failures.into_iter().flatten().collect())
}

/// Why one image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0}")]
    Refused(String),
}

/// Pulls one image and says how far it is.
pub(super) async fn pull(
    client: &Client,
    image: &str,
    say: &dyn Fn(Event),
) -> Result<(), PullError> {
    say(event(image, "Pulling", Kind::Working, String::new()));
    let (repository, tag) = match image.split_once('@') {
        Some((repository, digest)) => (repository.to_owned(), digest.to_owned()),
        None => super::image::repository_and_tag(image),
    };
    let path = url(
        "/images/create",
        &[("fromImage", &repository), ("tag", &tag)],
    );
    let headers = [("X-Registry-Auth", credentials::for_image(image))];
    let mut lines = client
        .post_lines::<ProgressLine>(&path, &headers, None)
        .await?;
    let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    while let Some(line) = lines.next().await? {
        if !line.error.is_empty() {
            return Err(PullError::Refused(line.error));
        }
        if line.status == "Downloading" && line.detail.total > 0 {
            layers.insert(line.id, (line.detail.current, line.detail.total));
        }
        let sum = layers
            .values()
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        if sum.1 > 0 {
            let details = format!(
                "{} / {}",
                output::decimal_size(sum.0),
                output::decimal_size(sum.1)
            );
            let bytes = Some(sum);
            say(Event {
                bytes,
                ..event(image, "Pulling", Kind::Working, details)
            });
        }
    }
    Ok(())
}

fn event(image: &str, word: &'static str, kind: Kind, details: String) -> Event {
    Event {
        id: format!("Image {image}"),
        word,
        kind,
        details,
        bytes: None,
    }
}
