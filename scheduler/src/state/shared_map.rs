//! An ordered map of which a copy costs nothing: both share what neither has changed since.
//!
//!     before ──► ┌───┬───┬───┐          one row of ③ is set: ③ and what leads to it are copied
//!                │ ① │ ② │ ③ │
//!                └─│─┴─│─┴───┘
//!     after ───► ┌─▼─┬─▼─┬───┐
//!                │ ① │ ② │ ③'│
//!                └───┴───┴───┘
//!
//! A B+ tree: entries lie in leaves, all of them equally deep. What nobody else looks at is changed
//! in place, so that many changes in a row copy each node once. Unlike a `BTreeMap` it has no way
//! to change an entry while others are looked at, and no ranges.

mod iter;

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::iter::Iter;

/// Entries of a leaf, and branches of a node. What is copied for one change is so many times the
/// height of the tree; less makes it higher.
const MOST: usize = 32;
/// Two neighbours with no more than this together become one.
const FEW: usize = MOST / 2;

pub struct SharedMap<K, V> {
    len: usize,
    root: Arc<Node<K, V>>,
}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// No key below a branch is smaller than its own, but for the first one.
    Branches(Vec<(K, Arc<Node<K, V>>)>),
}

/// What became of an insertion.
enum Inserted<K, V> {
    Replaced(V),
    Added,
    /// The node was full: its upper part is another one now.
    Split(K, Node<K, V>),
}

impl<K, V> SharedMap<K, V> {
    pub fn new() -> Self {
        Self {
            len: 0,
            root: Arc::new(Node::Leaf(Vec::new())),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether both are copies of the same, and none has changed since. `false` says nothing.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.root, self.len)
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    pub fn last(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.root;
        loop {
            match &**node {
                Node::Branches(branches) => node = &branches.get(branch_of(branches, key))?.1,
                Node::Leaf(entries) => {
                    let at = place_of(entries, key).ok()?;
                    return entries.get(at).map(|(_, value)| value);
                }
            }
        }
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Returns what was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match Arc::make_mut(&mut self.root).insert(key, value) {
            Inserted::Replaced(before) => return Some(before),
            Inserted::Added => {}
            Inserted::Split(key, upper) => self.grow(key, upper),
        }
        self.len += 1;
        None
    }

    /// Copies what leads to the entry, where it is shared.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        // Looking for nothing must not cost a copy.
        if !self.contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.root).get_mut(key)
    }

    /// The entry of a key, made if it is missing.
    pub fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        if !self.contains_key(key) {
            self.insert(key.clone(), V::default());
        }
        let entry = Arc::make_mut(&mut self.root).get_mut(key);
        entry.expect("it was there, or has been inserted")
    }

    /// Returns what was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let removed = Arc::make_mut(&mut self.root).remove(key)?;
        self.len -= 1;
        self.shrink();
        Some(removed)
    }

    /// One level more: the first key is never looked at.
    fn grow(&mut self, key: K, upper: Node<K, V>) {
        let lower = std::mem::replace(&mut self.root, Arc::new(Node::Leaf(Vec::new())));
        let branches = vec![(key.clone(), lower), (key, Arc::new(upper))];
        self.root = Arc::new(Node::Branches(branches));
    }

    fn shrink(&mut self) {
        if self.len == 0 {
            *self = Self::new();
        }
        while let Node::Branches(branches) = &*self.root
            && let [(_, only)] = branches.as_slice()
        {
            self.root = only.clone();
        }
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Leaf(entries) => {
                let at = place_of(entries, key).ok()?;
                entries.get_mut(at).map(|(_, value)| value)
            }
            Self::Branches(branches) => {
                let at = branch_of(branches, key);
                Arc::make_mut(&mut branches.get_mut(at)?.1).get_mut(key)
            }
        }
    }

    fn insert(&mut self, key: K, value: V) -> Inserted<K, V> {
        match self {
            Self::Leaf(entries) => match place_of(entries, &key) {
                Ok(at) => Inserted::Replaced(std::mem::replace(&mut entries[at].1, value)),
                Err(at) => match add(entries, at, (key, value)) {
                    None => Inserted::Added,
                    Some(upper) => Inserted::Split(upper[0].0.clone(), Self::Leaf(upper)),
                },
            },
            Self::Branches(branches) => {
                let at = branch_of(branches, &key);
                match Arc::make_mut(&mut branches[at].1).insert(key, value) {
                    Inserted::Split(key, node) => {
                        match add(branches, at + 1, (key, Arc::new(node))) {
                            None => Inserted::Added,
                            Some(upper) => {
                                Inserted::Split(upper[0].0.clone(), Self::Branches(upper))
                            }
                        }
                    }
                    done @ (Inserted::Replaced(_) | Inserted::Added) => done,
                }
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Leaf(entries) => {
                let at = place_of(entries, key).ok()?;
                Some(entries.remove(at).1)
            }
            Self::Branches(branches) => {
                let at = branch_of(branches, key);
                let removed = Arc::make_mut(&mut branches.get_mut(at)?.1).remove(key);
                if branches[at].1.len() == 0 {
                    branches.remove(at);
                } else {
                    join(branches, at.saturating_sub(1));
                    join(branches, at);
                }
                removed
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branches(branches) => branches.len(),
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Leaf(own), Self::Leaf(others)) => own.extend(others),
            (Self::Branches(own), Self::Branches(others)) => own.extend(others),
            (Self::Leaf(_), Self::Branches(_)) | (Self::Branches(_), Self::Leaf(_)) => {
                unreachable!("neighbours are equally far from the leaves")
            }
        }
    }
}

/// Where a key is, or where it belongs. Keys that count up belong to the end.
fn place_of<K: Borrow<Q>, Q: Ord + ?Sized, V>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    match entries.last() {
        Some((last, _)) if last.borrow() < key => Err(entries.len()),
        _ => entries.binary_search_by(|(known, _)| known.borrow().cmp(key)),
    }
}

/// The branch in which a key is, if it is anywhere.
fn branch_of<K: Borrow<Q>, Q: Ord + ?Sized, N>(branches: &[(K, N)], key: &Q) -> usize {
    match branches.split_last() {
        Some(((last, _), before)) if last.borrow() <= key => before.len(),
        _ => {
            let above = branches.partition_point(|(first, _)| first.borrow() <= key);
            above.saturating_sub(1)
        }
    }
}

/// Adds to a list that may be full; then the upper part is returned. What grows at its end, as
/// keys that count up do, leaves full lists behind and not half-empty ones.
fn add<T>(list: &mut Vec<T>, at: usize, entry: T) -> Option<Vec<T>> {
    if list.len() < MOST {
        list.insert(at, entry);
        return None;
    }
    if at == MOST {
        return Some(vec![entry]);
    }
    let mut upper = list.split_off(FEW);
    if at <= FEW {
        list.insert(at, entry);
    } else {
        upper.insert(at - FEW, entry);
    }
    Some(upper)
}

/// Makes one of a branch and the next, if they have little left together.
fn join<K: Ord + Clone, V: Clone>(branches: &mut Vec<(K, Arc<Node<K, V>>)>, at: usize) {
    let [(_, one), (_, next), ..] = &branches[at..] else {
        return;
    };
    if one.len() + next.len() <= FEW {
        let (_, next) = branches.remove(at + 1);
        Arc::make_mut(&mut branches[at].1).append(Arc::unwrap_or_clone(next));
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            len: self.len,
            root: self.root.clone(),
        }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// As of a `BTreeMap`: the key must be there.
impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for SharedMap<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Serialize, V: Serialize> Serialize for SharedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K, V> Deserialize<'de> for SharedMap<K, V>
where
    K: Deserialize<'de> + Ord + Clone,
    V: Deserialize<'de> + Clone,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for Entries<K, V>
where
    K: Deserialize<'de> + Ord + Clone,
    V: Deserialize<'de> + Clone,
{
    type Value = SharedMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = SharedMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
