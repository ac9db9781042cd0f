//! Images: list, inspect, pull, load, save, tag, remove.
//!
//! Long operations answer 200 before they know how they end, and then tell their progress in
//! lines of JSON; but what fails before the first line is a plain error, as in Docker.

use std::sync::Arc;

use axum::http::StatusCode;
use scheduler::model::task::TaskState;
use scheduler::state::State;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::config::{Config, Empty, Words};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::api::upload::Upload;
use crate::clock::wall_time;
use crate::image::{
    Credentials, Event, Image, ImageError, ImageId, ImportOptions, Progress, PullOptions,
    Reference, Removal, Removed, Use,
};

/// Bytes between the writer of an archive and the client.
const SAVE_BUFFER: usize = 256 << 10;

/// `GET /images/json`
pub(in crate::api) fn list(context: &Context, call: &Call) -> Answer {
    let known = [
        "before",
        "dangling",
        "label",
        "label!",
        "reference",
        "since",
        "until",
    ];
    let filters = Filters::read(&call.params, &known)?;
    let state = context.state();
    let images = context.images.list();
    let made = |text: &str| {
        context
            .images
            .resolve(text)
            .map(|image| created(&image))
            .ok()
    };
    let passes = |image: &&Arc<Image>| {
        let dangling = image.tags.is_empty();
        let named = |pattern: &str| {
            image.tags.iter().any(|tag| {
                let name = tag.familiar_repository();
                matches(pattern, &tag.to_string()) || matches(pattern, &name)
            })
        };
        filters.labels(&image.config.defaults.labels)
            && filters.any("dangling", |wanted| {
                matches!(wanted, "1" | "true") == dangling
            })
            && filters.any("reference", named)
            && filters.any("before", |other| {
                made(other).is_some_and(|at| created(image) < at)
            })
            && filters.any("since", |other| {
                made(other).is_some_and(|at| created(image) > at)
            })
            && filters.any("until", |at| {
                time::parse(at, wall_time())
                    .is_some_and(|at| created(image) < time::unix_seconds(at))
            })
    };
    let rows: Vec<Value> = images
        .iter()
        .filter(passes)
        .map(|image| row(&state, image))
        .collect();
    reply::json(&rows)
}

/// A shell pattern: `*` is anything but a slash.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let stop = rest.find('/').unwrap_or(rest.len());
            (0..=stop)
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
        }),
    }
}

/// Seconds since the epoch, as the builder wrote it.
fn created(image: &Image) -> u64 {
    let at = image
        .config
        .created
        .as_deref()
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    at.and_then(|at| u64::try_from(at.as_second()).ok())
        .unwrap_or_default()
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(ToString::to_string).collect()
}

pub(super) fn row(state: &State, image: &Image) -> Value {
    let labels = &image.config.defaults.labels;
    let users = state
        .tasks
        .values()
        .filter(|task| task.status.image_id.as_deref() == Some(&image.id.to_string()))
        .map(|task| &task.container)
        .collect::<std::collections::BTreeSet<_>>();
    json!({
        "Containers": users.len(),
        "Created": created(image),
        "Id": image.id.to_string(),
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "ParentId": "",
        "RepoDigests": names(&image.digests),
        "RepoTags": names(&image.tags),
        "SharedSize": -1,
        "Size": image.size,
        "VirtualSize": image.size,
    })
}

/// `GET /images/{name}/json`
pub(in crate::api) fn inspect(context: &Context, name: &str) -> Answer {
    let image = context.images.resolve(name)?;
    let config = &image.config;
    let layers: Vec<String> = config.diff_ids.iter().map(ToString::to_string).collect();
    reply::json(&json!({
        "Id": image.id.to_string(),
        "RepoTags": names(&image.tags),
        "RepoDigests": names(&image.digests),
        "Parent": "",
        "Comment": config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_else(|| time::NEVER.to_owned()),
        "Container": "",
        // Gone from Docker since 1.45; old clients fail without it.
        "ContainerConfig": Config::default(),
        "DockerVersion": "",
        "Author": config.author,
        "Config": container_config(&image),
        "Architecture": config.platform.architecture,
        "Os": config.platform.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": { "Data": null, "Name": "overlay2" },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": updated(&image) },
    }))
}

fn updated(image: &Image) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(image.updated).unwrap_or_default());
    at.map_or_else(|_| time::NEVER.to_owned(), |at| at.to_string())
}

/// What containers start with, in the form of a container's configuration.
fn container_config(image: &Image) -> Config {
    let defaults = image.config.defaults.clone();
    let volumes: std::collections::BTreeMap<_, _> = defaults
        .volumes
        .into_iter()
        .map(|path| (path, Empty {}))
        .collect();
    Config {
        user: defaults.user,
        exposed_ports: defaults
            .exposed_ports
            .into_iter()
            .map(|port| (port, Empty {}))
            .collect(),
        env: Some(defaults.env).filter(|env| !env.is_empty()),
        cmd: defaults.cmd.map(Words),
        healthcheck: defaults
            .healthcheck
            .as_ref()
            .map(super::inspect::health_config),
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        working_dir: defaults.working_dir,
        entrypoint: defaults.entrypoint.map(Words),
        on_build: Some(defaults.on_build).filter(|lines| !lines.is_empty()),
        labels: Some(defaults.labels).filter(|labels| !labels.is_empty()),
        stop_signal: defaults.stop_signal.unwrap_or_default(),
        ..Config::default()
    }
}

/// `GET /images/{name}/history`
pub(in crate::api) fn history(context: &Context, name: &str) -> Answer {
    let image = context.images.resolve(name)?;
    let steps = image
        .config
        .history
        .iter()
        .rev()
        .enumerate()
        .map(|(position, step)| {
            let at = step
                .created
                .as_deref()
                .and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let newest = position == 0;
            json!({
                "Comment": step.comment,
                "Created": at.map_or(0, jiff::Timestamp::as_second),
                "CreatedBy": step.created_by,
                // Only the last step is an image of its own.
                "Id": if newest { image.id.to_string() } else { "<missing>".to_owned() },
                "Size": if newest { image.size } else { 0 },
                "Tags": if newest { json!(names(&image.tags)) } else { Value::Null },
            })
        });
    reply::json(&steps.collect::<Vec<_>>())
}

/// `POST /images/create`: a pull, or an import with `fromSrc=-`.
pub(in crate::api) async fn create(context: Arc<Context>, call: Call) -> Answer {
    if call.params.get("fromSrc").is_some() {
        return import(context, call).await;
    }
    let name = call
        .params
        .get("fromImage")
        .ok_or_else(|| bad("no image was named"))?;
    let tag = call.params.get("tag");
    let text = match tag {
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    };
    let reference: Reference = text.parse().map_err(ImageError::from)?;
    let credentials = match call.header("x-registry-auth") {
        Some(header) => Credentials::from_header(header).map_err(ImageError::from)?,
        None => Credentials::Anonymous,
    };
    let platform = call
        .params
        .get("platform")
        .map(str::parse)
        .transpose()
        .map_err(|_| bad("invalid platform"))?;
    let options = PullOptions {
        platform,
        credentials,
        expected: None,
    };
    let work = {
        let context = context.clone();
        move |progress: Progress| async move {
            let image = context.images.pull(&reference, options, &progress).await?;
            context
                .events
                .image(&image.id, &reference.to_string(), "pull");
            Ok(())
        }
    };
    with_progress(work).await
}

async fn import(context: Arc<Context>, mut call: Call) -> Answer {
    if call.params.get("fromSrc") != Some("-") {
        return Err(EngineError::NotImplemented(
            "importing from an address is not supported by wharfie; download it and import the file".into(),
        ));
    }
    let name = match (call.params.get("repo"), call.params.get("tag")) {
        (None, _) => None,
        (Some(repo), None) => Some(repo.to_owned()),
        (Some(repo), Some(tag)) => Some(format!("{repo}:{tag}")),
    };
    let reference = name
        .map(|name| name.parse())
        .transpose()
        .map_err(ImageError::from)?;
    let options = ImportOptions {
        reference,
        changes: call.params.all("changes").map(str::to_owned).collect(),
        message: call.params.get("message").unwrap_or_default().to_owned(),
        platform: None,
    };
    let body = Upload::new(call.take_body());
    let work = {
        let context = context.clone();
        move |progress: Progress| async move {
            let image = context.images.import(body, options, &progress).await?;
            context
                .events
                .image(&image.id, &image.id.to_string(), "import");
            Ok(())
        }
    };
    with_progress(work).await
}

/// `POST /images/load`
pub(in crate::api) async fn load(context: Arc<Context>, mut call: Call) -> Answer {
    let body = Upload::new(call.take_body());
    let work = move |progress: Progress| async move {
        for loaded in context.images.load(body, &progress).await? {
            let id = loaded.image.id.to_string();
            let name = loaded.tags.first().map_or(id, ToString::to_string);
            context.events.image(&loaded.image.id, &name, "load");
        }
        Ok(())
    };
    with_progress(work).await
}

/// Runs something long: an error before the first line of progress is the whole answer.
///
/// When the client leaves, the work is dropped with the connection.
async fn with_progress<F, Work>(work: F) -> Answer
where
    F: FnOnce(Progress) -> Work,
    Work: Future<Output = Result<(), ImageError>> + Send + 'static,
{
    let progress = Progress::new();
    let mut lines = progress.reader();
    let mut work = Box::pin(work(progress));
    let (sender, response) = reply::stream("application/json");
    let first = tokio::select! {
        biased;
        done = &mut work => {
            done?;
            None
        }
        events = lines.next() => events,
    };
    tokio::spawn(async move {
        let mut done = first.is_none();
        let mut pending = first;
        loop {
            for event in pending.take().into_iter().flatten() {
                if sender
                    .send(reply::line(&event.docker_json()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            tokio::select! {
                biased;
                result = &mut work, if !done => {
                    done = true;
                    if let Err(error) = result {
                        // What was still to be told comes before the end.
                        let error = Event::Error(error.chain());
                        let _ = sender.send(reply::line(&error.docker_json())).await;
                        return;
                    }
                }
                events = lines.next() => match events {
                    Some(events) => pending = Some(events),
                    None if done => return,
                    None => {
                        if let Err(error) = (&mut work).await {
                            let error = Event::Error(error.chain());
                            let _ = sender.send(reply::line(&error.docker_json())).await;
                        }
                        return;
                    }
                },
                () = sender.closed() => return,
            }
        }
    });
    Ok(response)
}

/// `GET /images/get?names=` and `GET /images/{name}/get`
pub(in crate::api) async fn save(
    context: Arc<Context>,
    _call: &Call,
    names: impl Iterator<Item = &str>,
) -> Answer {
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        return Err(bad("no image was named"));
    }
    // Before the answer begins, so that a name that does not exist is a plain 404.
    for name in &names {
        context.images.resolve(name)?;
    }
    let (reader, writer) = tokio::io::duplex(SAVE_BUFFER);
    tokio::spawn(async move {
        if let Err(error) = context.images.save(&names, writer).await {
            tracing::warn!(error = error.chain(), "an archive of images broke off");
        }
    });
    let mut response =
        axum::http::Response::new(axum::body::Body::from_stream(ReaderStream::new(reader)));
    reply::set_type(&mut response, "application/x-tar");
    Ok(response)
}

/// `POST /images/{name}/tag?repo=&tag=`
pub(in crate::api) async fn tag(context: &Context, call: &Call, name: &str) -> Answer {
    let repo = call
        .params
        .get("repo")
        .ok_or_else(|| bad("no repository was named"))?;
    let target = match call.params.get("tag") {
        Some(tag) => format!("{repo}:{tag}"),
        None => repo.to_owned(),
    };
    let target: Reference = target.parse().map_err(ImageError::from)?;
    let image = context.images.tag(name, &target).await?;
    context.events.image(&image.id, &target.to_string(), "tag");
    reply::empty(StatusCode::CREATED)
}

/// `POST /images/{name}/push`
pub(in crate::api) fn push(context: &Context, name: &str) -> Answer {
    context.images.resolve(name)?;
    Err(EngineError::NotImplemented(
        "pushing images is not supported by wharfie yet; use `image save` and another tool".into(),
    ))
}

/// `DELETE /images/{name}?force=&noprune=`
pub(in crate::api) async fn delete(context: &Context, call: &Call, name: &str) -> Answer {
    let removal = if call.params.flag("force") {
        Removal::Forced
    } else {
        Removal::Careful
    };
    let state = context.state();
    let removed = context
        .images
        .remove(name, removal, |id| used_by(&state, id))
        .await?;
    announce(context, &removed);
    reply::json(&rows(&removed))
}

/// What Docker says of a removal.
pub(super) fn rows(removed: &[Removed]) -> Vec<Value> {
    let row = |removed: &Removed| match removed {
        Removed::Untagged(name) => json!({ "Untagged": name }),
        Removed::Deleted(digest) => json!({ "Deleted": digest.to_string() }),
    };
    removed.iter().map(row).collect()
}

pub(super) fn announce(context: &Context, removed: &[Removed]) {
    for removed in removed {
        match removed {
            Removed::Untagged(name) => context.events.image_named(name, "untag"),
            Removed::Deleted(id) => context.events.image(id, &id.to_string(), "delete"),
        }
    }
}

/// Which container uses an image: one that runs, or else any.
pub(super) fn used_by(state: &State, id: &ImageId) -> Use {
    let id = id.to_string();
    let users = || {
        state
            .tasks
            .values()
            .filter(|task| task.status.image_id.as_deref() == Some(&id))
    };
    let running = users().find(|task| task.status.state == TaskState::Running);
    let name = |task: &scheduler::model::task::Task| task.container.short().to_owned();
    match (running, users().next()) {
        (Some(task), _) => Use::Running {
            container: name(task),
        },
        (None, Some(task)) => Use::Stopped {
            container: name(task),
        },
        (None, None) => Use::Unused,
    }
}

/// `GET /images/search`
pub(in crate::api) fn no_search() -> EngineError {
    EngineError::NotImplemented("searching a registry is not supported by wharfie".into())
}

/// `POST /commit`
pub(in crate::api) fn no_commit() -> EngineError {
    EngineError::NotImplemented(
        "making images of containers is not supported by wharfie yet".into(),
    )
}

/// `POST /build`, `/session`, `/grpc`
pub(in crate::api) fn no_build() -> EngineError {
    EngineError::NotImplemented(
        "building images is not supported by wharfie yet; build with another tool and `wharfie image load` the result".into(),
    )
}

/// `GET /distribution/{name}/json`
pub(in crate::api) fn no_distribution() -> EngineError {
    EngineError::NotImplemented(
        "asking a registry about an image is not supported by wharfie yet".into(),
    )
}
