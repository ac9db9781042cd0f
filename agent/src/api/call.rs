//! One request, taken apart: path in segments, parameters, headers, body, and the connection itself.

use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Dialect, EngineError};
use super::query::Params;

/// Largest JSON body: a stack with its secrets and configs inside is far below it.
const JSON_LIMIT: usize = 64 << 20;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Socket,
    /// A manager has carried it here.
    Manager,
}

/// A request on its way to its handler.
#[derive(Debug)]
pub(crate) struct Call {
    /// Decoded segments of the path, without the version: `["containers", "web", "json"]`.
    pub(crate) path: Vec<String>,
    pub(crate) params: Params,
    pub(crate) dialect: Dialect,
    parts: Parts,
    /// A body may be used from one thread at a time only; the mutex says so, and is never locked.
    body: Mutex<Body>,
}

impl Call {
    /// Takes a request apart.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoRoute`] for a path with empty segments or broken escapes, so that there is
    /// one way only to write each path.
    pub(crate) fn new(request: Request<Body>) -> Result<Self, EngineError> {
        let (parts, body) = request.into_parts();
        let mut path = parts
            .uri
            .path()
            .strip_prefix('/')
            .unwrap_or_default()
            .split('/')
            .map(decode)
            .collect::<Option<Vec<_>>>()
            .ok_or(EngineError::NoRoute)?;
        if path.first().is_some_and(|segment| is_version(segment)) {
            path.remove(0);
        }
        if path.is_empty() || path.iter().any(String::is_empty) {
            return Err(EngineError::NoRoute);
        }
        let dialect = match path.first().map(String::as_str) {
            Some("x") => Dialect::Wharfie,
            _ => Dialect::Docker,
        };
        let params = Params::of(&parts.uri);
        Ok(Self {
            path,
            params,
            dialect,
            parts,
            body: Mutex::new(body),
        })
    }

    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// What stands after the `?`, as it was written.
    pub(super) fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(super) fn origin(&self) -> Origin {
        let marked = self.parts.extensions.get().copied();
        marked.unwrap_or(Origin::Socket)
    }

    /// A header as text; absent when it is not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The body, unread.
    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connection, once the answer 101 has been sent; `None` if the client did not ask for it.
    pub(crate) fn take_upgrade(&mut self) -> Option<hyper::upgrade::OnUpgrade> {
        self.header("upgrade")?;
        self.parts.extensions.remove()
    }

    /// Reads the body as JSON. Fields that are `null` count as absent; no body at all is `{}`.
    ///
    /// # Errors
    ///
    /// [`EngineError::BadRequest`] for what is no such JSON, is too long, or breaks off.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, EngineError> {
        let bytes = self.bytes().await?;
        let invalid = |error: serde_json::Error| {
            EngineError::BadRequest(format!("invalid JSON in the request's body: {error}"))
        };
        let mut value = match bytes.iter().all(u8::is_ascii_whitespace) {
            true => Value::Object(serde_json::Map::new()),
            false => serde_json::from_slice(&bytes).map_err(invalid)?,
        };
        drop_nulls(&mut value);
        serde_json::from_value(value).map_err(invalid)
    }

    /// Reads the body as JSON of our own, in which `null` has a meaning (a variable to unset).
    ///
    /// # Errors
    ///
    /// As [`Call::json`].
    pub(crate) async fn json_exact<T: DeserializeOwned>(&mut self) -> Result<T, EngineError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            EngineError::BadRequest(format!("invalid JSON in the request's body: {error}"))
        })
    }

    async fn bytes(&mut self) -> Result<Bytes, EngineError> {
        let body = Limited::new(self.take_body(), JSON_LIMIT);
        let collected = body.collect().await.map_err(|error| {
            EngineError::BadRequest(format!("cannot read the request's body: {error}"))
        })?;
        Ok(collected.to_bytes())
    }
}

/// `v1.44` and the like. Any number is served, as the newest that is known.
fn is_version(segment: &str) -> bool {
    let Some((major, minor)) = segment
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number(major) && number(minor)
}

/// Undoes `%20`; `None` for a broken escape or what is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Sets whose members have no content of their own: a `null` there is a member all the same.
const SETS: [&str; 3] = ["EndpointsConfig", "ExposedPorts", "Volumes"];

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                if SETS.contains(&key.as_str())
                    && let Value::Object(members) = field
                {
                    let empty = members.values_mut().filter(|member| member.is_null());
                    empty.for_each(|member| *member = Value::Object(serde_json::Map::new()));
                }
            }
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(drop_nulls);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
