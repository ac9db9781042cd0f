//! Nodes in the branches that spread preferences make, each branch with the best node on top.
//!
//! The emptiest branch is asked first, level by level; within the last one a heap holds the node with
//! the fewest containers of the service, then with the fewest at all. Taking the best node and
//! putting it back costs the logarithm of the number of branches and nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// The branch to take at each level.
pub(super) type Path = Box<[usize]>;

/// The smallest is taken. Ties go to the node with the smallest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) of_service: u32,
    pub(super) containers: u32,
    pub(super) node: usize,
}

/// The nodes with the same values of the labels so far.
#[derive(Default)]
pub(super) struct Tree {
    /// Containers of the service in it.
    containers: u32,
    values: BTreeMap<String, usize>,
    branches: Vec<Tree>,
    /// Branches that have nodes, the emptiest first.
    order: BTreeSet<(u32, usize)>,
    nodes: BinaryHeap<Reverse<Rank>>,
}

impl Tree {
    /// The way to the branch with these values, which is made if it is missing.
    pub(super) fn path<'a>(&mut self, values: impl Iterator<Item = &'a str>) -> Path {
        let mut tree = self;
        let mut path = Vec::new();
        for value in values {
            let next = tree.branches.len();
            let number = match tree.values.get(value) {
                Some(number) => *number,
                None => {
                    tree.values.insert(value.to_owned(), next);
                    tree.branches.push(Self::default());
                    next
                }
            };
            path.push(number);
            tree = &mut tree.branches[number];
        }
        path.into()
    }

    /// So many more containers of the service are in the branch.
    pub(super) fn count(&mut self, path: &[usize], containers: u32) {
        self.containers += containers;
        if let Some((number, rest)) = path.split_first()
            && let Some(branch) = self.branches.get_mut(*number)
        {
            let before = branch.containers;
            branch.count(rest, containers);
            if self.order.remove(&(before, *number)) {
                self.order.insert((branch.containers, *number));
            }
        }
    }

    pub(super) fn add(&mut self, path: &[usize], rank: Rank) {
        let Some((number, rest)) = path.split_first() else {
            self.nodes.push(Reverse(rank));
            return;
        };
        if let Some(branch) = self.branches.get_mut(*number) {
            branch.add(rest, rank);
            self.order.insert((branch.containers, *number));
        }
    }

    /// Takes the best node of the emptiest branch; of the next one where that has none left.
    pub(super) fn pop(&mut self) -> Option<Rank> {
        if let Some(Reverse(rank)) = self.nodes.pop() {
            return Some(rank);
        }
        while let Some((containers, number)) = self.order.first().copied() {
            if let Some(rank) = self.branches.get_mut(number).and_then(Self::pop) {
                return Some(rank);
            }
            self.order.remove(&(containers, number));
        }
        None
    }
}
