//! What a program in a container may do: limits, user, capabilities, system calls.
//!
//! Read from the configuration before the fork, applied after it, in the one order that works, for
//! the container's first process and for each exec alike: the same code, so that they cannot differ.

use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use oci_spec::runtime::{LinuxSeccomp, PosixRlimitType, Process};

use super::capability::CapabilitySet;
use super::failure::{During, Failure};
use super::kernel;
use super::seccomp;

/// The confinement of one program.
#[derive(Clone, Debug)]
pub(super) struct Confinement {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    umask: u32,
    /// Bounding, permitted and effective; the inheritable and ambient ones are always empty.
    capabilities: CapabilitySet,
    no_new_privileges: bool,
    seccomp: Option<seccomp::Program>,
    limits: Vec<Limit>,
    oom_score_adj: Option<i32>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    kind: PosixRlimitType,
    soft: u64,
    hard: u64,
}

impl Confinement {
    pub(super) fn read(process: &Process, profile: Option<&LinuxSeccomp>) -> Result<Self, Failure> {
        // Running without what was asked for would be worse than not running.
        let labels = [process.apparmor_profile(), process.selinux_label()];
        for label in labels.into_iter().flatten() {
            if !matches!(label.as_str(), "" | "unconfined") {
                let reason = "security modules are not supported";
                return Err(Failure::refused("use profile", label, reason));
            }
        }
        let user = process.user();
        let capabilities = process
            .capabilities()
            .as_ref()
            .and_then(|sets| sets.bounding().as_ref())
            .map(CapabilitySet::from_oci)
            .unwrap_or_default();
        let seccomp = profile
            .map(seccomp::compile)
            .transpose()
            .map_err(|error| Failure::refused("use seccomp profile", "", error.to_string()))?;
        Ok(Self {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022),
            capabilities,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            seccomp,
            limits: process
                .rlimits()
                .iter()
                .flatten()
                .map(|limit| Limit {
                    kind: limit.typ(),
                    soft: limit.soft(),
                    hard: limit.hard(),
                })
                .collect(),
            oom_score_adj: process.oom_score_adj(),
        })
    }

    /// The confinement of a privileged exec: none but the user.
    pub(super) fn lifted(&self) -> Self {
        Self {
            capabilities: CapabilitySet::ALL,
            no_new_privileges: false,
            seccomp: None,
            ..self.clone()
        }
    }

    /// Sets limits, and returns which of them could not be had.
    ///
    /// Needs the host's `/proc`.
    pub(super) fn limit(&self) -> Result<Vec<String>, Failure> {
        let mut warnings = Vec::new();
        // The agent may be protected; that is not for its containers.
        let score = self.oom_score_adj.unwrap_or(0);
        if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score.to_string())
            && self.oom_score_adj.is_some()
        {
            warnings.push(format!("oom_score_adj cannot be set to {score}: {error}"));
        }
        for limit in &self.limits {
            let resource = resource(limit.kind);
            match kernel::set_limit(resource, limit.soft, limit.hard) {
                Ok(()) => {}
                // Raising needs CAP_SYS_RESOURCE (or a higher fs.nr_open): as much as there is, then.
                Err(Errno::EPERM) => {
                    let hard = kernel::hard_limit(resource)
                        .during("read limit", limit.kind.to_string())?
                        .min(limit.hard);
                    kernel::set_limit(resource, limit.soft.min(hard), hard)
                        .during("set limit", limit.kind.to_string())?;
                    warnings.push(format!(
                        "{} cannot be raised to {} here and is {hard}",
                        limit.kind, limit.hard
                    ));
                }
                Err(errno) => return Err(errno).during("set limit", limit.kind.to_string()),
            }
        }
        Ok(warnings)
    }

    /// Becomes the user, gives up capabilities, and loads the filter, for good.
    ///
    /// Without no_new_privs the kernel takes a filter only from a holder of CAP_SYS_ADMIN, so it is
    /// loaded first and must let the rest of this function pass. With it, it is loaded last.
    pub(super) fn apply(&self) -> Result<(), Failure> {
        umask(Mode::from_bits_truncate(self.umask));
        if self.no_new_privileges {
            set_no_new_privs().during("set no_new_privs", "")?;
        } else {
            self.load_filter()?;
        }
        self.drop_bounding()?;
        kernel::prctl(libc::PR_SET_KEEPCAPS, 1, 0).during("keep capabilities", "")?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).during("set groups", "")?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid).during("become group", gid.to_string())?;
        setresuid(uid, uid, uid).during("become user", uid.to_string())?;
        kernel::prctl(libc::PR_SET_KEEPCAPS, 0, 0).during("keep capabilities", "")?;
        let set = self.capabilities.bits() & known_capabilities();
        kernel::set_capabilities(set, set).during("set capabilities", "")?;
        match kernel::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
            0,
        ) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno).during("clear ambient capabilities", ""),
        }
        if self.no_new_privileges {
            self.load_filter()?;
        }
        Ok(())
    }

    fn load_filter(&self) -> Result<(), Failure> {
        match &self.seccomp {
            Some(program) => seccomp::load(program.as_bytes()).during("load seccomp filter", ""),
            None => Ok(()),
        }
    }

    fn drop_bounding(&self) -> Result<(), Failure> {
        for number in 0..64 {
            if self.capabilities.bits() & (1 << number) != 0 {
                continue;
            }
            match kernel::prctl(libc::PR_CAPBSET_DROP, number, 0) {
                Ok(()) => {}
                // Beyond the last one that this kernel knows.
                Err(Errno::EINVAL) => return Ok(()),
                Err(errno) => return Err(errno).during("drop capability", number.to_string()),
            }
        }
        Ok(())
    }
}

/// The capabilities that this process still may have, so that asking for an unknown one is no error.
fn known_capabilities() -> u64 {
    (0..64)
        .filter(|number| {
            // Answers 1 for what is in the bounding set, 0 for what is not, an error for what is unknown.
            nix::errno::Errno::result(bounding(*number)).is_ok_and(|held| held == 1)
        })
        .fold(0, |set, number| set | 1 << number)
}

#[allow(unsafe_code)]
fn bounding(number: u64) -> libc::c_int {
    // SAFETY: PR_CAPBSET_READ takes a number and returns one.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0_u64, 0_u64, 0_u64) }
}

fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}
