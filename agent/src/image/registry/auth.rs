//! Turns a registry's challenge into an `Authorization` header.
//!
//! A password goes to the registry itself, or to a token server of the same domain, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use super::super::credentials::Credentials;
use super::{Failure, Registry, RegistryError, forbidden};

/// Bytes of a token server's answer.
const MAX_TOKEN: u64 = 1 << 20;

/// One of the ways in that a registry offers.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// The header to try next.
    pub(super) async fn authorize(&self, challenges: &[String]) -> Result<HeaderValue, Failure> {
        if let Credentials::RegistryToken(token) = &self.credentials {
            return Ok(self.header(&format!("Bearer {token}"))?);
        }
        let challenges: Vec<Challenge> = challenges.iter().filter_map(|text| parse(text)).collect();
        let bearer = challenges
            .iter()
            .find(|one| matches!(one, Challenge::Bearer { .. }));
        match (bearer.or(challenges.first()), &self.credentials) {
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                _,
            ) => {
                self.token(realm, service.as_deref(), scope.as_deref())
                    .await
            }
            (Some(Challenge::Basic), Credentials::Password { username, password }) => {
                Ok(self.header(&basic(username, password))?)
            }
            (Some(Challenge::Basic), _) => Err(RegistryError::Denied {
                repository: self.reference.familiar_repository(),
            }
            .into()),
            (None, _) => Err(RegistryError::Challenge {
                registry: self.name.clone(),
            }
            .into()),
        }
    }

    /// Asks a token server for leave to pull.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<HeaderValue, Failure> {
        let mut url = self.realm(realm)?;
        let pull = format!("repository:{}:pull", self.reference.path());
        let scope = scope.unwrap_or(&pull);
        let request = match &self.credentials {
            Credentials::IdentityToken(token) => {
                let mut form = url.clone();
                form.set_query(None);
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", token)
                    .append_pair("service", service.unwrap_or_default())
                    .append_pair("client_id", "wharfie")
                    .append_pair("scope", scope);
                let body = form.query().unwrap_or_default().to_owned();
                self.client
                    .post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body)
            }
            credentials => {
                url.query_pairs_mut().append_pair("scope", scope);
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                let request = self.client.get(url);
                match credentials {
                    Credentials::Password { username, password } => {
                        request.header(AUTHORIZATION, self.header(&basic(username, password))?)
                    }
                    _ => request,
                }
            }
        };
        let response = request
            .send()
            .await
            .map_err(|error| self.connection(&error))?;
        let status = response.status();
        if status.is_client_error() && status != reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Err(RegistryError::Denied {
                repository: self.reference.familiar_repository(),
            }
            .into());
        }
        if !status.is_success() {
            return Err(self.refusal(response, super::Wanted::Manifest).await);
        }
        let body = self.body(response, MAX_TOKEN, "a token").await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| RegistryError::Token {
            registry: self.name.clone(),
        })?;
        Ok(self.header(&format!("Bearer {token}"))?)
    }

    /// The address of the token server, if it may be asked.
    fn realm(&self, realm: &str) -> Result<Url, RegistryError> {
        let refused = |why| RegistryError::Realm {
            registry: self.name.clone(),
            realm: realm.chars().take(200).collect(),
            why,
        };
        let url = Url::parse(realm).map_err(|_| refused("it is not a URL"))?;
        if let Some(why) = forbidden(&self.base, &url) {
            return Err(refused(why));
        }
        let secret = self.credentials != Credentials::Anonymous;
        if secret && !same_domain(&self.base, &url) {
            return Err(refused("it belongs to another domain"));
        }
        Ok(url)
    }

    /// A header that is not written to logs, and that has no line breaks.
    fn header(&self, text: &str) -> Result<HeaderValue, RegistryError> {
        let value = HeaderValue::from_str(text);
        let mut value = value.map_err(|_| RegistryError::Token {
            registry: self.name.clone(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

/// Whether two hosts are the same, or share a domain of two parts, as `registry-1.docker.io` and `auth.docker.io`.
fn same_domain(a: &Url, b: &Url) -> bool {
    let (Some(url::Host::Domain(left)), Some(url::Host::Domain(right))) = (a.host(), b.host())
    else {
        return a.host() == b.host();
    };
    let domain = |host: &str| {
        let mut parts: Vec<String> = host.rsplit('.').take(2).map(str::to_owned).collect();
        parts.reverse();
        parts
    };
    left == right || (domain(left) == domain(right) && domain(left).len() == 2)
}

/// Reads `Bearer realm="…",service="…",scope="…"`.
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((key, after)) = rest.trim_start_matches([' ', ',']).split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        rest = after;
        match key.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
    }
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: realm?,
            service,
            scope,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_in_their_spellings() {
        let bearer = |text: &str| match parse(text) {
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => format!("{realm} {service:?} {scope:?}"),
            other => format!("{other:?}"),
        };
        assert_eq!(
            bearer(r#"Bearer realm="https://a/t",service="r, s",scope="repository:x:pull,push""#),
            r#"https://a/t Some("r, s") Some("repository:x:pull,push")"#
        );
        assert_eq!(bearer("bearer realm=https://a/t"), "https://a/t None None");
        assert_eq!(bearer(r#"Basic realm="x""#), "Some(Basic)");
        for nonsense in [
            "",
            "Bearer",
            "Bearer realm=\"x",
            "Negotiate abc",
            "Bearer service=\"x\"",
        ] {
            assert_eq!(bearer(nonsense), "None", "{nonsense}");
        }
    }

    #[test]
    fn passwords_stay_in_their_domain() {
        let same = |a: &str, b: &str| {
            same_domain(
                &Url::parse(&format!("https://{a}/")).unwrap(),
                &Url::parse(&format!("https://{b}/")).unwrap(),
            )
        };
        assert!(same("registry-1.docker.io", "auth.docker.io"));
        assert!(same("registry.gitlab.com", "gitlab.com"));
        assert!(same("ghcr.io", "ghcr.io"));
        assert!(same("127.0.0.1:5000", "127.0.0.1:5001"));
        assert!(!same("ghcr.io", "evil.io"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(!same("a", "b"));
    }
}
