//! Where nodes are that have moved, until their rows say so.
//!
//!     a node's greeting (its certificate says who) ─► [`Whereabouts::note`] ─► [`Whereabouts::of`]
//!                                                       forgotten once the row is another one
//!
//! A row changes by agreement, and managers that have moved may be needed for one: what they say to
//! this manager itself must do until then. Lost with the process; a node greets again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use scheduler::model::id::NodeId;
use scheduler::model::node::Node;

/// See the module.
#[derive(Debug, Default)]
pub struct Whereabouts(Mutex<BTreeMap<NodeId, Heard>>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// What the row said then: a row that has been changed since is newer.
    row: Option<SocketAddr>,
    address: SocketAddr,
}

impl Whereabouts {
    /// The node itself says where it is.
    pub fn note(&self, row: &Node, address: SocketAddr) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if row.address == Some(address) {
            heard.remove(&row.id);
            return;
        }
        let row_says = row.address;
        heard.insert(
            row.id.clone(),
            Heard {
                row: row_says,
                address,
            },
        );
    }

    /// Where a node is to be looked for.
    pub fn of(&self, row: &Node) -> Option<SocketAddr> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = heard.get(&row.id).filter(|heard| heard.row == row.address);
        moved.map(|heard| heard.address).or(row.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(address: &str) -> Node {
        serde_json::from_value(serde_json::json!({
            "id": "n1", "description": {}, "labels": {}, "availability": "active",
            "status": "ready", "address": address,
        }))
        .unwrap()
    }

    #[test]
    fn what_a_node_says_counts_until_its_row_is_changed() {
        let (old, new, newest) = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1");
        let known = Whereabouts::default();
        let check = |row_says: &str, expected: &str| {
            assert_eq!(known.of(&row(row_says)), Some(expected.parse().unwrap()));
        };
        check(old, old);
        known.note(&row(old), new.parse().unwrap());
        check(old, new);
        check(newest, newest);
        known.note(&row(old), old.parse().unwrap());
        check(old, old);
    }
}
