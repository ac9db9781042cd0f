//! The `filters` parameter of lists, prunes and events.
//!
//! It comes in two forms: `{"label":{"a=b":true}}` from the docker CLI and `{"label":["a=b"]}` from
//! most libraries. Labels must all hold; of several values of another key one must.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::error::EngineError;
use super::query::Params;

/// Key to the values asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the parameter, and refuses keys that are not among the known ones.
    ///
    /// # Errors
    ///
    /// [`EngineError::BadRequest`] for text that is not JSON of either form, and for unknown keys.
    pub(crate) fn read(params: &Params, known: &[&str]) -> Result<Self, EngineError> {
        let filters = params
            .get("filters")
            .map_or(Ok(Self::default()), Self::parse)?;
        match filters.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(EngineError::BadRequest(format!("invalid filter '{key}'"))),
            None => Ok(filters),
        }
    }

    fn parse(text: &str) -> Result<Self, EngineError> {
        let invalid = || EngineError::BadRequest("invalid filter".to_owned());
        let raw: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| invalid())?;
        let mut filters = BTreeMap::new();
        for (key, value) in raw {
            let values = match value {
                Value::Null => Vec::new(),
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| value.as_str().map(str::to_owned).ok_or_else(invalid))
                    .collect::<Result<_, _>>()?,
                Value::Object(values) => values
                    .into_iter()
                    .filter(|(_, wanted)| *wanted != Value::Bool(false))
                    .map(|(value, _)| value)
                    .collect(),
                _ => return Err(invalid()),
            };
            filters.insert(key, values);
        }
        Ok(Self(filters))
    }

    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }

    /// Nothing is asked for under the key, or one of the values passes.
    pub(crate) fn any(&self, key: &str, passes: impl Fn(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).iter().any(|value| passes(value))
    }

    /// As [`Filters::any`], for values of which only certain ones have a meaning.
    ///
    /// # Errors
    ///
    /// [`EngineError::BadRequest`] for a value that is none of `meaningful`.
    pub(crate) fn check_values(&self, key: &str, meaningful: &[&str]) -> Result<(), EngineError> {
        match self
            .values(key)
            .iter()
            .find(|value| !meaningful.contains(&value.as_str()))
        {
            Some(value) => Err(EngineError::BadRequest(format!(
                "invalid filter '{key}={value}'"
            ))),
            None => Ok(()),
        }
    }

    /// `label` must hold for every value (`key` or `key=value`), `label!` for none.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(holds) && !self.values("label!").iter().any(holds)
    }

    /// A name passes if one of the patterns under `name` matches somewhere in it.
    ///
    /// # Errors
    ///
    /// [`EngineError::BadRequest`] for what is not a regular expression.
    pub(crate) fn names(&self) -> Result<NamePatterns, EngineError> {
        self.values("name")
            .iter()
            .map(|pattern| {
                // A megabyte of compiled pattern is far beyond any honest one.
                regex::RegexBuilder::new(pattern)
                    .size_limit(1 << 20)
                    .build()
                    .map_err(|_| {
                        EngineError::BadRequest(format!("invalid filter 'name={pattern}'"))
                    })
            })
            .collect::<Result<_, _>>()
            .map(NamePatterns)
    }
}

/// Regular expressions of which one must match; none at all match everything.
pub(crate) struct NamePatterns(Vec<Regex>);

impl NamePatterns {
    pub(crate) fn pass(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

#[cfg(test)]
mod tests;
