//! `PUT /x/stacks/{name}`: what `up` sends, checked against this host and then written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use scheduler::control_plane::command::{
    Command, Dependencies, DeployOptions, Orphans, Recreate as Anew, Reply, Start,
};
use scheduler::model::container::PullPolicy;
use scheduler::model::service::AnonymousVolumes;
use scheduler::model::stack::Stack;
use serde_json::Value;

use super::preflight;
use super::{Accepted, DeployRequest, Recreate};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};
use crate::image::Credentials;

/// `PUT /x/stacks/{name}`
pub(super) async fn deploy(context: &Context, mut call: Call, name: &str) -> Answer {
    let mut request: DeployRequest = call.json_exact().await?;
    check_name(&request.stack, name)?;
    log_in(context, request.registry_auth.as_deref())?;
    if let Some(policy) = request.pull {
        for service in request.stack.services.values_mut() {
            Arc::make_mut(&mut service.container).pull_policy = policy;
        }
    }
    let mut options = options(&request);
    let selected = selected(&request.stack, &request.services, options.dependencies);
    preflight::check(context, &request.stack, &selected, &request.scale).await?;
    options.image_ids = image_ids(context, &request.stack, &selected).await?;
    let command = Command::Deploy {
        stack: request.stack,
        options,
    };
    let answer = context.command(command).await?;
    let warnings = match answer.reply {
        Reply::Deployed { orphans, .. } if !orphans.is_empty() && !request.remove_orphans => {
            vec![format!(
                "Found orphan containers ({}) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                orphans.join(", ")
            )]
        }
        _ => Vec::new(),
    };
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
        image_ids: BTreeMap::new(),
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

/// What each service's image is on this host, by service. Images that must always be fetched are
/// fetched now, because only then it is known whether they have changed.
async fn image_ids(
    context: &Context,
    stack: &Stack,
    selected: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, EngineError> {
    let state = context.state();
    let mut ids = BTreeMap::new();
    for (name, service) in &stack.services {
        if !selected.contains(name) {
            continue;
        }
        let container = &service.container;
        let exists = state.service_named(&stack.name, name).is_some();
        let image = match container.pull_policy {
            PullPolicy::Always if exists => {
                let policy = PullPolicy::Always;
                Some(
                    context
                        .fetcher
                        .fetch(&container.image, policy, None)
                        .await?,
                )
            }
            PullPolicy::Never => Some(context.images.resolve(&container.image)?),
            PullPolicy::Always | PullPolicy::Missing => {
                context.images.resolve(&container.image).ok()
            }
        };
        if let Some(image) = image {
            ids.insert(name.clone(), image.id.to_string());
        }
    }
    Ok(ids)
}

/// Remembers the user's credentials for the pulls that follow; they are never written down.
///
/// # Errors
///
/// [`EngineError::BadRequest`] for what is not base64 of an object from registry to credentials.
pub(super) fn log_in(context: &Context, header: Option<&str>) -> Result<(), EngineError> {
    let Some(text) = header.filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let invalid = || {
        EngineError::BadRequest(
            "the registry credentials of the request are not base64-encoded JSON".into(),
        )
    };
    let json = URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text));
    let json = json.map_err(|_| invalid())?;
    let logins: BTreeMap<String, Value> = serde_json::from_slice(&json).map_err(|_| invalid())?;
    for (registry, login) in logins {
        let header = URL_SAFE.encode(login.to_string());
        let credentials = Credentials::from_header(&header).map_err(|_| invalid())?;
        context.fetcher.login(registry_name(&registry), credentials);
    }
    Ok(())
}

/// Docker Hub's key is an address from before registries had names.
fn registry_name(key: &str) -> &str {
    let bare = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_as_images_name_them() {
        assert_eq!(registry_name("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(registry_name("https://ghcr.io"), "ghcr.io");
        assert_eq!(registry_name("127.0.0.1:5000"), "127.0.0.1:5000");
    }
}
