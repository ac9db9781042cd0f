//! The part of an address after `?`, read as leniently as Docker reads it.

use axum::extract::Query;
use axum::http::Uri;

use super::error::EngineError;

/// Parameters in the order in which they were sent; names may repeat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the parameters of an address; what cannot be decoded counts as absent.
    pub(crate) fn of(uri: &Uri) -> Self {
        Self(
            Query::try_from_uri(uri)
                .map(|Query(pairs)| pairs)
                .unwrap_or_default(),
        )
    }

    /// The first value of that name; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Docker's idea of truth: anything but nothing, `0`, `no`, `false` and `none`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "" | "0" | "no" | "false" | "none"
            )
        })
    }

    /// A flag that is set unless it is sent as false.
    pub(crate) fn flag_unless_denied(&self, name: &str) -> bool {
        self.get(name).is_none() || self.flag(name)
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// [`EngineError::BadRequest`] with Docker's text for anything else.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, EngineError> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    EngineError::BadRequest(format!(
                        "strconv.Atoi: parsing \"{value}\": invalid syntax"
                    ))
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests;
