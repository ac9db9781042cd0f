//! `HOST[:CONTAINER[:PERMISSIONS]]`.

use crate::compose::check::Checker;
use crate::compose::document::Node;

pub(in crate::compose) fn device(checker: &mut Checker<'_>, node: Node) -> Node {
    let span = node.span;
    let mut node = match node.as_str() {
        None => node,
        Some(text) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            if !source.starts_with('/') {
                let title = format!("{}: `{source}` is not an absolute path", checker.describe());
                let help = "devices by vendor name (CDI) are not supported yet";
                checker.problems.error(span, title).set_help(help);
            }
            let mut target = parts.next().unwrap_or(source);
            let mut permissions = parts.next();
            if permissions.is_none() && !target.starts_with('/') {
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
