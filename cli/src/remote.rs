//! Compose files from elsewhere, fetched into the user's cache.
//!
//!     https://….git#REF:DIR ─► git ─────┐
//!                                       ├─► ~/.cache/wharfie/{git/COMMIT,oci/DIGEST}/…
//!     oci://HOST/NAME:TAG ──► registry ─┘
//!
//! A directory there is complete or absent, and stands for one content: what has been fetched once is not
//! fetched again, but what a branch or a tag means is asked each time. `COMPOSE_EXPERIMENTAL_GIT_REMOTE=0`
//! and `COMPOSE_EXPERIMENTAL_OCI_REMOTE=0` forbid it.

mod artifact;
mod git;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use scheduler::compose::{FetchError, Fetched, Remote};

const GIT_SWITCH: &str = "COMPOSE_EXPERIMENTAL_GIT_REMOTE";
const OCI_SWITCH: &str = "COMPOSE_EXPERIMENTAL_OCI_REMOTE";

/// Fetches what is not in the cache yet.
pub(crate) fn fetch(
    remote: &Remote,
    environment: &BTreeMap<String, String>,
) -> Result<Fetched, FetchError> {
    let switch = match remote {
        Remote::Git(_) => GIT_SWITCH,
        Remote::Artifact(_) => OCI_SWITCH,
    };
    check_switch(switch, environment.get(switch).map(String::as_str))?;
    let Some(cache) = cache(environment) else {
        return Err(error("there is nowhere to keep it").with("set HOME or XDG_CACHE_HOME"));
    };
    match remote {
        Remote::Git(repository) => wait(git::fetch(repository, &cache.join("git"))),
        Remote::Artifact(reference) => wait(artifact::fetch(reference, &cache.join("oci"))),
    }
}

/// Whether a file may be read: one that was fetched must not lead elsewhere by a symbolic link.
pub(crate) fn is_readable(path: &Path, environment: &BTreeMap<String, String>) -> bool {
    let Some(cache) = cache(environment) else {
        return true;
    };
    let Ok(inside) = path.strip_prefix(&cache) else {
        return true;
    };
    // Of what kind, and which one.
    let root: PathBuf = cache.join(inside.components().take(2).collect::<PathBuf>());
    match (fs::canonicalize(path), fs::canonicalize(root)) {
        (Ok(real), Ok(root)) => real.starts_with(root),
        // It is not there, and cannot be read anyway.
        _ => true,
    }
}

/// Source: XDG Base Directory Specification.
fn cache(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = Path::new(environment.get(name)?);
        path.is_absolute().then(|| path.to_owned())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("wharfie"))
}

/// Switched on when nothing is said; the words are those of Docker Compose.
fn check_switch(name: &str, value: Option<&str>) -> Result<(), FetchError> {
    match value.unwrap_or_default() {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => {
            Err(error(format!("it is forbidden by {name}")))
        }
        other => Err(error(format!(
            "{name} is `{other}`, which is neither true nor false"
        ))),
    }
}

/// A directory that is filled under another name first, so that it is never there in part.
struct Filling {
    unfinished: PathBuf,
    target: PathBuf,
}

impl Filling {
    fn new(target: PathBuf) -> io::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        // Two commands at once do not disturb each other.
        name.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(name);
        // What is in it may be as secret as the repository.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&unfinished)?;
        Ok(Self { unfinished, target })
    }

    fn path(&self) -> &Path {
        &self.unfinished
    }

    fn finish(self) -> io::Result<()> {
        match fs::rename(&self.unfinished, &self.target) {
            // Another command was faster, with the same content.
            Err(_) if self.target.is_dir() => Ok(()),
            done => done,
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        // After a success it is not there any more.
        let _ = fs::remove_dir_all(&self.unfinished);
    }
}

/// Loading is no future, and may happen within one: what waits for others has a thread of its own.
fn wait<T: Send>(
    work: impl Future<Output = Result<T, FetchError>> + Send,
) -> Result<T, FetchError> {
    let run = || -> Result<T, FetchError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| error(cause.to_string()))?;
        runtime.block_on(work)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(run);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn error(message: impl Into<String>) -> FetchError {
    FetchError {
        message: message.into(),
        hint: None,
    }
}

/// An error of the disk.
fn broken(what: &str, path: &Path, cause: &io::Error) -> FetchError {
    error(format!("cannot {what} {}: {cause}", path.display()))
}

trait WithHint {
    fn with(self, hint: &str) -> Self;
}

impl WithHint for FetchError {
    fn with(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

#[cfg(test)]
mod tests;
