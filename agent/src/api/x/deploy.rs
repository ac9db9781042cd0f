//! `PUT /x/stacks/{name}`: what `up` sends, checked against this host and then written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::control_plane::command::{
    Command, Dependencies, DeployOptions, Orphans, Recreate as Anew, Reply, Start,
};
use scheduler::model::service::AnonymousVolumes;
use scheduler::model::stack::Stack;

use super::{Accepted, DeployRequest, Recreate, login, pins, preflight};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};

/// `PUT /x/stacks/{name}`
pub(super) async fn deploy(context: &Context, mut call: Call, name: &str) -> Answer {
    let mut request: DeployRequest = call.json_exact().await?;
    check_name(&request.stack, name)?;
    let logins = login::read(request.registry_auth.as_deref())?;
    if let Some(policy) = request.pull {
        for service in request.stack.services.values_mut() {
            Arc::make_mut(&mut service.container).pull_policy = policy;
        }
    }
    let mut options = options(&request);
    let selected = selected(&request.stack, &request.services, options.dependencies);
    preflight::check(context, &request.stack, &selected, &request.scale).await?;
    let found = pins::find(context, &request.stack, &selected, &logins).await?;
    options.pins = found.pins;
    options.logins = logins;
    let command = Command::Deploy {
        stack: request.stack,
        options,
    };
    let answer = context.command(command).await?;
    let mut warnings = found.warnings;
    if let Reply::Deployed { orphans, .. } = answer.reply
        && !orphans.is_empty()
        && !request.remove_orphans
    {
        warnings.push(format!(
            "Found orphan containers ({}) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
            orphans.join(", ")
        ));
    }
    reply::json(&Accepted {
        revision: answer.revision,
        warnings,
    })
}

/// The name in the path and the one in the body are the same.
pub(super) fn check_name(stack: &Stack, name: &str) -> Result<(), EngineError> {
    if stack.name == name && !name.is_empty() {
        return Ok(());
    }
    Err(EngineError::BadRequest(format!(
        "the request is about stack `{name}`, but its body about `{}`",
        stack.name
    )))
}

fn options(request: &DeployRequest) -> DeployOptions {
    DeployOptions {
        services: request.services.clone(),
        dependencies: if request.no_deps {
            Dependencies::Ignore
        } else {
            Dependencies::Include
        },
        recreate: match request.recreate {
            Recreate::IfChanged => Anew::IfChanged,
            Recreate::Force => Anew::Always,
            Recreate::Never => Anew::Never,
        },
        scale: request.scale.clone(),
        orphans: if request.remove_orphans {
            Orphans::Remove
        } else {
            Orphans::Keep
        },
        start: if request.no_start {
            Start::Later
        } else {
            Start::Now
        },
        anonymous_volumes: match request.renew_anonymous_volumes {
            true => AnonymousVolumes::Renew,
            false => AnonymousVolumes::TakeOver,
        },
        grace_seconds: request.timeout,
        pins: BTreeMap::new(),
        logins: BTreeMap::new(),
    }
}

/// The services named and what they depend on; all when none is named.
pub(super) fn selected(
    stack: &Stack,
    services: &[String],
    dependencies: Dependencies,
) -> BTreeSet<String> {
    if services.is_empty() {
        return stack.services.keys().cloned().collect();
    }
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<&String> = services.iter().collect();
    while let Some(name) = open.pop() {
        if let Some(service) = stack.services.get(name)
            && found.insert(name.clone())
            && dependencies == Dependencies::Include
        {
            open.extend(service.depends_on.keys());
        }
    }
    found
}
