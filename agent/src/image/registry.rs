//! Speaks to one repository of a registry: manifests and blobs, with authentication, retries and resume.
//!
//!     GET ─► 200                                   the content, verified by its digest
//!         ─► 206                                   the rest of it, after a connection broke
//!         ─► 401 ─► token ─► GET                   once; twice is a refusal
//!         ─► 307 ─► GET elsewhere                  without credentials
//!         ─► 429, 5xx, broken ─► wait ─► GET       up to five times
//!
//! `oci-client` is not used here: it panics on tokens that are no header values, reads bodies of any
//! size into memory, and hides `Retry-After`.
//!
//! Sources: OCI distribution specification; "Token Authentication Specification" of
//! github.com/distribution/distribution.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::{Client, Response, StatusCode, Url};
use thiserror::Error;

use super::credentials::Credentials;
use super::digest::Digest;
use super::manifest::{self, Descriptor};
use super::reference::Reference;
use trust::{Certificates, Transport};

mod auth;
mod download;
mod trust;

pub(crate) use download::Download;
pub use trust::Trust;

const MAX_REDIRECTS: usize = 5;
/// Bytes of an error's body that are looked at.
const MAX_ERROR: u64 = 64 * 1024;
const MAX_ATTEMPTS: u32 = 5;
/// A registry may not hold us longer than this between attempts.
const MAX_WAIT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Without a byte for so long, a connection is taken for dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a registry did not give what it was asked for.
#[derive(Debug, Error)]
pub enum RegistryError {
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login'"
    )]
    Denied { repository: String },
    #[error(
        "manifest for {reference} not found: image `{reference}` is not in registry {registry}"
    )]
    ManifestUnknown { reference: String, registry: String },
    #[error("repository {repository} not found in registry {registry}")]
    NameUnknown {
        repository: String,
        registry: String,
    },
    #[error("registry {registry} does not have blob {digest}")]
    BlobUnknown { registry: String, digest: Digest },
    #[error("registry {registry} refused the connection")]
    Refused { registry: String },
    #[error("cannot reach registry {registry}: {reason}")]
    Unreachable { registry: String, reason: String },
    #[error(
        "the certificate of registry {registry} is not trusted: {reason}; the certificate of its authority belongs in /etc/wharfie/certs.d/{registry}/ca.crt"
    )]
    Untrusted { registry: String, reason: String },
    #[error("cannot use certificate {path}: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("registry {registry} answered {status}: {text}")]
    Status {
        registry: String,
        status: u16,
        text: String,
    },
    #[error("registry {registry} broke off: {reason}")]
    Broken { registry: String, reason: String },
    #[error("registry {registry} redirects more than {MAX_REDIRECTS} times")]
    Redirects { registry: String },
    #[error("registry {registry} redirects to {target}, which is not allowed: {why}")]
    Redirect {
        registry: String,
        target: String,
        why: &'static str,
    },
    #[error(
        "registry {registry} wants credentials to be sent to {realm}, which is not allowed: {why}"
    )]
    Realm {
        registry: String,
        realm: String,
        why: &'static str,
    },
    #[error("registry {registry} asks for an authentication that is not understood")]
    Challenge { registry: String },
    #[error("the token server of registry {registry} answered nonsense")]
    Token { registry: String },
    #[error("{what} has more than {limit} bytes")]
    TooLong { what: String, limit: u64 },
    #[error("{what} should have {expected} bytes but has {found}")]
    Length {
        what: String,
        expected: u64,
        found: u64,
    },
    #[error("{what} should have digest {expected} but has {found}")]
    Digest {
        what: String,
        expected: Digest,
        found: Digest,
    },
    #[error("cannot set up TLS: {reason}")]
    Tls { reason: String },
    #[error("cannot keep what is downloaded")]
    Store(#[from] super::store::StoreError),
}

/// One repository, with what is needed to speak to it.
pub(crate) struct Registry {
    client: Client,
    /// As in the reference.
    name: String,
    base: Url,
    reference: Reference,
    credentials: Credentials,
    /// The `Authorization` header that worked last.
    authorization: tokio::sync::Mutex<Option<HeaderValue>>,
    /// The wait before the second attempt; doubles with each.
    patience: Duration,
}

/// A manifest or an index, and its own digest.
pub(crate) struct Fetched {
    pub(crate) body: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) content_type: Option<String>,
}

/// The client that all registries without certificates of their own share. It follows no redirect
/// by itself, so that no header is ever sent to where it should not go.
pub(crate) fn client() -> Result<Client, RegistryError> {
    client_with(Certificates::default())
}

fn client_with(certificates: Certificates) -> Result<Client, RegistryError> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // Fails when there is one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(STALL_TIMEOUT)
        .tls_certs_merge(certificates.authorities)
        .user_agent(concat!("wharfie/", env!("CARGO_PKG_VERSION")));
    if let Some(identity) = certificates.identity {
        client = client.identity(identity);
    }
    client.build().map_err(|error| RegistryError::Tls {
        reason: chain(&error),
    })
}

impl Registry {
    /// `client` serves unless the registry has certificates of its own.
    pub(crate) fn new(
        client: Client,
        trust: &Trust,
        reference: &Reference,
        credentials: Credentials,
        patience: Duration,
    ) -> Result<Self, RegistryError> {
        let host = match reference.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let (scheme, client) = match trust.transport(reference) {
            Transport::Plain => ("http", client),
            Transport::Tls(None) => ("https", client),
            Transport::Tls(Some(own)) => ("https", client_with(Certificates::read(&own)?)?),
        };
        let name = reference.registry().to_owned();
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", reference.path())).map_err(
            |error| RegistryError::Unreachable {
                registry: name.clone(),
                reason: error.to_string(),
            },
        )?;
        let authorization = tokio::sync::Mutex::new(None);
        Ok(Self {
            client,
            name,
            base,
            reference: reference.clone(),
            credentials,
            authorization,
            patience,
        })
    }

    /// Fetches a manifest or an index; one that is asked for by digest has that digest.
    pub(crate) async fn manifest(&self, key: &str) -> Result<Fetched, RegistryError> {
        let mut attempt = 1;
        loop {
            match self.manifest_once(key).await {
                Err(failure) if failure.is_worth_another_try(attempt) && !failure.is_connect => {
                    tokio::time::sleep(self.wait(attempt, failure.retry_after)).await;
                    attempt += 1;
                }
                other => return other.map_err(|failure| failure.error),
            }
        }
    }

    async fn manifest_once(&self, key: &str) -> Result<Fetched, Failure> {
        let response = self
            .get(&format!("manifests/{key}"), None, Wanted::Manifest)
            .await?;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let content_type = header(CONTENT_TYPE.as_str());
        let claimed = header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let what = format!("the manifest `{key}` of registry {}", self.name);
        let body = self.body(response, manifest::MAX_MANIFEST, &what).await?;
        let found = Digest::of(&body);
        match key
            .parse()
            .ok()
            .or(claimed)
            .filter(|expected: &Digest| *expected != found)
        {
            Some(expected) => Err(RegistryError::Digest {
                what,
                expected,
                found,
            }
            .into()),
            None => Ok(Fetched {
                body,
                digest: found,
                content_type,
            }),
        }
    }

    /// Fetches a small blob into memory.
    pub(crate) async fn small_blob(
        &self,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let what = format!("blob {}", blob.digest);
        if blob.size > limit {
            return Err(RegistryError::TooLong { what, limit });
        }
        let mut attempt = 1;
        let body = loop {
            let path = format!("blobs/{}", blob.digest);
            let outcome = match self.get(&path, None, Wanted::Blob(blob.digest)).await {
                Ok(response) => self.body(response, limit, &what).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Err(failure) if failure.is_worth_another_try(attempt) => {
                    tokio::time::sleep(self.wait(attempt, failure.retry_after)).await;
                    attempt += 1;
                }
                other => break other.map_err(|failure| failure.error)?,
            }
        };
        if body.len() as u64 != blob.size {
            return Err(RegistryError::Length {
                what,
                expected: blob.size,
                found: body.len() as u64,
            });
        }
        let found = Digest::of(&body);
        match found == blob.digest {
            true => Ok(body),
            false => Err(RegistryError::Digest {
                what,
                expected: blob.digest,
                found,
            }),
        }
    }

    /// How long to wait after a failed attempt: what the registry says, or twice as long each time.
    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let own = self.patience * 2_u32.saturating_pow(attempt.saturating_sub(1)).min(64);
        // Many clients that failed together shall not come back together.
        let jitter = 0.75 + rand::random::<f64>() / 2.0;
        asked.unwrap_or_else(|| own.mul_f64(jitter)).min(MAX_WAIT)
    }

    /// Asks for something below the repository, with redirects and one round of authentication.
    async fn get(
        &self,
        path: &str,
        from: Option<u64>,
        wanted: Wanted,
    ) -> Result<Response, Failure> {
        let url = self
            .base
            .join(path)
            .map_err(|error| self.unreachable(error.to_string()))?;
        for round in 0..2 {
            let authorization = self.authorization.lock().await.clone();
            let response = self
                .follow(url.clone(), authorization.clone(), from)
                .await?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                StatusCode::UNAUTHORIZED if round == 0 => {
                    self.authenticate(&response, authorization).await?
                }
                _ => return Err(self.refusal(response, wanted).await),
            }
        }
        Err(RegistryError::Denied {
            repository: self.reference.familiar_repository(),
        }
        .into())
    }

    /// Gets new credentials, unless another request did so in the meantime.
    async fn authenticate(
        &self,
        response: &Response,
        used: Option<HeaderValue>,
    ) -> Result<(), Failure> {
        let mut authorization = self.authorization.lock().await;
        if *authorization == used {
            let challenges: Vec<String> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .map(str::to_owned)
                .collect();
            *authorization = Some(self.authorize(&challenges).await?);
        }
        Ok(())
    }

    async fn follow(
        &self,
        mut url: Url,
        authorization: Option<HeaderValue>,
        from: Option<u64>,
    ) -> Result<Response, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self
                .client
                .get(url.clone())
                .header(ACCEPT, manifest::ACCEPT);
            // Credentials are for the origin, not for where it sends us.
            if let Some(value) = authorization
                .as_ref()
                .filter(|_| url.origin() == self.base.origin())
            {
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(from) = from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.connection(&error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            let target = target.ok_or_else(|| self.broken("a redirect to nowhere".to_owned()))?;
            if let Some(why) = forbidden(&self.base, &target) {
                let target = target.origin().ascii_serialization();
                return Err(RegistryError::Redirect {
                    registry: self.name.clone(),
                    target,
                    why,
                }
                .into());
            }
            url = target;
        }
        Err(RegistryError::Redirects {
            registry: self.name.clone(),
        }
        .into())
    }

    /// Reads a whole body of bounded size.
    async fn body(
        &self,
        mut response: Response,
        limit: u64,
        what: &str,
    ) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.broken(chain(&error)))?
        {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(RegistryError::TooLong {
                    what: what.to_owned(),
                    limit,
                }
                .into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What an answer other than success means.
    async fn refusal(&self, response: Response, wanted: Wanted) -> Failure {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = self
            .body(response, MAX_ERROR, "an error")
            .await
            .unwrap_or_default();
        let (code, text) = error_code(&body);
        let registry = self.name.clone();
        let repository = self.reference.familiar_repository();
        let error = match (status, wanted) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                RegistryError::Denied { repository }
            }
            (StatusCode::NOT_FOUND, _) if code == "NAME_UNKNOWN" => RegistryError::NameUnknown {
                repository,
                registry,
            },
            (StatusCode::NOT_FOUND, Wanted::Manifest) => RegistryError::ManifestUnknown {
                reference: self.reference.to_string(),
                registry,
            },
            (StatusCode::NOT_FOUND, Wanted::Blob(digest)) => {
                RegistryError::BlobUnknown { registry, digest }
            }
            _ => RegistryError::Status {
                registry,
                status: status.as_u16(),
                text,
            },
        };
        let passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        Failure {
            error,
            is_passing: passing,
            is_connect: false,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn connection(&self, error: &reqwest::Error) -> Failure {
        let reason = chain(error);
        let registry = self.name.clone();
        if is_untrusted(error) {
            return RegistryError::Untrusted { registry, reason }.into();
        }
        let error = match (error.is_connect(), reason.contains("Connection refused")) {
            (true, true) => (RegistryError::Refused { registry }, true),
            (true, false) => (RegistryError::Unreachable { registry, reason }, true),
            (false, _) => (RegistryError::Broken { registry, reason }, false),
        };
        Failure {
            error: error.0,
            is_passing: true,
            is_connect: error.1,
            retry_after: None,
        }
    }

    fn broken(&self, reason: String) -> Failure {
        let error = RegistryError::Broken {
            registry: self.name.clone(),
            reason,
        };
        Failure {
            error,
            is_passing: true,
            is_connect: false,
            retry_after: None,
        }
    }

    fn unreachable(&self, reason: String) -> RegistryError {
        RegistryError::Unreachable {
            registry: self.name.clone(),
            reason,
        }
    }
}

/// What was asked for, to say what is missing.
#[derive(Clone, Copy)]
enum Wanted {
    Manifest,
    Blob(Digest),
}

/// A failed attempt.
struct Failure {
    error: RegistryError,
    /// It may go well the next time.
    is_passing: bool,
    /// Nobody answered at all.
    is_connect: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    fn is_worth_another_try(&self, attempt: u32) -> bool {
        self.is_passing && attempt < MAX_ATTEMPTS
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            error,
            is_passing: false,
            is_connect: false,
            retry_after: None,
        }
    }
}

/// Why a registry at `origin` may not send us to `target`; `None` when it may.
///
/// A registry on the network must not make us speak to services of this host, or in clear.
fn forbidden(origin: &Url, target: &Url) -> Option<&'static str> {
    let is_local = |url: &Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        Some(url::Host::Ipv6(ip)) => {
            let mapped = ip
                .to_ipv4_mapped()
                .is_some_and(|ip| ip.is_loopback() || ip.is_link_local());
            ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || mapped
        }
        None => true,
    };
    match target.scheme() {
        "https" => {}
        "http" if origin.scheme() == "http" => {}
        "http" => return Some("it is not encrypted"),
        _ => return Some("it is not HTTP"),
    }
    (is_local(target) && !is_local(origin)).then_some("it is an address of this host")
}

/// `{"errors":[{"code":"NAME_UNKNOWN","message":"…"}]}`; the text is kept to one short line.
fn error_code(body: &[u8]) -> (String, String) {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| {
        json["errors"][0][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let text = match field("message") {
        message if message.is_empty() => {
            String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
        }
        message => message,
    };
    let text: String = text
        .replace(char::is_control, " ")
        .trim()
        .chars()
        .take(200)
        .collect();
    (
        field("code"),
        if text.is_empty() {
            "no reason given".to_owned()
        } else {
            text
        },
    )
}

/// Whether the other side showed a certificate that proves nothing to us.
fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if says_untrusted(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What an I/O error wraps is not its source, and may be another I/O error.
fn says_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| says_untrusted(inner))
}

/// An error with its causes, and without the URL, which may carry a signature.
fn chain(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut text = String::new();
    while let Some(error) = cause {
        text = if text.is_empty() {
            error.to_string()
        } else {
            format!("{text}: {error}")
        };
        cause = error.source();
    }
    match (text.is_empty(), error.is_timeout()) {
        (_, true) => "it did not answer in time".to_owned(),
        (true, false) => "the connection broke".to_owned(),
        (false, false) => text,
    }
}

#[cfg(test)]
mod tests;
