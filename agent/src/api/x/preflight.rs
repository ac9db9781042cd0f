//! What can be known to fail is refused before anything is changed: all of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scheduler::model::container::{MountSource, PublishedPort};
use scheduler::model::service::{ServiceMode, ServiceSpec};
use scheduler::model::stack::Stack;

use crate::api::Context;
use crate::api::error::{EngineError, chain};
use crate::cdi::{DIRECTORIES, Registry};
use crate::container::device;
use crate::network::{self, NetworkError, PortHolder};

/// Something that this host does not have, and what to do about it.
struct Problem {
    text: String,
    hint: String,
}

/// Checks the services against this host; `scale` has the numbers of containers that were asked for.
///
/// # Errors
///
/// [`EngineError::Host`] with a line for each source of a bind mount that does not exist, each
/// published port that a foreign process has, and each that several containers would share.
pub(super) async fn check(
    context: &Context,
    stack: &Stack,
    selected: &BTreeSet<String>,
    scale: &BTreeMap<String, u32>,
) -> Result<(), EngineError> {
    let mut problems = Vec::new();
    let is_alone = context.state().nodes.len() <= 1;
    if is_alone && !network::has_ipv6() {
        problems.extend(without_ipv6(stack));
    }
    for (name, service) in &stack.services {
        if !selected.contains(name) {
            continue;
        }
        problems.extend(missing_sources(name, service));
        if is_alone {
            problems.extend(missing_devices(name, service));
            problems.extend(apparmor(name, service));
            problems.extend(unkept(name, service));
            let replicas = scale.get(name).copied().or(replicas(service)).unwrap_or(1);
            problems.extend(shared(name, service, replicas));
        }
        // One by one, so that all that are taken are told.
        for port in &service.container.ports {
            problems.extend(taken(context, name, port).await);
        }
    }
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let texts: Vec<&str> = problems.iter().map(|it| it.text.as_str()).collect();
    Err(EngineError::Host {
        message: texts.join("\n"),
        hint: first.hint.clone(),
    })
}

/// Networks that this host cannot make. On a cluster another node may.
fn without_ipv6(stack: &Stack) -> Vec<Problem> {
    let wanted = stack.networks.iter();
    let wanted = wanted.filter(|(_, network)| network.enable_ipv6 && !network.external);
    let problem = |name: &String| Problem {
        text: format!("network `{name}`: this host has no IPv6"),
        hint: format!(
            "Switch it on (`sysctl net.ipv6.conf.all.disable_ipv6=0`), or remove `enable_ipv6` from `{name}`."
        ),
    };
    wanted.map(|(name, _)| problem(name)).collect()
}

fn missing_sources(name: &str, service: &ServiceSpec) -> Vec<Problem> {
    let mounts = service.container.mounts.iter();
    let missing = mounts.filter_map(|mount| match &mount.source {
        MountSource::Bind {
            path,
            create: false,
            ..
        } if !Path::new(path).exists() => Some(Problem {
            text: format!("service `{name}`: bind source path does not exist: {path}"),
            hint: "Make it, or correct the path in the file.".to_owned(),
        }),
        _ => None,
    });
    missing.collect()
}

/// Device files, disks and vendors' devices that this host does not have.
fn missing_devices(name: &str, service: &ServiceSpec) -> Vec<Problem> {
    let container = &service.container;
    let hint = format!("Name a device that this host has, or run `{name}` elsewhere.");
    let problem = |error: &dyn std::error::Error| Problem {
        text: format!("service `{name}`: {}", chain(error)),
        hint: hint.clone(),
    };
    let mut problems = Vec::new();
    for it in &container.devices {
        problems.extend(device::granted(it).err().map(|error| problem(&error)));
    }
    for it in &container.resources.block_devices {
        let found = device::disk(Path::new(&it.path));
        problems.extend(found.err().map(|error| problem(&error)));
    }
    if !container.vendor_devices.is_empty() {
        let found = Registry::of_host().edits(&container.vendor_devices);
        problems.extend(found.err().map(|error| Problem {
            text: format!("service `{name}`: {error}"),
            hint: format!(
                "Devices are described by files in {}; for NVIDIA's, run `nvidia-ctk cdi generate`.",
                DIRECTORIES.join(" and ")
            ),
        }));
    }
    problems
}

fn apparmor(name: &str, service: &ServiceSpec) -> Option<Problem> {
    let profile = service.container.security.apparmor.as_deref()?;
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if profile == "unconfined" || enabled.is_ok_and(|it| it.trim() == "Y") {
        return None;
    }
    Some(Problem {
        text: format!("service `{name}`: this host has no AppArmor for the profile `{profile}`"),
        hint: format!("Remove `apparmor=…` from `security_opt:` of `{name}`."),
    })
}

/// Limits that this host's kernel, or the scheduler of its disks, does not know.
fn unkept(name: &str, service: &ServiceSpec) -> Vec<Problem> {
    let found = crate::container::unkept(&service.container).into_iter();
    let problem = |why| Problem {
        text: format!("service `{name}`: {why}"),
        hint: format!("Remove the limit from `{name}`, or run it where there is such a thing."),
    };
    found.map(problem).collect()
}

fn replicas(service: &ServiceSpec) -> Option<u32> {
    match service.mode {
        ServiceMode::Replicated { replicas } => Some(replicas),
        ServiceMode::Global
        | ServiceMode::GlobalJob
        | ServiceMode::ReplicatedJob { .. }
        | ServiceMode::Standalone { .. } => None,
    }
}

/// A port that each container has for itself leads to one only; the host answers for all on others.
fn shared(name: &str, service: &ServiceSpec, replicas: u32) -> Option<Problem> {
    let room = |port: &PublishedPort| {
        let (first, last) = port.published.filter(|_| !port.is_shareable())?;
        let ports = u32::from(last.saturating_sub(first)) + 1;
        (ports < replicas).then_some((first, last))
    };
    let port = service
        .container
        .ports
        .iter()
        .find(|it| room(it).is_some())?;
    let (first, last) = room(port)?;
    let (target, protocol) = (port.target, port.protocol.as_str());
    let taken = match first == last {
        true => format!("port {first}/{protocol}"),
        false => format!("ports {first} to {last}/{protocol}"),
    };
    let enough = u32::from(first).saturating_add(replicas.saturating_sub(1));
    let range = match enough <= u32::from(u16::MAX) {
        true => format!(" or a range (\"{first}-{enough}:{target}\")"),
        false => String::new(),
    };
    Some(Problem {
        text: format!(
            "service `{name}`: {replicas} containers cannot all publish {target}/{protocol} on {taken}"
        ),
        hint: format!(
            "Publish any free port (\"{target}\"){range} in `ports:` of `{name}`, or run one container."
        ),
    })
}

/// Why a port cannot be published, as far as this host alone can say.
async fn taken(context: &Context, name: &str, port: &PublishedPort) -> Option<Problem> {
    let error = match context
        .networks
        .check_ports(std::slice::from_ref(port))
        .await
    {
        Ok(()) => return None,
        Err(error) => error,
    };
    let hint = match &error {
        // A container's: whether it may change hands is for the control plane to say.
        NetworkError::PortInUse {
            holder: PortHolder::Container(_),
            ..
        } => return None,
        // Several to choose from: another may be free by then.
        NetworkError::RangeInUse { .. } => return None,
        NetworkError::PortInUse { port, holder, .. } => {
            let change = format!(
                "Publish another port than {port} (left of the colon in `ports:` of `{name}`)"
            );
            match holder {
                PortHolder::Process { pid, name } => {
                    format!("{change}, or stop `{name}` (pid {pid}).")
                }
                PortHolder::Container(_) | PortHolder::Unknown => format!("{change}."),
            }
        }
        NetworkError::NotOurAddress { .. } | NetworkError::NoSuchTarget { .. } => {
            format!("Change the address in `ports:` of `{name}`.")
        }
        // Not knowing is no reason to refuse.
        _ => {
            tracing::debug!(%error, "cannot check a port");
            return None;
        }
    };
    Some(Problem {
        text: format!("service `{name}`: {}", chain(&error)),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[track_caller]
    fn check(published: Option<(u16, u16)>, replicas: u32, expected: &str) {
        let port = PublishedPort {
            host_ip: None,
            published,
            target: 80,
            protocol: scheduler::model::container::Protocol::Tcp,
            mode: scheduler::model::container::PublishMode::Host,
        };
        let mut service = ServiceSpec::default();
        Arc::make_mut(&mut service.container).ports.push(port);
        let problem = shared("web", &service, replicas);
        let text = problem.map_or_else(String::new, |it| format!("{}\n{}", it.text, it.hint));
        assert_eq!(text, expected);
    }

    #[test]
    fn as_many_containers_as_there_are_ports_can_publish_them() {
        check(Some((8080, 8080)), 1, "");
        check(Some((8080, 8082)), 3, "");
        check(None, 3, "");
        check(
            Some((8080, 8080)),
            2,
            "service `web`: 2 containers cannot all publish 80/tcp on port 8080/tcp\n\
             Publish any free port (\"80\") or a range (\"8080-8081:80\") in `ports:` of `web`, or run one container.",
        );
        check(
            Some((65535, 65535)),
            2,
            "service `web`: 2 containers cannot all publish 80/tcp on port 65535/tcp\n\
             Publish any free port (\"80\") in `ports:` of `web`, or run one container.",
        );
    }
}
