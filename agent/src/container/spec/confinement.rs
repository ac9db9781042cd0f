//! What a container is kept apart from: namespaces, paths of the kernel, capabilities, settings.

use std::collections::HashMap;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType};
use scheduler::model::container::ContainerSpec;

use super::{Namespace, Namespaces, SpecError, SpecInput};
use crate::container::capability::CapabilitySet;
use crate::container::user::ResolvedUser;

/// Seen as empty. Source: moby `daemon/pkg/oci/defaults.go`; its entries for the thermal throttling
/// of each CPU are left out: a mount for each CPU costs every start, to hide a few counters.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Settings of an IPC namespace. Source: runc `configs/validate`, `sysctl`.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

pub(super) struct SystemPaths {
    pub(super) masked: Vec<String>,
    pub(super) read_only: Vec<String>,
}

impl SystemPaths {
    pub(super) fn of(container: &ContainerSpec) -> Self {
        if container.privileged || container.security.unconfined_system_paths {
            return Self {
                masked: Vec::new(),
                read_only: Vec::new(),
            };
        }
        Self {
            masked: MASKED.map(str::to_owned).to_vec(),
            read_only: READ_ONLY.map(str::to_owned).to_vec(),
        }
    }
}

/// The namespaces to make or join; the host's are not in the list.
pub(super) fn namespaces(wanted: &Namespaces) -> Vec<LinuxNamespace> {
    let private = Namespace::Private;
    [
        (LinuxNamespaceType::Mount, &private),
        (LinuxNamespaceType::Network, &wanted.network),
        (LinuxNamespaceType::Uts, &wanted.uts),
        (LinuxNamespaceType::Pid, &wanted.pid),
        (LinuxNamespaceType::Ipc, &wanted.ipc),
        (LinuxNamespaceType::Cgroup, &wanted.cgroup),
    ]
    .into_iter()
    .filter_map(|(kind, namespace)| {
        let path = match namespace {
            Namespace::Host => return None,
            Namespace::Private => None,
            Namespace::Join(path) => Some(path.clone()),
        };
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace.set_path(path);
        Some(namespace)
    })
    .collect()
}

/// The host name to set; none where the name belongs to somebody else.
pub(super) fn hostname(input: &SpecInput<'_>) -> Result<Option<String>, SpecError> {
    if input.hostname.chars().any(char::is_control) {
        return Err(SpecError::ControlCharacter {
            what: "the host name",
        });
    }
    if input.hostname.len() > 64 {
        return Err(SpecError::Resource {
            name: "hostname",
            value: input.hostname.clone(),
            why: "the kernel takes at most 64 characters",
        });
    }
    Ok((input.namespaces.uts == Namespace::Private).then(|| input.hostname.clone()))
}

/// Capabilities of the first process.
///
/// Never inheritable or ambient (CVE-2022-24769). A user other than root has none to begin with, as
/// after execve(2), but may get those in `bounding` through files.
pub(super) fn process_capabilities(user: &ResolvedUser, set: CapabilitySet) -> LinuxCapabilities {
    let effective = if user.uid == 0 {
        set
    } else {
        CapabilitySet::EMPTY
    };
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(Some(set.to_oci()));
    capabilities.set_effective(Some(effective.to_oci()));
    capabilities.set_permitted(Some(effective.to_oci()));
    capabilities.set_inheritable(Some(Capabilities::new()));
    capabilities.set_ambient(Some(Capabilities::new()));
    capabilities
}

/// Kernel settings: Docker's two for a network of its own, and the user's.
///
/// Only settings that belong to a namespace of the container, spelt with dots: anything else would
/// change the host (CVE-2022-0811 came through another spelling).
pub(super) fn sysctls(input: &SpecInput<'_>) -> Result<HashMap<String, String>, SpecError> {
    let mut settings = HashMap::new();
    let mut set = |key: &str, value: &str| settings.insert(key.to_owned(), value.to_owned());
    if input.namespaces.network == Namespace::Private {
        set("net.ipv4.ip_unprivileged_port_start", "0");
        set("net.ipv4.ping_group_range", "0 2147483647");
    }
    if let Some(domain) = input
        .container
        .domainname
        .as_deref()
        .filter(|name| !name.is_empty())
        && input.namespaces.uts == Namespace::Private
    {
        if domain.chars().any(char::is_control) {
            return Err(SpecError::ControlCharacter {
                what: "the domain name",
            });
        }
        set("kernel.domainname", domain);
    }
    for (key, value) in &input.container.sysctls {
        if let Some(why) = refused_sysctl(key, value, &input.namespaces) {
            return Err(SpecError::Sysctl {
                key: key.clone(),
                why,
            });
        }
        set(key, value);
    }
    Ok(settings)
}

fn refused_sysctl(key: &str, value: &str, namespaces: &Namespaces) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-';
    if !key.bytes().all(plain) || key.split('.').any(str::is_empty) {
        return Some("names are words with dots between them");
    }
    if value.chars().any(char::is_control) {
        return Some("its value contains a control character");
    }
    if key.starts_with("net.") {
        return (namespaces.network == Namespace::Host)
            .then_some("the container uses the host's network");
    }
    if key.starts_with("fs.mqueue.") || IPC_SYSCTLS.contains(&key) {
        return (namespaces.ipc == Namespace::Host)
            .then_some("the container uses the host's ipc namespace");
    }
    Some("it belongs to the host as a whole")
}
