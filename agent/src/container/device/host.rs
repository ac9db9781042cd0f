//! The host's device nodes, as they are handed to a container.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use scheduler::model::container::Device;

use super::{DeviceError, DeviceKind, DeviceRule, Permissions, Verdict};

/// More than any host has, and an end for a directory that is not what it seems.
const MAX_DEVICES: usize = 8192;
const MAX_DEPTH: usize = 8;

/// Filled by the runtime itself, or not devices. Source: runc `libcontainer/devices`.
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// A device node for a container, and what may be done with it.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantedDevice {
    pub node: LinuxDevice,
    pub permissions: Permissions,
}

impl GrantedDevice {
    /// The rule that opens the filter for it.
    pub fn rule(&self) -> DeviceRule {
        let block = self.node.typ() == LinuxDeviceType::B;
        DeviceRule {
            verdict: Verdict::Allow,
            kind: if block {
                DeviceKind::Block
            } else {
                DeviceKind::Char
            },
            major: u32::try_from(self.node.major()).ok(),
            minor: u32::try_from(self.node.minor()).ok(),
            permissions: self.permissions,
        }
    }
}

/// Finds the device node at a path of the host, or all beneath it when it is a directory.
///
/// # Errors
///
/// Returns [`DeviceError`] when there is nothing, something else, or too much, and for permissions
/// that are none.
pub fn granted(device: &Device) -> Result<Vec<GrantedDevice>, DeviceError> {
    let permissions = match device.permissions.as_str() {
        "" => Permissions::ALL,
        text => Permissions::parse(text)?,
    };
    let source = Path::new(&device.source);
    let target = Path::new(if device.target.is_empty() {
        &device.source
    } else {
        &device.target
    });
    let metadata = fs::metadata(source).map_err(|error| DeviceError::Read {
        path: source.to_owned(),
        source: error,
    })?;
    if metadata.is_dir() {
        return beneath(source, target, permissions);
    }
    let node = node(target, &metadata).ok_or_else(|| DeviceError::NotADevice {
        path: source.to_owned(),
    })?;
    Ok(vec![GrantedDevice { node, permissions }])
}

/// Major and minor number of the disk with this device file.
pub fn disk(path: &Path) -> Result<(u32, u32), DeviceError> {
    let metadata = fs::metadata(path).map_err(|error| DeviceError::Read {
        path: path.to_owned(),
        source: error,
    })?;
    if !metadata.file_type().is_block_device() {
        let path = path.to_owned();
        return Err(DeviceError::NotADisk { path });
    }
    let number = metadata.rdev();
    Ok((libc::major(number), libc::minor(number)))
}

/// Every device node of the host, for a privileged container.
pub fn host_devices() -> Result<Vec<GrantedDevice>, DeviceError> {
    beneath(Path::new("/dev"), Path::new("/dev"), Permissions::ALL)
}

fn beneath(
    source: &Path,
    target: &Path,
    permissions: Permissions,
) -> Result<Vec<GrantedDevice>, DeviceError> {
    let mut found = Vec::new();
    let mut todo: Vec<(PathBuf, PathBuf, usize)> = vec![(source.to_owned(), target.to_owned(), 0)];
    while let Some((directory, target, depth)) = todo.pop() {
        let read = |error| DeviceError::Read {
            path: directory.clone(),
            source: error,
        };
        for entry in fs::read_dir(&directory).map_err(read)? {
            let entry = entry.map_err(read)?;
            let (name, target) = (entry.file_name(), target.join(entry.file_name()));
            // Does not follow links; a node that vanishes meanwhile is not there.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                if depth < MAX_DEPTH && !SKIPPED.iter().any(|skipped| name == *skipped) {
                    todo.push((entry.path(), target, depth + 1));
                }
            } else if name != "console"
                && let Some(node) = node(&target, &metadata)
            {
                found.push(GrantedDevice { node, permissions });
            }
            if found.len() > MAX_DEVICES {
                return Err(DeviceError::TooMany {
                    path: source.to_owned(),
                    limit: MAX_DEVICES,
                });
            }
        }
    }
    found.sort_by(|a, b| a.node.path().cmp(b.node.path()));
    Ok(found)
}

fn node(target: &Path, metadata: &Metadata) -> Option<LinuxDevice> {
    let kind = metadata.file_type();
    let typ = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        (false, false) => return None,
    };
    let mut node = LinuxDevice::default();
    node.set_path(target.to_owned());
    node.set_typ(typ);
    node.set_major(i64::from(libc::major(metadata.rdev())));
    node.set_minor(i64::from(libc::minor(metadata.rdev())));
    node.set_file_mode(Some(metadata.mode() & 0o7777));
    node.set_uid(Some(metadata.uid()));
    node.set_gid(Some(metadata.gid()));
    Some(node)
}
