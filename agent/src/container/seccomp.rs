//! Which system calls a container may make: the default profile, custom ones, and the filter they become.
use std::io;
use std::sync::Arc;

use oci_spec::runtime::LinuxSeccomp;
use scheduler::model::container::SeccompProfile;

use super::capability::CapabilitySet;

/// A filter for the kernel: `struct sock_filter`s in native byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Arc<[u8]>);

impl Program {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    #[error("seccomp profile is not valid JSON: {problem}")]
    Json { problem: String },
}

/// The profile in OCI form, for what a process with `capabilities` may do; `None` when unconfined.
///
/// [`super::spec::build`] puts it into `linux.seccomp`.
pub fn for_container(
    _profile: &SeccompProfile,
    _capabilities: CapabilitySet,
) -> Result<Option<LinuxSeccomp>, SeccompError> {
    todo!()
}

/// Makes the filter of an OCI profile. Cheap (well under a millisecond), and cached.
pub fn compile(_profile: &LinuxSeccomp) -> Result<Program, SeccompError> {
    todo!()
}

/// Loads a filter into the calling thread, for good; needs `CAP_SYS_ADMIN` or no_new_privs.
/// Allocates nothing.
pub fn load(_program: &[u8]) -> io::Result<()> {
    todo!()
}
