//! A mapping of a file: its keys in the order in which they were written.
//!
//! Nearly all have a dozen keys: looking at each of them is faster than hashing one, and needs no second
//! table. Only a section with more (`services`, `volumes`) remembers where each key is:
//!
//! ```text
//! entries  image … │ command … │ ports …        up to FEW: looked through
//! entries  s0 … │ s1 … │ s2 … │ …    places  s0 → 0, s1 → 1, s2 → 2, …
//! ```

use std::slice;
use std::vec;

use indexmap::IndexMap;

use super::{Entry, Text};

/// Keys that are looked through one by one.
const FEW: usize = 24;

/// Hashed fast, as large projects are asked for many keys; and with a seed that differs for each map and
/// each run, so that no file can have keys that collide on purpose.
type Places = IndexMap<Text, usize, foldhash::fast::RandomState>;

#[derive(Clone, Debug, Default)]
pub(in crate::compose) struct Map {
    entries: Vec<(Text, Entry)>,
    /// Of every key, if there are more than [`FEW`].
    places: Option<Box<Places>>,
}

impl Map {
    pub(in crate::compose) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::compose) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(in crate::compose) fn get(&self, key: &str) -> Option<&Entry> {
        self.place(key).map(|at| &self.entries[at].1)
    }

    pub(in crate::compose) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.place(key).map(|at| &mut self.entries[at].1)
    }

    pub(in crate::compose) fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    pub(in crate::compose) fn iter(&self) -> impl Iterator<Item = (&Text, &Entry)> {
        self.into_iter()
    }

    pub(in crate::compose) fn keys(&self) -> impl Iterator<Item = &Text> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(in crate::compose) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    pub(in crate::compose) fn values_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }

    /// Puts an entry under a key, which keeps its place if it was there; gives what was there.
    pub(in crate::compose) fn insert(&mut self, key: Text, entry: Entry) -> Option<Entry> {
        if let Some(earlier) = self.get_mut(&key) {
            return Some(std::mem::replace(earlier, entry));
        }
        self.append(key, entry);
        None
    }

    /// The entry under a key, made if there is none.
    pub(in crate::compose) fn get_or_insert_with(
        &mut self,
        key: Text,
        make: impl FnOnce() -> Entry,
    ) -> &mut Entry {
        let at = self.place(&key).unwrap_or_else(|| {
            self.append(key, make());
            self.entries.len() - 1
        });
        &mut self.entries[at].1
    }

    /// The others keep their order.
    pub(in crate::compose) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.place(key)?;
        let (_, entry) = self.entries.remove(at);
        self.find_places();
        Some(entry)
    }

    pub(in crate::compose) fn retain(&mut self, mut keep: impl FnMut(&Text, &mut Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain_mut(|(key, entry)| keep(key, entry));
        if self.entries.len() != before {
            self.find_places();
        }
    }

    /// By their bytes.
    pub(in crate::compose) fn sort_keys(&mut self) {
        self.entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.find_places();
    }

    fn place(&self, key: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.entries.iter().position(|(it, _)| it == key),
        }
    }

    /// Adds a key that is not there yet.
    fn append(&mut self, key: Text, entry: Entry) {
        let at = self.entries.len();
        if let Some(places) = &mut self.places {
            places.insert(key.clone(), at);
        }
        self.entries.push((key, entry));
        if at == FEW {
            self.find_places();
        }
    }

    fn find_places(&mut self) {
        self.places = (self.entries.len() > FEW).then(|| {
            let keys = self.entries.iter().enumerate();
            Box::new(keys.map(|(at, (key, _))| (key.clone(), at)).collect())
        });
    }
}

/// Whatever the order of the keys.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, it)| other.get(key) == Some(it))
    }
}

impl Extend<(Text, Entry)> for Map {
    fn extend<T: IntoIterator<Item = (Text, Entry)>>(&mut self, entries: T) {
        for (key, entry) in entries {
            self.insert(key, entry);
        }
    }
}

impl FromIterator<(Text, Entry)> for Map {
    fn from_iter<T: IntoIterator<Item = (Text, Entry)>>(entries: T) -> Self {
        let entries = entries.into_iter();
        let mut map = Self {
            entries: Vec::with_capacity(entries.size_hint().0),
            places: None,
        };
        map.extend(entries);
        map
    }
}

impl IntoIterator for Map {
    type Item = (Text, Entry);
    type IntoIter = vec::IntoIter<(Text, Entry)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Text, &'a Entry);
    type IntoIter = std::iter::Map<
        slice::Iter<'a, (Text, Entry)>,
        fn(&'a (Text, Entry)) -> (&'a Text, &'a Entry),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(key, entry)| (key, entry))
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a Text, &'a mut Entry);
    type IntoIter = std::iter::Map<
        slice::IterMut<'a, (Text, Entry)>,
        fn(&'a mut (Text, Entry)) -> (&'a Text, &'a mut Entry),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter_mut().map(|(key, entry)| (&*key, entry))
    }
}

#[cfg(test)]
mod tests;
