//! A Compose project that was published to a registry (`docker compose publish`).
//!
//! Its files become one `compose.yaml` of several documents; those that others extend, and files of
//! variables, stay files beside it.
//!
//! Source: Docker Compose 2.40, `pkg/remote/oci.go` and `internal/oci`.

use std::fs;
use std::path::Path;

use agent::image::artifact::{self, Artifact, Part};
use agent::image::{Credentials, Reference, Trust};
use scheduler::compose::{FetchError, Fetched};

use super::{Filling, broken, error};

const PROJECT: &str = "application/vnd.docker.compose.project";
/// The config of projects from before registries knew types of artifacts.
const EMPTY_CONFIG: &str = "application/vnd.docker.compose.config.empty.v1+json";
const COMPOSE_FILE: &str = "application/vnd.docker.compose.file+yaml";
const ENV_FILE: &str = "application/vnd.docker.compose.envfile";

/// The name of a file.
const FILE_KEY: &str = "com.docker.compose.file";
/// It is there for others to extend.
const EXTENDS_KEY: &str = "com.docker.compose.extends";
const ENV_FILE_KEY: &str = "com.docker.compose.envfile";

const NAME: &str = "compose.yaml";

pub(super) async fn fetch(text: &str, cache: &Path) -> Result<Fetched, FetchError> {
    let reference: Reference = text
        .parse()
        .map_err(|cause: agent::image::ReferenceError| error(cause.to_string()))?;
    let credentials = Credentials::from_docker_config(reference.registry())
        .map_err(|cause| error(cause.to_string()))?;
    let wanted = [PROJECT, EMPTY_CONFIG];
    let trust = Trust::of_system([]);
    let found = artifact::fetch(&reference, credentials, &trust, &wanted)
        .await
        .map_err(|cause| error(cause.to_string()))?;
    if !wanted.contains(&found.kind.as_str()) {
        let kind = &found.kind;
        return Err(error(format!("it is no Compose project, but {kind}")));
    }
    let root = cache.join(found.digest.hex());
    if !root.is_dir() {
        unpack(&found, &root)?;
    }
    Ok(Fetched {
        file: root.join(NAME),
        root,
    })
}

fn unpack(artifact: &Artifact, root: &Path) -> Result<(), FetchError> {
    let filling = Filling::new(root.to_owned()).map_err(|cause| broken("make", root, &cause))?;
    let write = |name: &str, content: &[u8]| {
        let path = filling.path().join(name);
        fs::write(&path, content).map_err(|cause| broken("write", &path, &cause))
    };
    for part in &artifact.parts {
        match part.media_type.as_str() {
            COMPOSE_FILE if part.annotations.contains_key(EXTENDS_KEY) => {
                write(name_of(part, FILE_KEY)?, &part.content)?;
            }
            ENV_FILE => write(name_of(part, ENV_FILE_KEY)?, &part.content)?,
            // The main files, and what nobody knows.
            _ => {}
        }
    }
    write(NAME, &documents(artifact))?;
    filling
        .finish()
        .map_err(|cause| broken("keep", root, &cause))
}

/// The main files, in their order: later ones go over earlier ones.
fn documents(artifact: &Artifact) -> Vec<u8> {
    let is_main =
        |it: &&Part| it.media_type == COMPOSE_FILE && !it.annotations.contains_key(EXTENDS_KEY);
    let texts: Vec<&[u8]> = artifact
        .parts
        .iter()
        .filter(is_main)
        .map(|it| it.content.as_slice())
        .collect();
    texts.join(b"\n---\n".as_slice())
}

/// A name in the directory itself, whoever chose it.
fn name_of<'a>(part: &'a Part, key: &str) -> Result<&'a str, FetchError> {
    let name = part.annotations.get(key).map_or("", String::as_str);
    let is_plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    match is_plain && name != NAME {
        true => Ok(name),
        false => Err(error(format!("a part of it cannot be called `{name}`"))),
    }
}
