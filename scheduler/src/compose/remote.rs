//! Names of Compose files that are not on this host, in `-f`, `include` and `extends`.
//!
//! | text | names |
//! |---|---|
//! | `oci://HOST/NAME:TAG` | an artifact of a registry |
//! | `https://….git`, `ssh://…`, `git://…`, `git@HOST:PATH`, `github.com/NAME` | a Git repository |
//!
//! `#REF:PATH` after a repository names a branch, tag or commit, and a file or directory in it; both
//! may be left out. Nothing is fetched here: see [`Files::fetch`](super::Files::fetch).
//!
//! Source: Docker Compose 2.40, `pkg/remote`; BuildKit, `util/gitutil`.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Something to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// The reference of an artifact, as images have it.
    Artifact(String),
    Git(Repository),
}

/// A state of a Git repository, and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// As `git` takes it.
    pub url: String,
    /// A branch, a tag or a commit; the default branch when there is none.
    pub revision: Option<String>,
    /// A file or a directory, relative and inside; the top when it is empty.
    pub place: PathBuf,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub file: PathBuf,
    /// The directory of all that came with it: what the file refers to is read in there only.
    pub root: PathBuf,
}

/// Why a text names nothing that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoteError {
    #[error("`{text}` is neither a Git repository nor an artifact of a registry")]
    Kind { text: String },
    #[error("`{revision}` is not the name of a branch, a tag or a commit")]
    Revision { revision: String },
    #[error("`{place}` leads out of the repository")]
    Place { place: String },
}

/// Why something could not be fetched, in words, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct FetchError {
    pub message: String,
    pub hint: Option<String>,
}

impl From<RemoteError> for FetchError {
    fn from(error: RemoteError) -> Self {
        let hint = match error {
            RemoteError::Kind { .. } => Some(
                "write `https://….git`, `git@HOST:PATH` or `oci://HOST/NAME:TAG`, or the path of a file"
                    .to_owned(),
            ),
            RemoteError::Revision { .. } | RemoteError::Place { .. } => None,
        };
        Self {
            message: error.to_string(),
            hint,
        }
    }
}

impl Remote {
    /// Reads a name; `None` when it is that of a local file.
    ///
    /// # Errors
    ///
    /// Returns [`RemoteError`] for a URL of any other kind, and for a revision or a place that `git` must
    /// not be given.
    pub fn parse(text: &str) -> Result<Option<Self>, RemoteError> {
        if let Some(reference) = text.strip_prefix("oci://") {
            return Ok(Some(Self::Artifact(reference.to_owned())));
        }
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let url = match (url.split_once("://"), is_scp(url)) {
            (Some((scheme, rest)), _) => {
                let is_git = match scheme {
                    "git" | "ssh" => true,
                    // A page of the web is no repository.
                    "http" | "https" => rest
                        .split('?')
                        .next()
                        .is_some_and(|it| it.ends_with(".git")),
                    _ => false,
                };
                if !is_git {
                    let text = text.to_owned();
                    return Err(RemoteError::Kind { text });
                }
                url.to_owned()
            }
            (None, true) => url.to_owned(),
            (None, false) if url.starts_with("github.com/") => format!("https://{url}"),
            (None, false) => return Ok(None),
        };
        let (revision, place) = fragment.split_once(':').unwrap_or((fragment, ""));
        Ok(Some(Self::Git(Repository {
            url,
            revision: parse_revision(revision)?,
            place: parse_place(place)?,
        })))
    }
}

/// `USER@HOST:PATH`, as ssh has it.
fn is_scp(url: &str) -> bool {
    let Some((user, rest)) = url.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let is_word = |text: &str, more: &str| {
        let good = |it: char| it.is_ascii_alphanumeric() || more.contains(it);
        !text.is_empty() && text.chars().all(good) && !text.starts_with('-')
    };
    is_word(user, "-_") && is_word(host, "-.") && !path.is_empty()
}

/// A revision never looks like an option, and has nothing in it that `git` gives a meaning.
fn parse_revision(text: &str) -> Result<Option<String>, RemoteError> {
    let good = |it: char| it.is_ascii_alphanumeric() || "._-/+@".contains(it);
    let is_name = !text.starts_with('-') && !text.contains("..") && text.chars().all(good);
    match (text.is_empty(), is_name) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(text.to_owned())),
        (false, false) => Err(RemoteError::Revision {
            revision: text.to_owned(),
        }),
    }
}

fn parse_place(text: &str) -> Result<PathBuf, RemoteError> {
    let inside = |it: &Component<'_>| matches!(it, Component::Normal(_) | Component::CurDir);
    let relative = Path::new(text.trim_start_matches('/'));
    if !relative.components().all(|it| inside(&it)) {
        let place = text.to_owned();
        return Err(RemoteError::Place { place });
    }
    Ok(relative.to_owned())
}

#[cfg(test)]
mod tests;
