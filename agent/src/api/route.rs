//! Which handler answers which path: the whole table.
//!
//! Paths are matched as slices, because names of images hold slashes: everything between
//! `images` and a known last word is a name.

use std::sync::Arc;

use super::Context;
use super::call::Call;
use super::docker::{
    archive, attach, containers, contents, events, exec, images, lifecycle, logs, networks,
    process, prune, swarm, system, volumes, wait,
};
use super::error::EngineError;
use super::reply::Answer;
use super::{relay, x};

/// Finds the handler of a request and runs it.
pub(super) async fn route(context: Arc<Context>, mut call: Call) -> Answer {
    let path = std::mem::take(&mut call.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = call.method().as_str().to_owned();
    match path.as_slice() {
        ["containers", rest @ ..] => container(context, call, &method, rest).await,
        ["exec", id, deed] => program(context, call, &method, id, deed).await,
        ["images", rest @ ..] => image(context, call, &method, rest).await,
        ["volumes", rest @ ..] => match (method.as_str(), rest) {
            ("GET", []) => volumes::list(&context, &call).await,
            ("POST", ["create"]) => volumes::create(&context, call).await,
            ("POST", ["prune"]) => prune::volumes(&context, &call).await,
            ("GET", [name]) => volumes::inspect(&context, name).await,
            ("DELETE", [name]) => volumes::delete(&context, &call, name).await,
            _ => Err(EngineError::NoRoute),
        },
        ["networks", rest @ ..] => match (method.as_str(), rest) {
            ("GET", []) => networks::list(&context, &call),
            ("POST", ["create"]) => networks::create(&context, call).await,
            ("POST", ["prune"]) => prune::networks(&context, &call).await,
            ("GET", [id]) => networks::inspect(&context, id),
            ("DELETE", [id]) => networks::delete(&context, id).await,
            ("POST", [_, "connect" | "disconnect"]) => Err(networks::no_reconnecting()),
            _ => Err(EngineError::NoRoute),
        },
        ["secrets", rest @ ..] => {
            contents::route(&context, call, &method, contents::Kind::Secret, rest).await
        }
        ["configs", rest @ ..] => {
            contents::route(&context, call, &method, contents::Kind::Config, rest).await
        }
        ["x", rest @ ..] => x::route(context, call, &method, rest).await,
        other => rest(context, call, &method, other).await,
    }
}

async fn program(context: Arc<Context>, call: Call, method: &str, id: &str, deed: &str) -> Answer {
    if let Some(place) = relay::of_exec(&context, &call, id)? {
        let path = format!("/exec/{id}/{deed}");
        return relay::pass(&context, call, place, &path).await;
    }
    match (method, deed) {
        ("POST", "start") => exec::start(context, call, id).await,
        ("POST", "resize") => exec::resize(&context, &call, id).await,
        ("GET", "json") => exec::inspect(&context, id),
        _ => Err(EngineError::NoRoute),
    }
}

async fn container(context: Arc<Context>, mut call: Call, method: &str, path: &[&str]) -> Answer {
    if let [id, deed] = path
        && let Some((place, id)) = relay::of_container(&context, &call, id, deed)?
    {
        let path = format!("/containers/{id}/{deed}");
        return relay::pass(&context, call, place, &path).await;
    }
    match (method, path) {
        ("GET", ["json"]) => containers::list(&context, &call).await,
        ("POST", ["create"]) => containers::create(&context, call).await,
        ("POST", ["prune"]) => prune::containers(&context, &call).await,
        ("GET", [id, "json"]) => containers::inspect(&context, id).await,
        ("POST", [id, "start"]) => lifecycle::start(&context, id).await,
        ("POST", [id, "stop"]) => lifecycle::stop(&context, &call, id).await,
        ("POST", [id, "restart"]) => lifecycle::restart(&context, &call, id).await,
        ("POST", [id, "kill"]) => lifecycle::kill(&context, &call, id).await,
        ("POST", [id, "pause"]) => lifecycle::pause(&context, id).await,
        ("POST", [id, "unpause"]) => lifecycle::unpause(&context, id).await,
        ("POST", [id, "rename"]) => lifecycle::rename(&context, &call, id).await,
        ("POST", [id, "update"]) => lifecycle::update(&context, id),
        ("DELETE", [id]) => lifecycle::delete(&context, &call, id).await,
        ("POST", [id, "wait"]) => wait::wait(context, &call, id),
        ("POST", [id, "attach"]) => attach::attach(context, &mut call, id),
        ("POST", [id, "resize"]) => attach::resize(&context, &call, id).await,
        ("GET", [id, "logs"]) => logs::logs(context, &call, id).await,
        ("GET", [id, "top"]) => process::top(&context, &call, id).await,
        ("GET", [id, "stats"]) => process::stats(context, &call, id).await,
        ("POST", [id, "exec"]) => exec::create(&context, call, id).await,
        ("HEAD", [id, "archive"]) => archive::head(&context, &call, id).await,
        ("GET", [id, "archive"]) => archive::get(&context, &call, id).await,
        ("PUT", [id, "archive"]) => archive::put(&context, call, id).await,
        ("GET", [id, "export"]) => archive::export(&context, id).await,
        ("GET", [id, "changes" | "checkpoints"]) => archive::no_changes(&context, id),
        _ => Err(EngineError::NoRoute),
    }
}

async fn image(context: Arc<Context>, call: Call, method: &str, path: &[&str]) -> Answer {
    let name = |parts: &[&str]| parts.join("/");
    match (method, path) {
        ("GET", ["json"]) => images::list(&context, &call),
        ("POST", ["create"]) => images::create(context, call).await,
        ("POST", ["load"]) => images::load(context, call).await,
        ("POST", ["prune"]) => prune::images(&context, &call).await,
        ("GET", ["get"]) => images::save(context, &call, call.params.all("names")).await,
        ("GET", ["search"]) => Err(images::no_search()),
        ("GET", [parts @ .., "json"]) => images::inspect(&context, &name(parts)),
        ("GET", [parts @ .., "history"]) => images::history(&context, &name(parts)),
        ("GET", [parts @ .., "get"]) => {
            images::save(context, &call, std::iter::once(name(parts).as_str())).await
        }
        ("POST", [parts @ .., "tag"]) => images::tag(&context, &call, &name(parts)).await,
        ("POST", [parts @ .., "push"]) => images::push(&context, &name(parts)),
        ("DELETE", [_, ..]) => images::delete(&context, &call, &name(path)).await,
        _ => Err(EngineError::NoRoute),
    }
}

/// What belongs to no group of its own.
async fn rest(context: Arc<Context>, mut call: Call, method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET" | "HEAD", ["_ping"]) => Ok(system::ping(method)),
        ("GET", ["version"]) => system::version(&context),
        ("GET", ["info"]) => system::info(&context).await,
        ("POST", ["auth"]) => system::auth(&mut call).await,
        ("GET", ["events"]) => events::events(context, &call),
        ("GET", ["system", "df"]) => system::df(&context).await,
        ("POST", ["commit"]) => Err(images::no_commit()),
        ("POST", ["build" | "session" | "grpc"] | ["build", _]) => Err(images::no_build()),
        ("GET", ["distribution", _, ..]) => Err(images::no_distribution()),
        ("GET", ["plugins"]) => swarm::plugins(),
        ("GET", ["plugins", name @ .., "json"]) => Err(EngineError::NoSuchPlugin(name.join("/"))),
        (_, ["swarm" | "nodes" | "services" | "tasks", ..]) => Err(EngineError::NotSwarmManager),
        _ => Err(EngineError::NoRoute),
    }
}
