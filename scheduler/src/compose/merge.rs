//! One file over another.
//!
//! Both trees have been brought into canonical form, so the rules are few: mappings meet key by
//! key, lists are appended and made unique by what the schema names, everything else is replaced.
//! `!reset` and `!override` leave marks in the tree (`extends` merges first, files later), which
//! [`settle`] removes at the end.

use super::document::{Node, Tag, Value};
use super::schema::{Attribute, Form, Shape, TEXT_MAP, Union};

/// The tree in which `over` has been merged over `base`.
pub(super) fn merge(shape: &Shape, base: Node, over: Node) -> Node {
    match over.tag {
        Tag::Reset | Tag::Override => return over,
        // The program is the image's again.
        Tag::None if over.is_null() && is_replaced(shape) => return over,
        Tag::None if over.is_null() => return base,
        Tag::None if base.is_null() => return over,
        Tag::None => {}
    }
    match shape {
        Shape::Object(attributes) => merge_maps(base, over, &|key| attribute(attributes, key)),
        Shape::Map(item) => merge_maps(base, over, &|_| item),
        Shape::KeyValues(_) => merge_key_values(base, over),
        Shape::List { union, .. } => merge_lists(base, over, *union),
        Shape::Form(Form { long, .. }) => merge(long, base, over),
        Shape::Merged(merge, _) => merge(base, over),
        Shape::Any => merge_any(base, over),
        _ => over,
    }
}

fn is_replaced(shape: &Shape) -> bool {
    match shape {
        Shape::Form(Form { long, .. }) => is_replaced(long),
        Shape::List { union, .. } => matches!(union, Union::Replace),
        _ => false,
    }
}

/// Removes what was reset, and the marks.
pub(super) fn settle(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.tag != Tag::Reset);
            for entry in map.values_mut() {
                settle(&mut entry.node);
            }
        }
        Value::Seq(items) => {
            items.retain(|it| it.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

fn attribute<'a>(attributes: &'a [Attribute], key: &str) -> &'a Shape {
    attributes
        .iter()
        .find(|it| it.name == key)
        .map_or(&Shape::Any, |it| it.shape)
}

fn merge_maps(base: Node, over: Node, shape: &dyn Fn(&str) -> &'static Shape) -> Node {
    let tag = base.tag;
    match (base.value, over.value) {
        (Value::Map(mut into), Value::Map(from)) => {
            for (key, mut entry) in *from {
                if let Some(earlier) = into.get_mut(&key) {
                    let base =
                        std::mem::replace(&mut earlier.node, Node::new(Value::Null, entry.key));
                    entry.node = merge(shape(&key), base, entry.node);
                    *earlier = entry;
                } else {
                    into.insert(key, entry);
                }
            }
            Node {
                value: Value::Map(into),
                span: over.span,
                tag,
            }
        }
        (_, value) => Node { value, ..over },
    }
}

/// A key without a value is a value of its own here, "from the environment".
fn merge_key_values(mut base: Node, over: Node) -> Node {
    if let (Value::Map(into), Value::Map(from)) = (&mut base.value, over.value) {
        into.extend(*from);
    }
    base
}

fn merge_lists(base: Node, over: Node, union: Union) -> Node {
    let tag = base.tag;
    let (Value::Seq(mut into), Value::Seq(from)) = (base.value, over.value.clone()) else {
        return over;
    };
    if matches!(union, Union::Replace) {
        return over;
    }
    into.extend(from);
    let items = unique(into, union);
    Node {
        value: Value::Seq(items),
        span: over.span,
        tag,
    }
}

/// Later items take the place of earlier ones with the same key.
pub(super) fn unique(items: Vec<Node>, union: Union) -> Vec<Node> {
    let key: fn(&Node) -> Option<String> = match union {
        _ if items.len() < 2 => return items,
        Union::Append | Union::Replace => return items,
        Union::Values => |it| it.as_str().map(str::to_owned),
        Union::By(key) => key,
    };
    let mut kept: indexmap::IndexMap<String, Node> = indexmap::IndexMap::new();
    for (at, item) in items.into_iter().enumerate() {
        // What has no key is never the same as something else.
        let key = key(&item).unwrap_or_else(|| format!("\0{at}"));
        kept.insert(key, item);
    }
    kept.into_values().collect()
}

fn merge_any(base: Node, over: Node) -> Node {
    match (&base.value, &over.value) {
        (Value::Map(_), Value::Map(_)) => merge_maps(base, over, &|_| &Shape::Any),
        (Value::Seq(_), Value::Seq(_)) => merge_lists(base, over, Union::Append),
        _ => over,
    }
}

/// `logging`: options are merged only while the driver stays the same.
pub(super) fn merge_logging(base: Node, over: Node) -> Node {
    let same = match (base.get_str("driver"), over.get_str("driver")) {
        (Some(base), Some(over)) => base == over,
        _ => true,
    };
    if !same {
        return over;
    }
    merge_maps(base, over, &|_| &TEXT_MAP)
}

/// Replaces the whole.
pub(super) fn replace(_base: Node, over: Node) -> Node {
    over
}
