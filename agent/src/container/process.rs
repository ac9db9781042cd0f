//! A process on this host, named so that no other can be meant after its pid was reused.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::kernel;

/// A pid with the boot and the moment at which it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// Clock ticks since boot; field 22 of `/proc/PID/stat`.
    start: u64,
    boot: String,
}

impl ProcessId {
    /// Names a process that is known to be alive (or is an unreaped child).
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Some(Self {
            pid: u32::try_from(pid.as_raw()).ok()?,
            start: start_ticks(pid)?,
            boot: boot_id().to_owned(),
        })
    }

    /// A handle to signal it; `None` when it is gone.
    pub(super) fn open(&self) -> Option<OwnedFd> {
        if self.boot != boot_id() {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?);
        let pidfd = kernel::pidfd_open(pid).ok()?;
        // Looked at after the handle was taken: from here on the pid cannot change its meaning unseen.
        (start_ticks(pid) == Some(self.start)).then_some(pidfd)
    }

    /// Alive, and not a zombie.
    pub(super) fn is_alive(&self) -> bool {
        self.open()
            .is_some_and(|pidfd| kernel::pidfd_signal(&pidfd, 0).is_ok())
            && !is_zombie(self.pid)
    }
}

/// Differs after each boot of the host.
pub(super) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    })
}

fn start_ticks(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    fields_after_name(&text)?.nth(19)?.parse().ok()
}

fn is_zombie(pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    fields_after_name(&text).and_then(|mut fields| fields.next()) == Some("Z")
}

/// The fields from the third on: the second is the name, and may hold blanks and brackets.
fn fields_after_name(stat: &str) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}
