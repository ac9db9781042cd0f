//! Who we are to a registry. Secrets are never shown: not by `Debug`, not in errors.

use std::path::PathBuf;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use thiserror::Error;

/// What a registry, or its token server, is shown. Sent to these only, and never after a redirect.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Password {
        username: String,
        password: String,
    },
    /// A refresh token, from `docker login` through a browser.
    IdentityToken(String),
    /// A token that the registry itself takes.
    RegistryToken(String),
}

/// Why no credentials could be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    #[error("the registry credentials of the request are not base64-encoded JSON")]
    Header,
    #[error("cannot read Docker's config.json")]
    Config,
    #[error("the credentials of `{registry}` in Docker's config.json cannot be decoded")]
    Decode { registry: String },
    #[error("credential helper `docker-credential-{helper}` failed for `{registry}`")]
    Helper { helper: String, registry: String },
    #[error("the credential helper of `{registry}` cannot be run, or answered nonsense")]
    HelperAnswer { registry: String },
}

impl Credentials {
    /// Looks a registry up in the config.json of the user who runs this process.
    ///
    /// May run a `docker-credential-…` program of the host. Blocks.
    ///
    /// Source: docs.docker.com, "docker login", "Credential stores".
    pub fn from_docker_config(registry: &str) -> Result<Self, CredentialsError> {
        // Docker Hub's key in the file is a URL from before there were names.
        let key = match registry {
            "docker.io" => "https://index.docker.io/v1/",
            other => other,
        };
        let of = |registry: &str| registry.to_owned();
        match docker_credential::get_credential(key) {
            Ok(DockerCredential::UsernamePassword(username, password)) => {
                Ok(Self::from_login(username, password))
            }
            Ok(DockerCredential::IdentityToken(token)) => Ok(Self::IdentityToken(token)),
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::ConfigNotFound,
            ) => Ok(Self::Anonymous),
            // The crate says the same of a file that is not there.
            Err(CredentialRetrievalError::ConfigReadError) if !has_docker_config() => {
                Ok(Self::Anonymous)
            }
            Err(CredentialRetrievalError::ConfigReadError) => Err(CredentialsError::Config),
            Err(
                CredentialRetrievalError::CredentialDecodingError
                | CredentialRetrievalError::CredentialMismatchError,
            ) => Err(CredentialsError::Decode {
                registry: of(registry),
            }),
            // A helper that has nothing stored fails with these words, by protocol.
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if [&stdout, &stderr]
                    .iter()
                    .any(|text| text.contains("credentials not found")) =>
            {
                Ok(Self::Anonymous)
            }
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                Err(CredentialsError::Helper {
                    helper,
                    registry: of(registry),
                })
            }
            Err(
                CredentialRetrievalError::HelperCommunicationError
                | CredentialRetrievalError::MalformedHelperResponse,
            ) => Err(CredentialsError::HelperAnswer {
                registry: of(registry),
            }),
        }
    }

    /// Reads the `X-Registry-Auth` header of the Docker API: base64url of a JSON object.
    ///
    /// Empty text, `{}` and an object with empty fields mean anonymous.
    pub fn from_header(header: &str) -> Result<Self, CredentialsError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct AuthConfig {
            username: String,
            password: String,
            auth: String,
            identitytoken: String,
            registrytoken: String,
        }
        if header.is_empty() {
            return Ok(Self::Anonymous);
        }
        let json = decode(header).ok_or(CredentialsError::Header)?;
        let auth: AuthConfig =
            serde_json::from_slice(&json).map_err(|_| CredentialsError::Header)?;
        if !auth.registrytoken.is_empty() {
            return Ok(Self::RegistryToken(auth.registrytoken));
        }
        if !auth.identitytoken.is_empty() {
            return Ok(Self::IdentityToken(auth.identitytoken));
        }
        if !auth.auth.is_empty() && auth.username.is_empty() {
            let pair = decode(&auth.auth).and_then(|pair| String::from_utf8(pair).ok());
            let pair = pair.ok_or(CredentialsError::Header)?;
            let (username, password) = pair.split_once(':').ok_or(CredentialsError::Header)?;
            return Ok(Self::from_login(username.to_owned(), password.to_owned()));
        }
        Ok(Self::from_login(auth.username, auth.password))
    }

    fn from_login(username: String, password: String) -> Self {
        match username.as_str() {
            "" => Self::Anonymous,
            // How helpers hand out refresh tokens.
            "<token>" => Self::IdentityToken(password),
            _ => Self::Password { username, password },
        }
    }
}

/// Either alphabet, padded or not: clients use both.
/// Whether there is a file to be read at all.
fn has_docker_config() -> bool {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")),
    };
    folder.is_some_and(|folder| folder.join("config.json").exists())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let padded = format!(
        "{}{}",
        text.trim_end_matches('='),
        "=".repeat((4 - text.trim_end_matches('=').len() % 4) % 4)
    );
    URL_SAFE
        .decode(&padded)
        .or_else(|_| STANDARD.decode(&padded))
        .ok()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(redacted)",
            Self::IdentityToken(_) => "IdentityToken(redacted)",
            Self::RegistryToken(_) => "RegistryToken(redacted)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &Result<Credentials, CredentialsError>) {
        for engine in [URL_SAFE, STANDARD] {
            let header = engine.encode(json);
            assert_eq!(&Credentials::from_header(&header), expected, "{json}");
            assert_eq!(
                &Credentials::from_header(header.trim_end_matches('=')),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn the_header_is_read_in_all_its_spellings() {
        let me = Ok(Credentials::Password {
            username: "me".into(),
            password: "p:w?~ÿ".into(),
        });
        check("{}", &Ok(Credentials::Anonymous));
        check(
            r#"{"username":"","password":""}"#,
            &Ok(Credentials::Anonymous),
        );
        check(
            r#"{"username":"me","password":"p:w?~ÿ","serveraddress":"x"}"#,
            &me,
        );
        check(
            &format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("me:p:w?~ÿ")),
            &me,
        );
        check(
            r#"{"identitytoken":"t"}"#,
            &Ok(Credentials::IdentityToken("t".into())),
        );
        check(
            r#"{"registrytoken":"t"}"#,
            &Ok(Credentials::RegistryToken("t".into())),
        );
        check(
            r#"{"username":"<token>","password":"t"}"#,
            &Ok(Credentials::IdentityToken("t".into())),
        );
        check("[1]", &Err(CredentialsError::Header));
        assert_eq!(Credentials::from_header(""), Ok(Credentials::Anonymous));
        assert_eq!(
            Credentials::from_header("%%%"),
            Err(CredentialsError::Header)
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Credentials::Password {
            username: "me".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
