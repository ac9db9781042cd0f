//! Nodes that managers see, and that do not see each other.

use crate::model::node::{Node, NodeStatus};
use crate::model::time::Timestamp;
use crate::state::State;

/// The nodes whose containers those of a node do not reach, and since when.
///
/// Of nodes that are down there is more to say than that; what they said themselves is out of date.
pub fn cut_off<'a>(
    state: &'a State,
    node: &'a Node,
) -> impl Iterator<Item = (&'a Node, Timestamp)> {
    let ready = |it: &&Node| it.status == NodeStatus::Ready;
    let rows = Some(node).filter(ready).into_iter();
    let rows = rows.flat_map(|node| &node.cut_off);
    rows.filter_map(move |(other, since)| {
        let other = state.nodes.get(other).map(AsRef::as_ref).filter(ready)?;
        Some((other, *since))
    })
}
