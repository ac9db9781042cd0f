//! Linux capabilities as sets: names, numbers, and what a container gets.
//!
//! A set is a bit per capability, numbered as in the kernel, so that it can be handed to capset(2)
//! as it is.

use std::fmt;

use oci_spec::runtime::Capability;

/// Names by number. Source: `include/uapi/linux/capability.h`, Linux 6.18.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless its spec says otherwise: Docker's fourteen.
///
/// Dropping `NET_RAW`, `MKNOD` and `AUDIT_WRITE` as well was weighed: images whose `ping` has file
/// capabilities (Debian, Fedora) fail to execute it at all without `NET_RAW`, package managers
/// unpack device nodes, and `sshd` and `cron` write audit records. What these three could do
/// to the host is stopped elsewhere: the device filter refuses what `mknod` made, and spoofed
/// frames stay within the bridge's own segment.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities; bit n is capability n.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

/// A name that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{name}`{}", did_you_mean(.suggestion))]
pub struct UnknownCapability {
    pub name: String,
    pub suggestion: Option<&'static str>,
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

impl CapabilitySet {
    pub const EMPTY: Self = Self(0);
    /// Every capability that is known here.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// What a container has unless its spec says otherwise.
    pub fn container_default() -> Self {
        Self(
            DEFAULT
                .iter()
                .filter_map(|name| number(name))
                .fold(0, |set, n| set | 1 << n),
        )
    }

    /// Adds to and drops from the default, in Docker's order.
    ///
    /// Names are taken in any case, with or without `CAP_`. `ALL` in `add` gives all but those that
    /// are dropped by name; otherwise what is added by name wins over what is dropped.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownCapability`], with the nearest name, for a name that is no capability.
    ///
    /// Source: moby `daemon/pkg/oci/caps`, `TweakCapabilities`.
    pub fn tweaked(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let (add, drop) = (Named::parse(add)?, Named::parse(drop)?);
        let set = match (add.all, drop.all) {
            (true, _) => Self::ALL.0 & !drop.set,
            (false, true) => add.set,
            (false, false) => (Self::container_default().0 & !drop.set) | add.set,
        };
        Ok(Self(set))
    }

    /// Reads what a process has from its `/proc/PID/status`; `None` when that has no such line.
    pub fn from_status(status: &str) -> Option<Self> {
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(bits.trim(), 16)
            .ok()
            .map(|bits| Self(bits & Self::ALL.0))
    }

    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether capability `name` (without `CAP_`, in capitals) is in the set.
    pub fn has(self, name: &str) -> bool {
        number(name).is_some_and(|n| self.0 & (1 << n) != 0)
    }

    /// The bits, as capset(2) and `/proc/PID/status` show them.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The names without `CAP_`, in the order of their numbers.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..NAMES.len())
            .filter(move |n| self.0 & (1 << n) != 0)
            .map(|n| NAMES[n])
    }

    /// The set as an OCI configuration has it.
    pub fn to_oci(self) -> oci_spec::runtime::Capabilities {
        self.names()
            .filter_map(|name| name.parse::<Capability>().ok())
            .collect()
    }

    /// Reads the set from an OCI configuration.
    pub fn from_oci(set: &oci_spec::runtime::Capabilities) -> Self {
        Self(
            set.iter()
                .filter_map(|cap| number(&cap.to_string()))
                .fold(0, |set, n| set | 1 << n),
        )
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// What a list of names says.
struct Named {
    all: bool,
    set: u64,
}

impl Named {
    fn parse(names: &[String]) -> Result<Self, UnknownCapability> {
        let mut named = Self { all: false, set: 0 };
        for name in names {
            let upper = name.trim().to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match (bare, number(bare)) {
                ("ALL", _) => named.all = true,
                (_, Some(n)) => named.set |= 1 << n,
                (_, None) => {
                    return Err(UnknownCapability {
                        name: name.clone(),
                        suggestion: nearest(bare),
                    });
                }
            }
        }
        Ok(named)
    }
}

fn number(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The known name that shares most pairs of letters with `name`, if at least half are shared.
fn nearest(name: &str) -> Option<&'static str> {
    let pairs = |text: &str| -> Vec<[u8; 2]> {
        text.as_bytes()
            .windows(2)
            .map(|pair| [pair[0], pair[1]])
            .collect()
    };
    let wanted = pairs(name);
    NAMES
        .iter()
        .map(|known| {
            let known_pairs = pairs(known);
            let shared = wanted
                .iter()
                .filter(|pair| known_pairs.contains(pair))
                .count();
            (shared * 2, wanted.len() + known_pairs.len(), *known)
        })
        .filter(|(shared, total, _)| *shared * 2 >= *total)
        // Fractions compared by cross-multiplication.
        .max_by_key(|(shared, total, _)| shared * 1000 / (*total).max(1))
        .map(|(_, _, known)| known)
}

#[cfg(test)]
mod tests;
