//! `image`: what the node has in its image store.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use hyper::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::Outcome;
use crate::connect::{Client, body_of, escape, url};
use crate::deploy;
use crate::docker::{Image, ProgressLine};
use crate::error::Failure;
use crate::output::{self, Table, decimal_size};
use crate::progress::Event;
use crate::project::Context;

/// Manage images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load images from an archive that `docker save` wrote, or an OCI layout
    Load {
        /// Archive to read [default: standard input]
        #[arg(short, long, value_name = "PATH")]
        input: Option<PathBuf>,
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Make an image of a root filesystem in a tar archive
    Import {
        /// Archive to read; `-` is standard input
        file: PathBuf,
        /// Name of the image
        reference: Option<String>,
        /// Change the image as a Dockerfile would, e.g. 'CMD ["sh"]'; may be repeated
        #[arg(short, long, value_name = "INSTRUCTION")]
        change: Vec<String>,
    },
    /// List images
    Ls {
        /// Print only ids
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove images
    Rm {
        /// Remove images that containers were made from
        #[arg(short, long)]
        force: bool,
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Pull an image
    Pull {
        #[arg(short, long)]
        quiet: bool,
        image: String,
    },
    /// Give an image another name
    Tag { source: String, target: String },
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Load { input, quiet } => {
                let client = context.node().await?;
                let path = if quiet {
                    "/images/load?quiet=1"
                } else {
                    "/images/load"
                };
                upload(&client, path, input).await?;
            }
            Command::Import {
                file,
                reference,
                change,
            } => {
                let client = context.node().await?;
                let (repository, tag) = reference
                    .as_deref()
                    .map(repository_and_tag)
                    .unwrap_or_default();
                let mut query = vec![("fromSrc", "-")];
                if !repository.is_empty() {
                    query.extend([("repo", repository.as_str()), ("tag", tag.as_str())]);
                }
                query.extend(change.iter().map(|it| ("changes", it.as_str())));
                let input = Some(file).filter(|it| it.as_os_str() != "-");
                upload(&client, &url("/images/create", &query), input).await?;
            }
            Command::Ls { quiet } => {
                let images = match context.existing_node().await? {
                    Some(client) => client.get("/images/json").await?,
                    None => Vec::new(),
                };
                list(&images, quiet);
            }
            Command::Rm { force, images } => remove(&context.client(), &images, force).await?,
            Command::Pull { quiet, image } => {
                let client = context.node().await?;
                let progress = std::cell::RefCell::new(context.progress("Pulling"));
                let say = |event: Event| {
                    if !quiet {
                        let mut progress = progress.borrow_mut();
                        progress.show(event);
                        progress.redraw();
                    }
                };
                deploy::interruptible(super::pull::pull(&client, &image, &say)).await?;
                output::line(&image);
            }
            Command::Tag { source, target } => {
                let (repository, tag) = repository_and_tag(&target);
                let path = format!("/images/{}/tag", escape_name(&source));
                let path = url(&path, &[("repo", &repository), ("tag", &tag)]);
                context.client().order(Method::POST, &path).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Sends a file, or standard input, and prints what the node says about it.
async fn upload(client: &Client, path: &str, input: Option<PathBuf>) -> Result<(), Failure> {
    let body = match input {
        Some(path) => {
            let file = tokio::fs::File::open(&path).await;
            body_of(file.with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => body_of(tokio::io::stdin()),
    };
    let headers = [("Content-Type", "application/x-tar".to_owned())];
    let talk = async {
        let mut lines = client
            .post_lines::<ProgressLine>(path, &headers, Some(body))
            .await?;
        while let Some(line) = lines.next().await? {
            if !line.error.is_empty() {
                return Err(Failure::new(line.error));
            }
            output::result(&line.stream);
            // Progress on the way has an id or a number; what is left is the result.
            if !line.status.is_empty() && line.id.is_empty() && line.detail.total == 0 {
                output::line(&line.status);
            }
        }
        Ok(())
    };
    deploy::interruptible(talk).await
}

fn list(images: &[Image], quiet: bool) {
    if quiet {
        images.iter().for_each(|it| output::line(short_id(&it.id)));
        return;
    }
    let now = Timestamp::now();
    let mut table = Table::new(10, &["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for image in images {
        let untagged = ["<none>:<none>".to_owned()];
        let names = if image.repo_tags.is_empty() {
            &untagged[..]
        } else {
            &image.repo_tags[..]
        };
        for name in names {
            let (repository, tag) = repository_and_tag(name);
            table.row(vec![
                repository,
                tag,
                short_id(&image.id).to_owned(),
                format!("{} ago", super::ps::age(image.created, now)),
                decimal_size(image.size),
            ]);
        }
    }
    output::result(table.render());
}

/// Removes what can be removed, and says afterwards what could not.
async fn remove(client: &Client, images: &[String], force: bool) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for image in images {
        let force = if force { "1" } else { "0" };
        let path = url(
            &format!("/images/{}", escape_name(image)),
            &[("force", force)],
        );
        match client
            .send_nothing::<Vec<Value>>(Method::DELETE, &path)
            .await
        {
            Ok(removed) => removed.iter().for_each(print_removed),
            Err(error) => failed.push(error.to_string()),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failed.join("\n"))),
    }
}

fn print_removed(entry: &Value) {
    for key in ["Untagged", "Deleted"] {
        if let Some(what) = entry.get(key).and_then(Value::as_str) {
            output::line(format!("{key}: {what}"));
        }
    }
}

/// A name in a path: its slashes stay, since the API's images are found by suffix.
fn escape_name(name: &str) -> String {
    name.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// `nginx:1.27` → `nginx`, `1.27`; the tag is `latest` when there is none.
pub(super) fn repository_and_tag(reference: &str) -> (String, String) {
    let name = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        // The colon of a registry's port is followed by a path.
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), "latest".to_owned()),
    }
}

/// Twelve digits without the algorithm.
pub(super) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &str, expected: &str) {
        let (repository, tag) = repository_and_tag(reference);
        assert_eq!(format!("{repository} {tag}"), expected);
    }

    #[test]
    fn a_port_is_not_a_tag() {
        check("nginx", "nginx latest");
        check("nginx:1.27", "nginx 1.27");
        check("localhost:5000/a/b", "localhost:5000/a/b latest");
        check("localhost:5000/a:c", "localhost:5000/a c");
        check("nginx:1@sha256:00", "nginx 1");
    }
}
