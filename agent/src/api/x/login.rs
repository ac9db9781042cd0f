//! The user's logins to registries, as they come with a request.
//!
//! On their way they are in the cluster's own state: encrypted on every disk, sent over connections
//! between nodes only, and given to a node only while it has something to pull with them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use scheduler::model::cluster::Secret;
use serde_json::Value;

use crate::api::error::EngineError;
use crate::image::Credentials;

/// Reads Docker's `X-Registry-Config`: by registry, as images name it, what `X-Registry-Auth` would
/// say for it.
///
/// # Errors
///
/// [`EngineError::BadRequest`] for what is not base64 of an object from registry to credentials.
pub(super) fn read(header: Option<&str>) -> Result<BTreeMap<String, Secret>, EngineError> {
    let Some(text) = header.filter(|text| !text.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let invalid = || {
        EngineError::BadRequest(
            "the registry credentials of the request are not base64-encoded JSON".into(),
        )
    };
    let json = URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text));
    let json = json.map_err(|_| invalid())?;
    let logins: BTreeMap<String, Value> = serde_json::from_slice(&json).map_err(|_| invalid())?;
    let login = |(registry, login): (String, Value)| {
        let header = URL_SAFE.encode(login.to_string());
        Credentials::from_header(&header).map_err(|_| invalid())?;
        Ok((registry_name(&registry).to_owned(), Secret::new(header)))
    };
    logins.into_iter().map(login).collect()
}

/// What a login says, which [`read`] has looked at before.
pub(super) fn credentials(login: &Secret) -> Option<Credentials> {
    Credentials::from_header(login.reveal()).ok()
}

/// Docker Hub's key is an address from before registries had names.
fn registry_name(key: &str) -> &str {
    let bare = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_as_images_name_them() {
        assert_eq!(registry_name("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(registry_name("https://ghcr.io"), "ghcr.io");
        assert_eq!(registry_name("127.0.0.1:5000"), "127.0.0.1:5000");
    }

    #[test]
    fn what_is_no_login_is_refused_and_what_is_one_is_not_shown() {
        let header = |json: &str| URL_SAFE.encode(json);
        assert!(read(None).unwrap().is_empty());
        assert!(read(Some("")).unwrap().is_empty());
        for wrong in ["%", "[1]", r#"{"a": [1]}"#] {
            assert!(read(Some(&header(wrong))).is_err(), "{wrong}");
        }
        let one = header(r#"{"a:1": {"username": "anna", "password": "hunter2"}}"#);
        let logins = read(Some(&one)).unwrap();
        assert!(!format!("{logins:?}").contains("hunter2"));
        let expected = Credentials::Password {
            username: "anna".into(),
            password: "hunter2".into(),
        };
        assert_eq!(credentials(&logins["a:1"]), Some(expected));
    }
}
