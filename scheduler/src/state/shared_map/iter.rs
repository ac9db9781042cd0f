//! The way through a map in the order of its keys, from both ends.

use std::iter::FusedIterator;
use std::slice;
use std::sync::Arc;

use super::Node;

pub struct Iter<'a, K, V> {
    front: Way<'a, K, V>,
    back: Way<'a, K, V>,
    /// Entries that neither end has come to.
    left: usize,
}

/// What is still to be passed, from a leaf up to the root.
struct Way<'a, K, V> {
    leaf: slice::Iter<'a, (K, V)>,
    above: Vec<Branches<'a, K, V>>,
}

type Branches<'a, K, V> = slice::Iter<'a, (K, Arc<Node<K, V>>)>;
type Take<'a, T> = fn(&mut slice::Iter<'a, T>) -> Option<&'a T>;

impl<'a, K, V> Iter<'a, K, V> {
    pub(super) fn new(root: &'a Node<K, V>, len: usize) -> Self {
        Self {
            front: Way::into(root),
            back: Way::into(root),
            left: len,
        }
    }
}

impl<'a, K, V> Way<'a, K, V> {
    fn into(root: &'a Node<K, V>) -> Self {
        match root {
            Node::Leaf(entries) => Self {
                leaf: entries.iter(),
                above: Vec::new(),
            },
            Node::Branches(branches) => Self {
                leaf: [].iter(),
                above: vec![branches.iter()],
            },
        }
    }

    /// The next entry, where `entry` and `branch` take from the same end of a list.
    fn next(
        &mut self,
        entry: Take<'a, (K, V)>,
        branch: Take<'a, (K, Arc<Node<K, V>>)>,
    ) -> Option<(&'a K, &'a V)> {
        loop {
            if let Some((key, value)) = entry(&mut self.leaf) {
                return Some((key, value));
            }
            match branch(self.above.last_mut()?) {
                None => {
                    self.above.pop();
                }
                Some((_, node)) => match &**node {
                    Node::Leaf(entries) => self.leaf = entries.iter(),
                    Node::Branches(branches) => self.above.push(branches.iter()),
                },
            }
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.front.next(Iterator::next, Iterator::next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (entry, branch) = (
            DoubleEndedIterator::next_back,
            DoubleEndedIterator::next_back,
        );
        self.back.next(entry, branch)
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}
impl<K, V> FusedIterator for Iter<'_, K, V> {}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            back: self.back.clone(),
            left: self.left,
        }
    }
}

impl<K, V> Clone for Way<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            leaf: self.leaf.clone(),
            above: self.above.clone(),
        }
    }
}
