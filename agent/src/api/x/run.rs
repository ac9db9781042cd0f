//! `POST /x/stacks/{name}/run`: a container of its own after a service of the stack.
//!
//! What the service depends on is brought up first, as `up` would; then the container is created,
//! and the client attaches and starts it as it would any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::control_plane::command::{Command, Dependencies, DeployOptions, Recreate, Reply};
use scheduler::model::cluster::Secret;
use scheduler::model::container::NetworkMode;
use scheduler::model::service::ServiceSpec;

use super::deploy::{check_name, selected};
use super::{RunCreated, RunRequest, login, pins, preflight};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};

/// `POST /x/stacks/{name}/run`
pub(super) async fn run(context: &Context, mut call: Call, name: &str) -> Answer {
    let mut request: RunRequest = call.json_exact().await?;
    check_name(&request.stack, name)?;
    let logins = login::read(request.registry_auth.as_deref())?;
    for (registry, login) in &logins {
        if let Some(credentials) = login::credentials(login) {
            context.fetcher.login(registry, credentials);
        }
    }
    let question = pins::Question {
        spec: &request.spec.container,
        before: None,
        logins: &logins,
    };
    let pin = pins::one(context, &question, &mut Vec::new()).await?;
    Arc::make_mut(&mut request.spec.container).pin = pin;
    name_or_hide(&mut request);
    if request.no_deps {
        request.spec.depends_on.clear();
    }
    bring_dependencies(context, &request, logins).await?;
    bring_networks(context, &request).await?;
    let chosen = request.name.take();
    let command = Command::CreateContainer {
        name: Some(chosen.unwrap_or_else(|| run_name(name, &request.spec))),
        stack: Some(name.to_owned()),
        spec: request.spec,
        node: Some(context.node.clone()),
    };
    let answer = context.command(command).await?;
    let Reply::ContainerCreated { id, name } = answer.reply else {
        return Err(EngineError::Internal(
            "the container was created without an id".into(),
        ));
    };
    reply::json(&RunCreated {
        id: id.to_string(),
        name,
        revision: answer.revision,
    })
}

/// Only with `--use-aliases` does it answer to the service's names.
fn name_or_hide(request: &mut RunRequest) {
    let service = request.spec.name.clone();
    let container = Arc::make_mut(&mut request.spec.container);
    if let NetworkMode::Attached(attachments) = &mut container.network {
        for attachment in attachments {
            match request.use_aliases {
                true => attachment.aliases.push(service.clone()),
                false => attachment.aliases.clear(),
            }
        }
    }
}

async fn bring_dependencies(
    context: &Context,
    request: &RunRequest,
    logins: BTreeMap<String, Secret>,
) -> Result<(), EngineError> {
    let services: Vec<String> = request.spec.depends_on.keys().cloned().collect();
    if services.is_empty() {
        return Ok(());
    }
    let all = selected(&request.stack, &services, Dependencies::Include);
    preflight::check(context, &request.stack, &all, &BTreeMap::new()).await?;
    let found = pins::find(context, &request.stack, &all, &logins).await?;
    let options = DeployOptions {
        services,
        pins: found.pins,
        logins,
        // What runs already is good enough to run something beside it.
        recreate: Recreate::Never,
        ..DeployOptions::default()
    };
    let stack = request.stack.clone();
    context.command(Command::Deploy { stack, options }).await?;
    Ok(())
}

/// Networks of the stack that no dependency has brought.
async fn bring_networks(context: &Context, request: &RunRequest) -> Result<(), EngineError> {
    let NetworkMode::Attached(attachments) = &request.spec.container.network else {
        return Ok(());
    };
    for attachment in attachments {
        let name = &attachment.network;
        let mut known = request.stack.networks.iter();
        let found = known.find(|(_, spec)| spec.name == *name && !spec.external);
        let (None, Some((key, spec))) = (context.state().network_named(name), found) else {
            continue;
        };
        let mut spec = spec.clone();
        let labels = [("project", &request.stack.name), ("network", key)];
        for (label, value) in labels {
            let label = format!("com.docker.compose.{label}");
            spec.labels.insert(label, value.clone());
        }
        context.command(Command::CreateNetwork { spec }).await?;
    }
    Ok(())
}

/// `shop-web-run-1f2e3d4c5b6a`, as Compose names them.
fn run_name(stack: &str, spec: &ServiceSpec) -> String {
    let chance = hex::encode(rand::random::<[u8; 6]>());
    format!("{stack}-{}-run-{chance}", spec.name)
}
