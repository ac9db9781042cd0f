//! Which devices a container may use: rules, and the two ways a kernel enforces them.
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup};

/// One rule of a device filter; later rules win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceKind,
    /// Any when `None`.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub permissions: Permissions,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Char,
    Block,
}

/// Some of read, write and mknod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u8);

/// A device of the host made visible in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantedDevice {
    pub node: LinuxDevice,
    pub permissions: Permissions,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("`{text}` is not a device rule")]
    Syntax { text: String },
}

impl DeviceRule {
    /// Parses Docker's form, e.g. `c 1:3 mr`, as an allowing rule.
    pub fn parse(_text: &str) -> Result<Self, DeviceError> {
        todo!()
    }
    pub fn from_oci(_rule: &LinuxDeviceCgroup) -> Result<Self, DeviceError> {
        todo!()
    }
    pub fn to_oci(&self) -> LinuxDeviceCgroup {
        todo!()
    }
    /// The line to write to cgroup v1's `devices.allow` or `devices.deny` (see `allow`).
    pub fn v1_line(&self) -> String {
        todo!()
    }
}

/// What every container may use; begins with the rule that denies all.
pub fn default_rules() -> Vec<DeviceRule> {
    todo!()
}

/// Finds the device nodes at or (for a directory) beneath a path of the host.
pub fn granted(
    _device: &scheduler::model::container::Device,
) -> Result<Vec<GrantedDevice>, DeviceError> {
    todo!()
}
/// Every device node of the host, for a privileged container.
pub fn host_devices() -> Result<Vec<GrantedDevice>, DeviceError> {
    todo!()
}

/// Makes cgroup v2's filter (instructions of a `BPF_PROG_TYPE_CGROUP_DEVICE` program); last matching rule wins.
pub fn v2_program(_rules: &[DeviceRule]) -> Vec<u64> {
    todo!()
}
/// Loads it into the kernel.
pub fn load_v2(_program: &[u64]) -> io::Result<OwnedFd> {
    todo!()
}
/// Attaches a loaded filter to a cgroup directory, in place of earlier ones of ours.
pub fn attach_v2(_cgroup: BorrowedFd<'_>, _filter: BorrowedFd<'_>) -> io::Result<()> {
    todo!()
}
