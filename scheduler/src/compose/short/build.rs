//! Short forms within `build`.

use crate::compose::check::{Checker, is_remote};
use crate::compose::document::{Entry, Map, Node, Text, Value};

/// A string is the context. A context on this host becomes absolute.
pub(in crate::compose) fn build(checker: &mut Checker<'_>, node: Node) -> Node {
    let mut node = super::wrap(node, "context");
    if let Some((text, span)) = node
        .get("context")
        .and_then(|it| Some((it.as_str()?.to_owned(), it.span)))
        && !is_remote(&text)
    {
        let tag = node.get("context").map(|it| it.tag);
        let mut path = Node::text(checker.absolute(&text), span);
        path.tag = tag.unwrap_or(path.tag);
        node.set("context", path);
    }
    node
}

/// `NAME=CONTEXT`, or a mapping; contexts on this host become absolute.
pub(in crate::compose) fn contexts(checker: &mut Checker<'_>, mut node: Node) -> Node {
    match &mut node.value {
        Value::Map(map) => {
            for entry in map.values_mut() {
                let text = entry.node.as_str().map(|it| context(checker, it));
                if let Some(text) = text {
                    entry.node.value = Value::Text(text.into());
                }
            }
        }
        Value::Seq(items) => {
            let mut map = Map::default();
            for item in items.iter() {
                let Some((name, text)) = item.as_str().and_then(|it| it.split_once('=')) else {
                    return node;
                };
                let node = Node::text(context(checker, text), item.span);
                let key = item.span;
                map.insert(name.into(), Entry { key, node });
            }
            node.value = Value::Map(Box::new(map));
        }
        _ => {}
    }
    node
}

fn context(checker: &Checker<'_>, text: &str) -> String {
    match is_remote(text) || text.starts_with("service:") || text.starts_with("target:") {
        true => text.to_owned(),
        false => checker.absolute(text),
    }
}

/// `ID`, `ID=PATH`, a list of them or a mapping, into a list.
pub(in crate::compose) fn ssh(_: &mut Checker<'_>, node: Node) -> Node {
    let items = match &node.value {
        Value::Plain(_) | Value::Text(_) => vec![node.clone()],
        Value::Map(map) => map
            .iter()
            .map(|(id, entry)| {
                let text = match entry.node.as_str() {
                    Some(path) if !path.is_empty() => Text::from(format!("{id}={path}")),
                    _ => id.clone(),
                };
                Node::text(text, entry.key)
            })
            .collect(),
        _ => return node,
    };
    Node {
        value: Value::Seq(items),
        ..node
    }
}
