//! The two ends of a copy, and what is known of the one in the container.
//!
//! Source: docker/cli `cli/command/container/cp.go`, moby `pkg/archive/copy.go`.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde::Deserialize;
use thiserror::Error;

use crate::connect::{ApiError, Client, url};
use crate::docker::Container;
use crate::error::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `web:/srv`
    Container { service: String, path: String },
    /// A path of this host, as it was written: a `/.` at its end says something.
    Here(String),
    /// `-`
    Stream,
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text == "-" {
            return Ok(Self::Stream);
        }
        // A path with a colon is written with a beginning that no name of a service has.
        Ok(match text.split_once(':') {
            Some((service, path)) if !text.starts_with(['/', '.']) && !service.is_empty() => {
                Self::Container {
                    service: service.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Self::Here(text.to_owned()),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { service, path } => write!(f, "{service}:{path}"),
            Self::Here(path) => f.write_str(path),
            Self::Stream => f.write_str("-"),
        }
    }
}

/// How many links are followed until it is taken for a circle, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Bits of Go's `os.FileMode`.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;

/// What is at a path in a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Stat {
    mode: u32,
    pub(super) link_target: String,
    #[serde(skip)]
    pub(super) path: String,
}

impl Stat {
    /// `None` when nothing is there.
    pub(super) async fn of(
        client: &Client,
        container: &Container,
        path: &str,
    ) -> Result<Option<Self>, Failure> {
        let archive = format!("/containers/{}/archive", container.id);
        let answer = client
            .fetch(Method::HEAD, &url(&archive, &[("path", path)]))
            .await;
        let answer = match answer {
            Err(error) if error.status() == Some(404) => return Ok(None),
            other => other?,
        };
        let header = answer.headers().get("x-docker-container-path-stat");
        let json = header.and_then(|it| STANDARD.decode(it).ok());
        let stat = serde_json::from_slice(&json.unwrap_or_default());
        let stat: Self = stat.map_err(|source| ApiError::Answer {
            path: archive,
            source,
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            ..stat
        }))
    }

    /// What a path leads to, links followed.
    pub(super) async fn follow(
        client: &Client,
        container: &Container,
        path: &str,
    ) -> Result<Option<Self>, Failure> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match Self::of(client, container, &path).await? {
                Some(stat) if stat.is_link() => path = stat.link_target,
                other => return Ok(other),
            }
        }
        Err(Failure::new(format!(
            "{path} is a link that leads in a circle"
        )))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode & GO_DIRECTORY != 0
    }

    pub(super) fn is_link(&self) -> bool {
        self.mode & GO_LINK != 0
    }
}

/// Why a copy has no place to go to.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum LandingError {
    #[error("{0} has no name that it could be copied under")]
    Nameless(String),
    #[error("{path} is a file, and {source} is a directory", source = .source_path)]
    DirectoryOverFile { path: String, source_path: String },
    #[error("{0} is not a directory")]
    NoDirectory(String),
}

/// Says that the content of a directory is meant, not the directory.
pub(super) fn means_content(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// In which directory of the container an archive is unpacked, and under which name its root lies there.
pub(super) fn landing(
    source: &str,
    path: &str,
    there: Option<&Stat>,
) -> Result<(String, PathBuf), LandingError> {
    let is_directory = Path::new(source).is_dir();
    match there {
        Some(stat) if stat.is_directory() && means_content(source) => {
            Ok((stat.path.clone(), PathBuf::from(".")))
        }
        Some(stat) if stat.is_directory() => {
            let absolute = std::path::absolute(source).ok();
            let name = absolute.as_deref().and_then(Path::file_name);
            let name = name.ok_or_else(|| LandingError::Nameless(source.to_owned()))?;
            Ok((stat.path.clone(), PathBuf::from(name)))
        }
        Some(_) if is_directory => Err(LandingError::DirectoryOverFile {
            path: path.to_owned(),
            source_path: source.to_owned(),
        }),
        None if path.ends_with('/') && !is_directory => {
            Err(LandingError::NoDirectory(path.to_owned()))
        }
        other => {
            let path = other.map_or(path, |stat| stat.path.as_str());
            let nameless = || LandingError::Nameless(path.to_owned());
            let name = Path::new(path).file_name().ok_or_else(nameless)?;
            let parent = Path::new(path).parent().unwrap_or(Path::new(""));
            Ok((
                format!("/{}", parent.display().to_string().trim_start_matches('/')),
                PathBuf::from(name),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_place(text: &str, expected: &str) {
        let place = match text.parse::<Place>().unwrap() {
            Place::Container { service, path } => format!("{path} in {service}"),
            Place::Here(path) => format!("{path} here"),
            Place::Stream => "stream".to_owned(),
        };
        assert_eq!(place, expected);
    }

    #[test]
    fn a_name_before_a_colon_is_a_service() {
        check_place("web:/srv/a:b", "/srv/a:b in web");
        check_place("./web:/srv", "./web:/srv here");
        check_place("/a:b", "/a:b here");
        check_place("file", "file here");
        check_place("-", "stream");
    }

    /// `there` is `d` for a directory, `f` for a file, `-` for nothing.
    #[track_caller]
    fn check_landing(source: &str, path: &str, there: &str, expected: &str) {
        let mode = if there == "d" { GO_DIRECTORY } else { 0 };
        let stat = Stat {
            mode,
            path: path.to_owned(),
            ..Stat::default()
        };
        let stat = (there != "-").then_some(stat);
        let landed = match landing(source, path, stat.as_ref()) {
            Ok((directory, name)) => format!("{} in {directory}", name.display()),
            Err(error) => error.to_string(),
        };
        assert_eq!(landed, expected);
    }

    #[test]
    fn a_copy_lands_where_cp_would_put_it() {
        check_landing("/etc/hostname", "/srv", "d", "hostname in /srv");
        check_landing("/etc/hostname", "/srv/x", "-", "x in /srv");
        check_landing("/etc/hostname", "/srv/x", "f", "x in /srv");
        check_landing("/etc/hostname", "x", "-", "x in /");
        check_landing("/etc/hostname", "/srv/", "-", "/srv/ is not a directory");
        check_landing("/etc", "/srv", "d", "etc in /srv");
        check_landing("/etc/.", "/srv", "d", ". in /srv");
        check_landing("/etc/.", "/srv/new", "-", "new in /srv");
        check_landing(
            "/etc",
            "/srv/x",
            "f",
            "/srv/x is a file, and /etc is a directory",
        );
        check_landing("/etc", "/", "d", "etc in /");
    }
}
