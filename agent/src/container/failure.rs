//! Why a container's process could not be set up or started: the step, the path, the kernel's answer.
//!
//! Made in the child, sent over a pipe, and turned there into what Docker would say and exit with.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::ContainerError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) step: Step,
    /// What it was done to.
    pub(super) path: String,
    /// 0 when it was not the kernel that refused.
    pub(super) errno: i32,
    /// Said instead of the errno's text.
    pub(super) reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// In words that follow "cannot", e.g. `mount`.
    Setup(String),
    WorkingDirectory,
    /// The program was not found, or could not be executed.
    Program,
}

impl Failure {
    pub(super) fn refused(action: &str, path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self {
            step: Step::Setup(action.to_owned()),
            path: path.as_ref().display().to_string(),
            errno: 0,
            reason: Some(reason.into()),
        }
    }

    pub(super) fn program(name: &str, errno: Errno, reason: Option<String>) -> Self {
        Self {
            step: Step::Program,
            path: name.to_owned(),
            errno: errno as i32,
            reason,
        }
    }

    /// Docker's exit code: 127 not found, 126 cannot be executed, 125 for everything of ours.
    pub(super) fn exit_code(&self) -> i32 {
        let errno = Errno::from_raw(self.errno);
        match (&self.step, errno) {
            (Step::Program, Errno::ENOENT) => 127,
            (Step::Program, _) | (Step::WorkingDirectory, Errno::ENOTDIR | Errno::EACCES) => 126,
            (Step::WorkingDirectory, Errno::ENOENT) => 127,
            (Step::WorkingDirectory | Step::Setup(_), _) => 125,
        }
    }

    /// Docker's words, where it has some.
    pub(super) fn message(&self) -> String {
        let reason = self
            .reason
            .clone()
            .unwrap_or_else(|| describe(Errno::from_raw(self.errno)));
        match &self.step {
            Step::Setup(action) if self.path.is_empty() => format!("cannot {action}: {reason}"),
            Step::Setup(action) => format!("cannot {action} {}: {reason}", self.path),
            Step::WorkingDirectory => format!(
                "chdir to cwd ({:?}) set in config.json failed: {reason}",
                self.path
            ),
            Step::Program => format!("exec: {:?}: {reason}", self.path),
        }
    }
}

impl From<Failure> for ContainerError {
    fn from(failure: Failure) -> Self {
        Self::Start {
            code: failure.exit_code(),
            message: failure.message(),
        }
    }
}

/// The C library's text in lower case, as Go prints it.
fn describe(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

/// Adds to a kernel error what was being done, and to what.
pub(super) trait During<T> {
    fn during(self, action: &str, path: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T> During<T> for nix::Result<T> {
    fn during(self, action: &str, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step: Step::Setup(action.to_owned()),
            path: path.as_ref().display().to_string(),
            errno: errno as i32,
            reason: None,
        })
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &str, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step: Step::Setup(action.to_owned()),
            path: path.as_ref().display().to_string(),
            errno: error.raw_os_error().unwrap_or(0),
            reason: error.raw_os_error().is_none().then(|| error.to_string()),
        })
    }
}
