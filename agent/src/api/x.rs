//! What the Docker Engine API lacks: stacks. Bodies and answers are JSON; errors are Docker's
//! `{"message": "…"}` with an optional `hint`.
//!
//! | request | body → answer |
//! |---|---|
//! | `PUT /x/stacks/{name}` | [`DeployRequest`] → [`Accepted`] |
//! | `POST /x/stacks/{name}/down` | [`DownRequest`] → [`Accepted`] |
//! | `POST /x/stacks/{name}/{start,stop,restart,kill,rm,rollback}` | [`ServicesRequest`] → [`Accepted`] |
//! | `POST /x/stacks/{name}/run` | [`RunRequest`] → [`RunCreated`]; then Docker's attach, wait, start |
//! | `GET /x/host/containers` | → what only this host knows of its containers, for managers |
//! | `GET /x/host/events` | → what handlers of this host have done to them, for managers |
//! | `GET /x/host/stacks/{name}` | → what this host does for the stack, a line whenever it has changed, for managers |
//! | `GET /x/stacks` | → [`StackSummary`]s |
//! | `GET /x/stacks/{name}` | → [`StackStatus`](scheduler::status::StackStatus) |
//! | `GET /x/stacks/{name}/why/{service}` | → [`Why`](scheduler::why::Why) |
//! | `GET /x/stacks/{name}/watch` | → a `StackStatus` a line, now and whenever it has changed |

pub mod cluster;
mod deploy;
mod login;
mod pins;
mod preflight;
mod run;
mod verbs;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::model::service::ServiceSpec;
use scheduler::model::stack::Stack;
use serde::{Deserialize, Serialize};

use super::Context;
use super::call::Call;
use super::docker::phase::{Frozen, Phase};
use super::docker::{events, facts, lookup};
use super::error::EngineError;
use super::reply::{self, Answer};

/// Finds the handler of a request below `/x/`.
pub(super) async fn route(
    context: Arc<Context>,
    call: Call,
    method: &str,
    path: &[&str],
) -> Answer {
    match (method, path) {
        ("GET", ["stacks"]) => list(&context),
        ("PUT", ["stacks", name]) => deploy::deploy(&context, call, name).await,
        ("GET", ["stacks", name]) => {
            let picture = watch::picture(&context, &context.state(), name).await;
            reply::json(&picture)
        }
        ("GET", ["stacks", name, "watch"]) => Ok(watch::watch(context, name)),
        ("GET", ["stacks", name, "why", service]) => why(&context, name, service),
        ("POST", ["stacks", name, "down"]) => verbs::down(&context, call, name).await,
        ("POST", ["stacks", name, "run"]) => run::run(&context, call, name).await,
        ("POST", ["stacks", name, verb]) => verbs::verb(&context, call, name, verb).await,
        ("GET", ["host", "containers"]) => facts::host(&context).await,
        ("GET", ["host", "events"]) => events::host(&context),
        ("GET", ["host", "stacks", name]) => Ok(watch::host(context, name)),
        (_, ["cluster" | "nodes", ..]) => cluster::route(&context, call, method, path).await,
        _ => Err(EngineError::NoRoute),
    }
}

/// `GET /x/stacks/{name}/why/{service}`
fn why(context: &Context, stack: &str, service: &str) -> Answer {
    cluster::as_manager(context)?;
    let state = context.state();
    match scheduler::why::of(&state, stack, service) {
        Some(why) => reply::json(&why),
        None => Err(EngineError::NotFound(format!(
            "stack {stack} has no service {service}"
        ))),
    }
}

/// `GET /x/stacks`
fn list(context: &Context) -> Answer {
    let state = context.state();
    let mut stacks: BTreeMap<String, StackSummary> = BTreeMap::new();
    for record in state.stacks.values() {
        let summary = StackSummary {
            name: record.name.clone(),
            config_files: record.config_files.clone(),
            containers: BTreeMap::new(),
        };
        stacks.insert(record.name.clone(), summary);
    }
    for found in lookup::containers(&state) {
        let Some(summary) = found
            .service
            .stack
            .as_ref()
            .and_then(|name| stacks.get_mut(name))
        else {
            continue;
        };
        let runs = state.container_tasks(&found.id).map(AsRef::as_ref);
        let word = Phase::of(runs, Frozen::No).word();
        *summary.containers.entry(word.to_owned()).or_default() += 1;
    }
    reply::json(&stacks.into_values().collect::<Vec<_>>())
}

/// `up`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployRequest {
    pub stack: Stack,
    /// Services named on the command line; empty is all.
    pub services: Vec<String>,
    /// `--no-deps`
    pub no_deps: bool,
    pub recreate: Recreate,
    /// `--scale`
    pub scale: BTreeMap<String, u32>,
    pub remove_orphans: bool,
    /// `-t`, in seconds.
    pub timeout: Option<i64>,
    /// `--pull`: replaces every service's own policy.
    pub pull: Option<scheduler::model::container::PullPolicy>,
    /// `--no-start`
    pub no_start: bool,
    /// `-V`
    pub renew_anonymous_volumes: bool,
    /// Base64 of Docker's `X-Registry-Config` JSON (registry → credentials) of the user, if any.
    pub registry_auth: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recreate {
    #[default]
    IfChanged,
    Force,
    Never,
}

/// The request was written down; watch the stack to see it happen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Accepted {
    /// The state at this revision, or a later one, contains the request.
    pub revision: u64,
    /// Sentences for the user: orphans that were found, things that were not needed.
    pub warnings: Vec<String>,
}

/// `down`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DownRequest {
    /// Empty is all, with the networks.
    pub services: Vec<String>,
    /// `-v`: named volumes (not external ones) and anonymous ones.
    pub volumes: bool,
    pub remove_orphans: bool,
    /// Seconds.
    pub timeout: Option<i64>,
}

/// `start`, `stop`, `restart`, `kill`, `rm`, `rollback`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicesRequest {
    /// Empty is all.
    pub services: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
    /// `kill -s`
    pub signal: Option<String>,
    /// `restart --no-deps`
    pub no_deps: bool,
    /// `rm -v`
    pub volumes: bool,
    /// `rm -s`
    pub stop: bool,
}

/// `run`: a container of its own, after a service of the stack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// The stack, so that what the service needs exists.
    pub stack: Stack,
    /// The service's spec with the command line's changes, mode `Standalone`.
    pub spec: ServiceSpec,
    /// `--name`; chosen when absent (`shop-web-run-1f2e3d4c5b6a`).
    pub name: Option<String>,
    /// `--no-deps`: do not start what it depends on.
    pub no_deps: bool,
    /// `--use-aliases`: reachable by the service's names.
    pub use_aliases: bool,
    pub registry_auth: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCreated {
    /// Container id.
    pub id: String,
    pub name: String,
    pub revision: u64,
}

/// A line of `ls`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StackSummary {
    pub name: String,
    /// Docker's state word to the number of containers in it: `running` to 2.
    pub containers: BTreeMap<String, u32>,
    pub config_files: Vec<String>,
}
