//! `HOST[:CONTAINER[:PERMISSIONS]]`, and `all` for every device of a kind.

use crate::compose::check::Checker;
use crate::compose::document::{Node, Value};

pub(in crate::compose) fn device(checker: &mut Checker<'_>, node: Node) -> Node {
    let span = node.span;
    let mut node = match node.as_str() {
        None => node,
        Some(text) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            if !is_vendor_name(source) && !source.starts_with('/') && !checker.is_template(text) {
                let title = format!("{}: `{source}` is not an absolute path", checker.describe());
                checker.problems.error(span, title);
            }
            let mut target = parts.next().unwrap_or(source);
            let mut permissions = parts.next();
            if permissions.is_none() && is_permissions(target) {
                (target, permissions) = (source, Some(target));
            }
            let texts = [
                ("source", source),
                ("target", target),
                ("permissions", permissions.unwrap_or("rwm")),
            ];
            Node::map(texts.map(|(key, text)| (key, Node::text(text, span))), span)
        }
    };
    if node.get("target").is_none()
        && let Some(source) = node.get("source").cloned()
    {
        node.set("target", source);
    }
    if node.as_map().is_some() && node.get("permissions").is_none() {
        node.set("permissions", Node::text("rwm", span));
    }
    node
}

/// `vendor.com/class=name`, as the Container Device Interface writes it.
pub(in crate::compose) fn is_vendor_name(text: &str) -> bool {
    !text.starts_with('/') && text.contains('/') && text.contains('=')
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| matches!(it, 'r' | 'w' | 'm'))
}

/// `gpus: all`.
pub(in crate::compose) fn all(_: &mut Checker<'_>, node: Node) -> Node {
    if node.as_str() != Some("all") {
        return node;
    }
    let span = node.span;
    let every = Node::map([("count", Node::new(Value::Int(EVERY), span))], span);
    Node {
        value: Value::Seq(vec![every]),
        ..node
    }
}

/// A request that names no device and no count means every one.
pub(in crate::compose) fn every(_: &mut Checker<'_>, mut node: Node) -> Node {
    if node.get("count").is_none() && node.get("device_ids").is_none() {
        node.set("count", Node::new(Value::Int(EVERY), node.span));
    }
    node
}

/// `count: all`.
pub(in crate::compose) fn count(_: &mut Checker<'_>, node: Node) -> Node {
    match node.as_str() {
        Some("all") => Node {
            value: Value::Int(EVERY),
            ..node
        },
        _ => node,
    }
}

/// How "all there are" is written in canonical form.
const EVERY: i64 = -1;
