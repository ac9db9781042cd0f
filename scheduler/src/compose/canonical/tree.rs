//! A value of YAML or JSON, borrowed from the project it shows.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};

#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Map(Mapping<'a>),
}

/// Keys in the order in which they are printed. There are few, or they are all printed: nothing is
/// hashed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping<'a>(Vec<(Cow<'a, str>, Tree<'a>)>);

impl<'a> Mapping<'a> {
    pub fn get(&self, key: &str) -> Option<&Tree<'a>> {
        self.iter().find(|(it, _)| *it == key).map(|(_, it)| it)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tree<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Tree<'a>> {
        let mut entries = self.0.iter_mut();
        entries.find(|(it, _)| *it == key).map(|(_, it)| it)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tree<'a>> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Adds a key that is not there yet.
    pub(super) fn push(&mut self, key: impl Into<Cow<'a, str>>, value: Tree<'a>) {
        self.0.push((key.into(), value));
    }

    /// Puts the value there unless there is one.
    pub(super) fn complete(&mut self, key: &'static str, value: Tree<'a>) {
        if self.get(key).is_none() {
            self.push(key, value);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str, &Tree<'a>) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    pub(super) fn sort(&mut self) {
        self.0.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    pub(super) fn sort_by_rank<K: Ord>(&mut self, rank: impl Fn(&str) -> K) {
        self.0.sort_by_cached_key(|(key, _)| rank(key));
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Tree<'a>)> for Mapping<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Tree<'a>)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            // Docker Compose writes whole amounts of CPU without a fraction.
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                serializer.serialize_i64(*value as i64)
            }
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map.iter()),
        }
    }
}
