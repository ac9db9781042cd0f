//! Kernel settings of a container: only those that belong to one of its own namespaces.

use std::collections::HashMap;
use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::failure::{During, Failure};

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Writes the settings through the host's `/proc`, which shows those of the caller's namespaces.
pub(super) fn set_all(wanted: &HashMap<String, String>, spec: &Spec) -> Result<(), Failure> {
    for (name, value) in wanted {
        let Some(needed) = namespace_of(name) else {
            let reason = "it would change the whole host";
            return Err(Failure::refused("set sysctl", name, reason));
        };
        if !is_private(spec, needed) {
            let reason = format!("the container has no {needed} namespace of its own");
            return Err(Failure::refused("set sysctl", name, reason));
        }
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(&file, value).during(&format!("write `{value}` to"), file)?;
    }
    Ok(())
}

/// Whose setting this is; `None` when it is the host's, or no name of a setting.
///
/// Source: runc `libcontainer/configs/validate`, `sysctl`.
fn namespace_of(name: &str) -> Option<LinuxNamespaceType> {
    let proper = !name.split('.').any(str::is_empty)
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    match name {
        _ if !proper => None,
        _ if IPC.contains(&name) || name.starts_with("fs.mqueue.") => Some(LinuxNamespaceType::Ipc),
        _ if name.starts_with("net.") => Some(LinuxNamespaceType::Network),
        "kernel.domainname" => Some(LinuxNamespaceType::Uts),
        _ => None,
    }
}

fn is_private(spec: &Spec, wanted: LinuxNamespaceType) -> bool {
    spec.linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref())
        .is_some_and(|namespaces| namespaces.iter().any(|found| found.typ() == wanted))
}
