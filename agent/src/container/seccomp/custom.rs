//! Reads a profile in Docker's JSON form, and settles what depends on capabilities and the host.
//!
//! Source: moby `profiles/seccomp`, `Seccomp` and `LoadProfile`.

use nix::sys::utsname::uname;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg};
use serde::Deserialize;

use super::{SeccompError, architectures, rule};
use crate::container::capability::CapabilitySet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// The older form, for one call.
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

/// When a rule holds, or does not.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The profile for a container with `capabilities`.
pub(super) fn profile(
    json: &str,
    capabilities: CapabilitySet,
) -> Result<LinuxSeccomp, SeccompError> {
    let problem = |error: serde_json::Error| SeccompError::Json {
        problem: error.to_string(),
    };
    let read: Profile = serde_json::from_str(json).map_err(problem)?;
    if read.listener_path.is_some_and(|path| !path.is_empty()) {
        return Err(SeccompError::Unsupported {
            feature: "listenerPath",
        });
    }
    let rules = read
        .syscalls
        .into_iter()
        .filter(|rule| rule.holds(capabilities))
        .map(|given| {
            let names = given.names.iter().chain(&given.name).map(String::as_str);
            rule(
                names,
                given.action,
                given.errno_ret,
                given.args.clone().unwrap_or_default(),
            )
        });
    let mut profile = LinuxSeccomp::default();
    profile.set_syscalls(Some(rules.collect()));
    profile.set_default_action(read.default_action);
    profile.set_default_errno_ret(read.default_errno_ret);
    profile.set_architectures(Some(match (read.arch_map, read.architectures) {
        (Some(map), _) => of_this_host(map),
        (None, Some(list)) if !list.is_empty() => list,
        (None, _) => architectures(),
    }));
    Ok(profile)
}

fn of_this_host(map: Vec<ArchMap>) -> Vec<Arch> {
    let native = architectures();
    let entry = map
        .into_iter()
        .find(|entry| native.first() == Some(&entry.architecture));
    entry.map_or(native, |entry| {
        let mut all = vec![entry.architecture];
        all.extend(entry.sub_architectures.into_iter().flatten());
        all
    })
}

impl Rule {
    fn holds(&self, capabilities: CapabilitySet) -> bool {
        let included = self
            .includes
            .caps
            .iter()
            .all(|name| has(capabilities, name))
            && (self.includes.arches.is_empty() || self.includes.names_this_host())
            && self
                .includes
                .min_kernel
                .as_deref()
                .is_none_or(kernel_is_at_least);
        let excluded = self
            .excludes
            .caps
            .iter()
            .any(|name| has(capabilities, name))
            || self.excludes.names_this_host()
            || self
                .excludes
                .min_kernel
                .as_deref()
                .is_some_and(kernel_is_at_least);
        included && !excluded
    }
}

impl Filter {
    fn names_this_host(&self) -> bool {
        // Docker names architectures as Go does.
        let host = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        };
        self.arches.iter().any(|arch| arch == host)
    }
}

fn has(capabilities: CapabilitySet, name: &str) -> bool {
    capabilities.has(name.strip_prefix("CAP_").unwrap_or(name))
}

/// Whether the host's kernel is of the given version, e.g. `4.8`, or later.
fn kernel_is_at_least(wanted: &str) -> bool {
    let release = uname().map(|host| host.release().to_string_lossy().into_owned());
    release.is_ok_and(|release| version(&release) >= version(wanted))
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests;
