//! Which devices a container may use, and how the kernel is told.
//!
//!     rules, the later ones win          cgroup v1                    cgroup v2
//!     deny  a *:* rwm            ──►     devices.deny  ← a       or   one eBPF program
//!     allow c 1:3 rwm                    devices.allow ← c 1:3 rwm    on the container's cgroup
//!
//! A node in `/dev` proves nothing: a container that has `MKNOD` makes what it likes. The filter is
//! what counts, and it is there in both worlds.

mod filter;
mod host;

pub use filter::{attach as attach_v2, load as load_v2, program as v2_program};
pub use host::{GrantedDevice, disk, granted, host_devices};

use std::path::PathBuf;
use std::{fmt, io};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// One rule of a device filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub verdict: Verdict,
    pub kind: DeviceKind,
    /// Any when `None`.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub permissions: Permissions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Char,
    Block,
}

/// Some of read, write and mknod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Permissions(u8);

/// Why a device or a rule was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("`{text}` is not a device rule such as `c 1:3 mr`")]
    Syntax { text: String },
    #[error("`{text}` is not a set of device permissions: some of `r`, `w` and `m`")]
    Permissions { text: String },
    #[error("{path} is not a device")]
    NotADevice { path: PathBuf },
    #[error("{path} is not a disk")]
    NotADisk { path: PathBuf },
    #[error("cannot look at device {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds more than {limit} devices")]
    TooMany { path: PathBuf, limit: usize },
}

impl Permissions {
    pub const MKNOD: Self = Self(1);
    pub const READ: Self = Self(2);
    pub const WRITE: Self = Self(4);
    pub const ALL: Self = Self(7);

    /// Parses some of `r`, `w` and `m`, each at most once.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let mut set = 0;
        for letter in text.bytes() {
            let bit = match letter {
                b'r' => Self::READ.0,
                b'w' => Self::WRITE.0,
                b'm' => Self::MKNOD.0,
                _ => 0,
            };
            if bit == 0 || set & bit != 0 {
                return Err(DeviceError::Permissions {
                    text: text.to_owned(),
                });
            }
            set |= bit;
        }
        match set {
            0 => Err(DeviceError::Permissions {
                text: text.to_owned(),
            }),
            set => Ok(Self(set)),
        }
    }

    /// The bits of `BPF_DEVCG_ACC_*`.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.0 & bit.0 != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl DeviceRule {
    /// Allows or denies everything.
    pub const fn all(verdict: Verdict) -> Self {
        Self {
            verdict,
            kind: DeviceKind::All,
            major: None,
            minor: None,
            permissions: Permissions::ALL,
        }
    }

    /// Parses Docker's form, e.g. `c 1:3 mr` or `a *:* rwm`, as an allowing rule.
    ///
    /// # Errors
    ///
    /// Returns [`DeviceError::Syntax`] for another form or a number of more than 20 bits, and
    /// [`DeviceError::Permissions`] for letters other than `r`, `w` and `m`.
    ///
    /// Source: `docker run --device-cgroup-rule`; kernel `cgroup-v1/devices.rst`.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let bad = || DeviceError::Syntax {
            text: text.to_owned(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, numbers, permissions] = words.as_slice() else {
            return Err(bad());
        };
        let kind = match *kind {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Char,
            _ => return Err(bad()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
        Ok(Self {
            verdict: Verdict::Allow,
            kind,
            major: parse_number(major).ok_or_else(bad)?,
            minor: parse_number(minor).ok_or_else(bad)?,
            permissions: Permissions::parse(permissions)?,
        })
    }

    /// Reads a rule of an OCI configuration.
    pub fn from_oci(rule: &LinuxDeviceCgroup) -> Result<Self, DeviceError> {
        let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            verdict: if rule.allow() {
                Verdict::Allow
            } else {
                Verdict::Deny
            },
            kind: match rule.typ().unwrap_or_default() {
                LinuxDeviceType::A => DeviceKind::All,
                LinuxDeviceType::B => DeviceKind::Block,
                LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
                LinuxDeviceType::P => {
                    return Err(DeviceError::Syntax {
                        text: "p".to_owned(),
                    });
                }
            },
            major: number(rule.major()),
            minor: number(rule.minor()),
            permissions: match rule.access() {
                Some(access) => Permissions::parse(access)?,
                None => Permissions::ALL,
            },
        })
    }

    pub fn to_oci(self) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(self.verdict == Verdict::Allow);
        rule.set_access(Some(self.permissions.to_string()));
        rule.set_typ(Some(match self.kind {
            DeviceKind::All => LinuxDeviceType::A,
            DeviceKind::Block => LinuxDeviceType::B,
            DeviceKind::Char => LinuxDeviceType::C,
        }));
        rule.set_major(self.major.map(i64::from));
        rule.set_minor(self.minor.map(i64::from));
        rule
    }

    /// The line for cgroup v1's `devices.allow` or `devices.deny` (which one, `verdict` says).
    pub fn v1_line(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            // The kernel takes `a` for everything and looks no further.
            DeviceKind::All => return "a".to_owned(),
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        format!(
            "{kind} {}:{} {}",
            number(self.major),
            number(self.minor),
            self.permissions
        )
    }
}

/// What every container may use: nothing but the harmless character devices.
///
/// Making a node of any device is allowed (unpacking packages does it); opening it is not.
///
/// Source: moby `daemon/pkg/oci/defaults.go` and runc's `AllowedDevices`.
pub fn default_rules() -> Vec<DeviceRule> {
    let char_device = |major, minor, permissions| DeviceRule {
        verdict: Verdict::Allow,
        kind: DeviceKind::Char,
        major,
        minor,
        permissions,
    };
    let open = |major, minor| char_device(Some(major), minor, Permissions::ALL);
    vec![
        DeviceRule::all(Verdict::Deny),
        char_device(None, None, Permissions::MKNOD),
        DeviceRule {
            kind: DeviceKind::Block,
            ..char_device(None, None, Permissions::MKNOD)
        },
        open(1, Some(3)), // null
        open(1, Some(5)), // zero
        open(1, Some(7)), // full
        open(1, Some(8)), // random
        open(1, Some(9)), // urandom
        open(5, Some(0)), // tty
        open(5, Some(1)), // console
        open(5, Some(2)), // ptmx
        open(136, None),  // pts/*
    ]
}

/// Parses `*` or a decimal number that fits in a device number's 20 bits.
fn parse_number(text: &str) -> Option<Option<u32>> {
    if text == "*" {
        return Some(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text
        .parse::<u32>()
        .ok()
        .filter(|number| digits && *number < 1 << 20)?;
    Some(Some(number))
}

#[cfg(test)]
mod tests;
