//! What can be known to fail is refused before anything is changed: all of it at once.

use std::collections::BTreeSet;
use std::path::Path;

use scheduler::model::container::{MountSource, PublishedPort};
use scheduler::model::stack::Stack;

use crate::api::Context;
use crate::api::error::{EngineError, chain};
use crate::network::{NetworkError, PortHolder};

/// Checks the services against this host.
///
/// # Errors
///
/// [`EngineError::Conflict`] with a line for each source of a bind mount that does not exist and
/// each published port that a foreign process has.
pub(super) async fn check(
    context: &Context,
    stack: &Stack,
    selected: &BTreeSet<String>,
) -> Result<(), EngineError> {
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        if !selected.contains(name) {
            continue;
        }
        for mount in &service.container.mounts {
            if let MountSource::Bind {
                path,
                create: false,
                ..
            } = &mount.source
                && !Path::new(path).exists()
            {
                problems.push(format!(
                    "service `{name}`: bind source path does not exist: {path}"
                ));
            }
        }
        // One by one, so that all that are taken are told.
        for port in &service.container.ports {
            if let Some(problem) = taken(context, port).await {
                problems.push(format!("service `{name}`: {problem}"));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Conflict(problems.join("\n"))),
    }
}

/// Why a port cannot be published, as far as this host alone can say.
async fn taken(context: &Context, port: &PublishedPort) -> Option<String> {
    let ports = std::slice::from_ref(port);
    match context.networks.check_ports(ports).await {
        // A container's: whether it may change hands is for the control plane to say.
        Ok(())
        | Err(NetworkError::PortInUse {
            holder: PortHolder::Container(_),
            ..
        }) => None,
        // Several to choose from: another may be free by then.
        Err(NetworkError::RangeInUse { .. }) => None,
        Err(
            error @ (NetworkError::PortInUse { .. }
            | NetworkError::NotOurAddress { .. }
            | NetworkError::Ipv6Port { .. }),
        ) => Some(chain(&error)),
        // Not knowing is no reason to refuse.
        Err(error) => {
            tracing::debug!(%error, "cannot check a port");
            None
        }
    }
}
