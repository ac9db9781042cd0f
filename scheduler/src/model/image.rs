//! Which bytes an image's name meant when a service was deployed, and where they come from.

use serde::{Deserialize, Serialize};

/// The image that all containers of one version of a service run, wherever they are and whatever
/// becomes of the name meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePin {
    /// The image's id, `sha256:…`: the digest of its configuration, which names the digests of its
    /// layers. The same on every host of the platform for which it was looked up.
    pub id: String,
    /// `sha256:…`, by which a registry gives it out, for every platform. Absent when it came from
    /// no registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The registry that an image comes from: the first part of its name where that cannot be part of a
/// path, as it has a dot, a port or upper case, or is `localhost`; or else Docker Hub, `docker.io`.
pub fn registry_of(image: &str) -> &str {
    const HUB: &str = "docker.io";
    let is_registry = |first: &str| {
        first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
    };
    match image.split_once('/') {
        Some(("index.docker.io", _)) => HUB,
        Some((first, _)) if is_registry(first) => first,
        Some(_) | None => HUB,
    }
}

impl ImagePin {
    /// Whether both mean the same image, perhaps for two platforms.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id || self.digest.is_some() && self.digest == other.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_is_a_registry_when_it_cannot_be_a_path() {
        let check = |image: &str, expected: &str| assert_eq!(registry_of(image), expected);
        check("nginx:1.27", "docker.io");
        check("library/nginx", "docker.io");
        check("index.docker.io/library/nginx", "docker.io");
        check("ghcr.io/a/b@sha256:00", "ghcr.io");
        check("localhost/a", "localhost");
        check("10.0.0.1:5000/a", "10.0.0.1:5000");
    }
}
