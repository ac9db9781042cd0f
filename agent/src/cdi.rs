//! Devices by vendor name (`nvidia.com/gpu=0`), as the Container Device Interface describes them.
//!
//!     /etc/cdi/*.{json,yaml}        kind: nvidia.com/gpu
//!     /var/run/cdi/*.{json,yaml}    devices: [{name: "0", containerEdits: {…}}]   ──► Edits
//!                                   containerEdits: {…}      (of every device of the kind)
//!
//! A later directory wins over an earlier one. Of hooks those are run that finish the file system
//! (`createContainer`), which is what vendors use: a device that needs another one is refused by name,
//! as a container that lacks what the hook makes would fail in ways nobody understands.
//!
//! Source: `cncf-tags/container-device-interface`, SPEC.md 0.8.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where specifications are looked for. Source: SPEC.md, "CDI JSON Specification".
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A vendor's file is kilobytes; a larger one is not read.
const MAX_BYTES: u64 = 4 << 20;

/// What devices change in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub mounts: Vec<CdiMount>,
    #[serde(rename = "additionalGIDs", alias = "additionalGids")]
    pub additional_gids: Vec<u32>,
    pub hooks: Vec<Hook>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the host; `path` when empty.
    pub host_path: String,
    /// Some of `r`, `w`, `m`; all when empty.
    pub permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CdiMount {
    pub host_path: String,
    pub container_path: String,
    pub options: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    hook_name: String,
    /// On the host.
    pub path: PathBuf,
    /// The first is its own name.
    pub args: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

/// The one kind that is run.
const CREATE_CONTAINER: &str = "createContainer";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    kind: String,
    devices: Vec<Device>,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Device {
    name: String,
    container_edits: Edits,
}

/// Why a device cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    #[error("`{name}` is not the name of a device, `vendor.com/class=name`")]
    Name { name: String },
    #[error("there is no device `{name}` on this host")]
    Absent { name: String },
    #[error("device `{name}` needs the hook {hook}, and hooks of this kind are not run")]
    Hook { name: String, hook: String },
    #[error("cannot read the device specification {path}: {reason}")]
    Broken { path: PathBuf, reason: String },
}

/// The devices that this host's specifications describe.
#[derive(Debug, Default)]
pub struct Registry {
    /// By kind: what all devices of a file change, and the device's own changes, by name.
    kinds: BTreeMap<String, BTreeMap<String, (Edits, Edits)>>,
}

impl Registry {
    /// Reads this host's specifications; one that is missing or wrong offers nothing, unless a
    /// device of it is asked for.
    pub fn of_host() -> Self {
        Self::read(&DIRECTORIES.map(Path::new))
    }

    fn read(directories: &[&Path]) -> Self {
        let mut registry = Self::default();
        for directory in directories {
            for path in files(directory) {
                match read(&path) {
                    Ok(file) => registry.add(file),
                    Err(error) => tracing::warn!(%error, "its devices are not known"),
                }
            }
        }
        registry
    }

    fn add(&mut self, file: File) {
        let devices = self.kinds.entry(file.kind).or_default();
        for device in file.devices {
            let edits = (file.container_edits.clone(), device.container_edits);
            devices.insert(device.name, edits);
        }
    }

    /// What these devices change together. What a file says of all its devices is done once.
    ///
    /// # Errors
    ///
    /// [`CdiError::Name`], [`CdiError::Absent`], and [`CdiError::Hook`] for one that cannot be had
    /// without a hook of another kind.
    pub fn edits(&self, names: &[String]) -> Result<Edits, CdiError> {
        let mut all = Edits::default();
        for name in names {
            let split = name.split_once('=').filter(|(kind, _)| kind.contains('/'));
            let Some((kind, device)) = split else {
                return Err(CdiError::Name { name: name.clone() });
            };
            let found = self.kinds.get(kind).and_then(|it| it.get(device));
            let Some((common, own)) = found else {
                return Err(CdiError::Absent { name: name.clone() });
            };
            all.add(name, common)?;
            all.add(name, own)?;
        }
        Ok(all)
    }
}

impl Edits {
    fn add(&mut self, name: &str, other: &Self) -> Result<(), CdiError> {
        let mut hooks = other.hooks.iter();
        if let Some(hook) = hooks.find(|it| it.hook_name != CREATE_CONTAINER) {
            return Err(CdiError::Hook {
                name: name.to_owned(),
                hook: format!("{} ({})", hook.path.display(), hook.hook_name),
            });
        }
        extend(&mut self.hooks, &other.hooks);
        extend(&mut self.env, &other.env);
        extend(&mut self.device_nodes, &other.device_nodes);
        extend(&mut self.mounts, &other.mounts);
        extend(&mut self.additional_gids, &other.additional_gids);
        Ok(())
    }
}

fn extend<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_spec = |path: &PathBuf| {
        let extension = path.extension().and_then(|it| it.to_str());
        matches!(extension, Some("json" | "yaml" | "yml"))
    };
    let mut files: Vec<_> = entries.map(|it| it.path()).filter(is_spec).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<File, CdiError> {
    let broken = |reason: String| CdiError::Broken {
        path: path.to_owned(),
        reason,
    };
    let failed = |error: io::Error| broken(error.to_string());
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(broken(format!("it is larger than {MAX_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    // YAML has JSON in it.
    serde_yaml::from_str(&text).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests;
