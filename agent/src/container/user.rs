//! Who a container's process is: Docker's `user` grammar against the image's passwd and group files.
use std::path::{Path, PathBuf};

/// The image's account files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// Contents of `/etc/passwd`; empty when the image has none.
    pub passwd: Vec<u8>,
    /// Contents of `/etc/group`; empty when the image has none.
    pub group: Vec<u8>,
}

/// Who a process is, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, ascending, each once, without `gid`.
    pub groups: Vec<u32>,
    /// Home directory; `/` when the account files don't say.
    pub home: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("user `{user}` is not in the image's /etc/passwd")]
    UnknownUser { user: String },
}

impl UserFiles {
    /// Reads both files as the container would see them beneath overlay `layers`, uppermost first.
    pub fn from_layers(_layers: &[PathBuf]) -> Self {
        todo!()
    }
}

/// Looks `user` (`name`, `uid`, `name:group`, `uid:gid`; empty is root) and `group_add` up in the image's files.
pub fn resolve(
    _user: &str,
    _group_add: &[String],
    _files: &UserFiles,
) -> Result<ResolvedUser, UserError> {
    todo!()
}

/// Reads a regular file as an overlay of `layers` (uppermost first) would show it, without a mount.
pub fn read_from_layers(_layers: &[PathBuf], _path: &Path) -> Option<Vec<u8>> {
    todo!()
}
