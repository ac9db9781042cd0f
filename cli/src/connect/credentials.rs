//! The user's logins, from Docker's `config.json`, in the form that the node's API takes.
//!
//! The node runs as root and has no `~/.docker` of the user: whoever asks for an image brings the
//! login along, for the registries of these images only.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use docker_credential::DockerCredential;
use serde_json::{Value, json};

/// Docker Hub's key in `config.json`.
const HUB: &str = "https://index.docker.io/v1/";

/// `X-Registry-Config`: registry to login, base64. `None` when there is no login for any of them.
pub(crate) fn for_images<'a>(images: impl Iterator<Item = &'a str>) -> Option<String> {
    let registries: BTreeSet<&str> = images.map(registry).collect();
    let logins: BTreeMap<&str, Value> = registries
        .into_iter()
        .filter_map(|it| Some((it, login(it)?)))
        .collect();
    (!logins.is_empty()).then(|| encode(&json!(logins)))
}

/// `X-Registry-Auth` for one image: `{}` when there is no login.
pub(crate) fn for_image(image: &str) -> String {
    encode(&login(registry(image)).unwrap_or_else(|| json!({})))
}

/// A file without a login, or none at all, is an anonymous user; so is a helper that fails, and the
/// registry then says what it thinks of that.
fn login(registry: &str) -> Option<Value> {
    match docker_credential::get_credential(registry).ok()? {
        DockerCredential::IdentityToken(token) => {
            Some(json!({"identitytoken": token, "serveraddress": registry}))
        }
        DockerCredential::UsernamePassword(username, password) => {
            Some(json!({"username": username, "password": password, "serveraddress": registry}))
        }
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE.encode(value.to_string())
}

/// The registry of an image: its first part when that looks like a host, or else Docker Hub.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_is_a_registry_when_it_looks_like_a_host() {
        assert_eq!(registry("nginx:1.27"), HUB);
        assert_eq!(registry("library/nginx"), HUB);
        assert_eq!(registry("ghcr.io/a/b@sha256:00"), "ghcr.io");
        assert_eq!(registry("localhost/a"), "localhost");
        assert_eq!(registry("10.0.0.1:5000/a"), "10.0.0.1:5000");
    }
}
