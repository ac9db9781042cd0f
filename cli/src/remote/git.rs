//! A state of a Git repository, by the `git` program: it knows the user's keys, proxies and helpers.
//!
//!     ls-remote URL REF ─► commit ─► in the cache? ─no─► init, fetch --depth 1, checkout
//!
//! `git` asks nobody, and uses no transport that could run a program named in the URL.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use scheduler::compose::{FetchError, Fetched, Repository, discover};
use tokio::process::Command;

use super::{Filling, WithHint, broken, error};

/// A large repository over a slow line; a server that says nothing is noticed sooner where git can.
const LIMIT: Duration = Duration::from_secs(600);

/// `git ls-remote --exit-code` ends with it when nothing has the name (git-ls-remote(1)).
const NO_SUCH_REF: i32 = 2;

pub(super) async fn fetch(repository: &Repository, cache: &Path) -> Result<Fetched, FetchError> {
    let commit = match &repository.revision {
        Some(text) if is_commit(text) => text.clone(),
        other => resolve(&repository.url, other.as_deref().unwrap_or("HEAD")).await?,
    };
    let root = cache.join(&commit);
    if !root.is_dir() {
        check_out(&repository.url, &commit, &root).await?;
    }
    let file = find(&root, &repository.place)?;
    Ok(Fetched { file, root })
}

/// What a branch or a tag means today.
async fn resolve(url: &str, revision: &str) -> Result<String, FetchError> {
    let output = git(None, &["ls-remote", "--exit-code", "--", url, revision]).await?;
    if output.status.code() == Some(NO_SUCH_REF) {
        return Err(error(format!(
            "the repository has no branch, tag or commit `{revision}`"
        )));
    }
    let output = success(output)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    choose(&text, revision)
        .ok_or_else(|| error(format!("git says nothing useful of `{revision}`: {text}")))
}

/// The commit of a name among the lines `COMMIT<tab>REF`. `v1` stands for everything that ends with it, so
/// that the branch and the tag of just this name go first.
fn choose(lines: &str, revision: &str) -> Option<String> {
    let found: Vec<(&str, &str)> = lines
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(commit, _)| is_commit(commit))
        .collect();
    let exact = [
        revision.to_owned(),
        format!("refs/heads/{revision}"),
        // What a tag with a message of its own is about.
        format!("refs/tags/{revision}^{{}}"),
        format!("refs/tags/{revision}"),
    ];
    let named = |name: &String| found.iter().find(|(_, it)| it == name);
    let (commit, _) = exact.iter().find_map(named).or(found.first())?;
    Some((*commit).to_owned())
}

fn is_commit(text: &str) -> bool {
    let is_hex = |it: u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 40 && text.bytes().all(is_hex)
}

async fn check_out(url: &str, commit: &str, root: &Path) -> Result<(), FetchError> {
    let filling = Filling::new(root.to_owned()).map_err(|cause| broken("make", root, &cause))?;
    let here = Some(filling.path());
    success(git(here, &["init", "--quiet", "."]).await?)?;
    success(git(here, &["remote", "add", "--", "origin", url]).await?)?;
    success(git(here, &["fetch", "--quiet", "--depth=1", "origin", commit]).await?)?;
    success(git(here, &["checkout", "--quiet", "--detach", commit]).await?)?;
    filling
        .finish()
        .map_err(|cause| broken("keep", root, &cause))
}

async fn git(directory: Option<&Path>, arguments: &[&str]) -> Result<Output, FetchError> {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
        .env("GIT_HTTP_LOW_SPEED_TIME", "60")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let unset = |name: &str| std::env::var_os(name).is_none_or(|it| it.is_empty());
    if unset("GIT_TERMINAL_PROMPT") {
        command.env("GIT_TERMINAL_PROMPT", "0");
    }
    if unset("GIT_SSH") && unset("GIT_SSH_COMMAND") {
        command.env(
            "GIT_SSH_COMMAND",
            "ssh -o ControlMaster=no -o BatchMode=yes",
        );
    }
    // A repository that this command may be called in is not meant.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(cause)) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(error("`git` is not installed")
                .with("install git: repositories are fetched with it"))
        }
        Ok(Err(cause)) => Err(error(format!("`git` cannot be run: {cause}"))),
        Err(_) => Err(error(format!(
            "git {} has no end after {} s",
            arguments.first().unwrap_or(&""),
            LIMIT.as_secs()
        ))),
    }
}

fn success(output: Output) -> Result<Output, FetchError> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    Err(match said.is_empty() {
        true => error(format!("git ends with {}", output.status)),
        false => error(format!("git says: {said}")),
    })
}

/// The file at a place, or the Compose file of a directory.
fn find(root: &Path, place: &Path) -> Result<PathBuf, FetchError> {
    let path = root.join(place);
    let missing = || error(format!("there is no {} in the repository", place.display()));
    let real = path.canonicalize().map_err(|_| missing())?;
    let top = root
        .canonicalize()
        .map_err(|cause| broken("read", root, &cause))?;
    if !real.starts_with(top) {
        return Err(missing());
    }
    if !path.is_dir() {
        return Ok(path);
    }
    let names = discover::FILE_NAMES.iter().map(|name| path.join(name));
    names.into_iter().find(|it| it.is_file()).ok_or_else(|| {
        let place = match place.as_os_str().is_empty() {
            true => Path::new("the top of the repository"),
            false => place,
        };
        error(format!("there is no Compose file in {}", place.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_first_what_is_called_just_so() {
        let [a, b, c] = ["a", "b", "c"].map(|it| it.repeat(40));
        let lines = format!("{a}\trefs/heads/x/v1\n{b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\n");
        assert_eq!(choose(&lines, "v1"), Some(c));
        assert_eq!(choose(&lines, "x/v1"), Some(a.clone()));
        assert_eq!(choose(&lines, "other"), Some(a));
        assert_eq!(choose(&format!("{b}\tHEAD\n"), "HEAD"), Some(b));
        assert_eq!(choose("warning: something\n", "v1"), None);
    }
}
