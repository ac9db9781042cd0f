//! A value of YAML or JSON, borrowed from the project it shows.

use std::borrow::Cow;

use super::order::natural;
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

/// Keys in the order in which YAML has them. There are few, or they are all printed: nothing is hashed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping<'a> {
    entries: Vec<(Cow<'a, str>, Tree<'a>)>,
    keys: Keys,
}

/// Whose the keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Keys {
    /// The specification's, in the order of their table.
    #[default]
    Attributes,
    /// Names that the user gave.
    Names,
}

impl<'a> Mapping<'a> {
    /// An empty mapping with room for so many attributes.
    pub(super) fn of_attributes(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
            keys: Keys::Attributes,
        }
    }

    /// A mapping of names, which are put in order.
    pub(super) fn of_names(entries: impl Iterator<Item = (&'a str, Tree<'a>)>) -> Self {
        let entries = entries.map(|(name, value)| (Cow::Borrowed(name), value));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by(|(a, _), (b, _)| natural(a, b));
        Self {
            entries,
            keys: Keys::Names,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Tree<'a>> {
        self.iter().find(|(it, _)| *it == key).map(|(_, it)| it)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tree<'a>)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_ref(), value))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Tree<'a>> {
        let mut entries = self.entries.iter_mut();
        entries.find(|(it, _)| *it == key).map(|(_, it)| it)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tree<'a>> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Adds a key that is not there yet.
    pub(super) fn push(&mut self, key: impl Into<Cow<'a, str>>, value: Tree<'a>) {
        self.entries.push((key.into(), value));
    }

    /// Puts the value there unless there is one.
    pub(super) fn complete(&mut self, key: &'static str, value: Tree<'a>) {
        if self.get(key).is_none() {
            self.push(key, value);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str, &Tree<'a>) -> bool) {
        self.entries.retain(|(key, value)| keep(key, value));
    }

    /// Names in the order of JSON, here and below: by their bytes.
    pub(super) fn sort_for_json(&mut self) {
        if self.keys == Keys::Names {
            self.sort_by_rank(str::to_owned);
        }
        self.values_mut().for_each(Tree::sort_for_json);
    }

    pub(super) fn sort_by_rank<K: Ord>(&mut self, rank: impl Fn(&str) -> K) {
        self.entries.sort_by_cached_key(|(key, _)| rank(key));
    }
}

impl Tree<'_> {
    pub(super) fn sort_for_json(&mut self) {
        match self {
            Self::Map(map) => map.sort_for_json(),
            Self::List(items) => items.iter_mut().for_each(Self::sort_for_json),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => {}
        }
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
