//! Identifiers of programs: what nobody can guess, then the node, so that whatever manager is asked
//! about a program finds it again.

use scheduler::model::id::NodeId;

/// Hex digits that nobody can guess; the node's own identifier follows.
const SECRET_DIGITS: usize = 32;

/// A new one, of a program on this node.
pub(super) fn new(node: &NodeId) -> String {
    let secret = hex::encode(rand::random::<[u8; SECRET_DIGITS / 2]>());
    format!("{secret}{node}")
}

/// The node on which a program was created.
pub(in crate::api) fn node_of(id: &str) -> Option<NodeId> {
    let node = id.get(SECRET_DIGITS..)?;
    (!node.is_empty()).then(|| NodeId::new(node))
}
