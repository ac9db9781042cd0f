//! Which system calls a container may make.
//!
//!     default table ─┐
//!                    ├─ for_container(capabilities) ─► OCI profile ─ compile ─► filter ─ load
//!     Docker's JSON ─┘                                 (in config.json)
//!
//! The OCI profile is complete, so that another runtime confines the container alike. Compiling is
//! done here, without libseccomp: well under a millisecond instead of tens, and a call that is newer
//! than the profile is answered with ENOSYS, so that the C libraries fall back to an older one.
#![allow(unsafe_code)]

mod compile;
mod custom;
mod default;
mod syscalls;

use std::io;
use std::sync::Arc;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};
use scheduler::model::container::SeccompProfile;

pub use self::compile::compile;
use super::capability::CapabilitySet;

/// A filter for the kernel: an array of `struct sock_filter` in native byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Arc<[u8]>);

impl Program {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of one `struct sock_filter`.
const INSTRUCTION_LEN: usize = 8;

/// Why a profile was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    #[error("the seccomp profile is not valid: {problem}")]
    Json { problem: String },
    #[error("the seccomp profile uses {feature}, which is not supported")]
    Unsupported { feature: &'static str },
    #[error("the seccomp profile checks argument {index} of `{syscall}`; arguments are 0 to 5")]
    Argument { syscall: String, index: usize },
    #[error("the seccomp profile makes a filter of {instructions} instructions; 4096 are possible")]
    TooLong { instructions: usize },
    #[error("system calls cannot be filtered on this processor architecture")]
    Architecture,
}

/// Gives the profile in OCI form, for a container with `capabilities`; `None` when unconfined.
///
/// # Errors
///
/// Returns [`SeccompError`] for a custom profile that cannot be read. Names of system calls that
/// are not known here are left out of it, as libseccomp does.
pub fn for_container(
    profile: &SeccompProfile,
    capabilities: CapabilitySet,
) -> Result<Option<LinuxSeccomp>, SeccompError> {
    match profile {
        SeccompProfile::Default => Ok(Some(default::profile(capabilities))),
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::Custom(json) => custom::profile(json, capabilities).map(Some),
    }
}

/// Loads a filter into the calling thread and its future children, for good.
///
/// Needs `CAP_SYS_ADMIN` or no_new_privs. Allocates nothing.
///
/// # Errors
///
/// Returns `InvalidInput` for bytes that are no filter, or the error of seccomp(2).
pub fn load(program: &[u8]) -> io::Result<()> {
    let length = u16::try_from(program.len() / INSTRUCTION_LEN).unwrap_or(0);
    if length == 0 || !program.len().is_multiple_of(INSTRUCTION_LEN) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel copies `length` instructions from `program`, which holds as many, and
    // writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0 as libc::c_ulong,
            &raw const filter,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The architectures whose calls a program on this host can make.
fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "x86_64") {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86]
    } else if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64]
    } else {
        vec![Arch::ScmpArchNative]
    }
}

/// A rule: what is done for some calls when all of `arguments` hold.
fn rule<'a>(
    names: impl IntoIterator<Item = &'a str>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    arguments: Vec<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect());
    rule.set_action(action);
    rule.set_errno_ret(errno);
    rule.set_args((!arguments.is_empty()).then_some(arguments));
    rule
}

/// A condition on one argument. `masked` is the value for `ScmpCmpMaskedEq`, where `value` is the mask.
fn argument(
    index: usize,
    op: LinuxSeccompOperator,
    value: u64,
    masked: Option<u64>,
) -> LinuxSeccompArg {
    let mut builder = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value);
    if let Some(masked) = masked {
        builder = builder.value_two(masked);
    }
    builder
        .build()
        .expect("the builder has a default for every field")
}

#[cfg(test)]
mod tests;
