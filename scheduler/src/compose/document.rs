//! A YAML file as a tree whose every part knows where it was written.
//!
//! Scalars stay as written; what they mean is decided by whoever knows what is expected there.

mod complaint;
mod map;
mod parse;

use super::diagnostic::Span;
pub(super) use map::Map;
pub(super) use parse::{Documents, parse};

/// A key or a scalar. Up to 15 bytes, as nearly all have, lie in the node itself: there is nothing to
/// allocate, and who looks for a key reads one piece of memory.
pub(super) type Text = ecow::EcoString;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
    pub(super) tag: Tag,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// An unquoted scalar, whose meaning depends on the place.
    Plain(Text),
    Text(Text),
    // The three below are made by `check`, never by the parser.
    Bool(bool),
    Int(i64),
    Float(f64),
    Seq(Vec<Node>),
    /// In a box: most nodes are scalars, and a map is larger than all else.
    Map(Box<Map>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) node: Node,
}

/// What a file says about merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    /// `!reset`: what was there is gone.
    Reset,
    /// `!override`: takes the place of what was there, unmerged.
    Override,
}

impl Node {
    pub(super) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            tag: Tag::None,
        }
    }

    pub(super) fn text(text: impl Into<Text>, span: Span) -> Self {
        Self::new(Value::Text(text.into()), span)
    }

    pub(super) fn map(entries: impl IntoIterator<Item = (&'static str, Node)>, span: Span) -> Self {
        let entries = entries.into_iter().map(|(key, node)| {
            (
                Text::from(key),
                Entry {
                    key: node.span,
                    node,
                },
            )
        });
        Self::new(Value::Map(Box::new(entries.collect())), span)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of a scalar that has not been given another type.
    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; nothing for any other node.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.as_map()
            .into_iter()
            .flatten()
            .map(|(key, entry)| (key.as_str(), entry))
    }

    /// The value under a key, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.as_map()?.get(key)?;
        (!entry.node.is_null()).then_some(&entry.node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key).map(|it| &mut it.node)
    }

    pub(super) fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub(super) fn get_bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn get_int(&self, key: &str) -> Option<i64> {
        match self.get(key)?.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn get_float(&self, key: &str) -> Option<f64> {
        match self.get(key)?.value {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    /// Puts a value under a key; other nodes than mappings stay as they are.
    pub(super) fn set(&mut self, key: impl Into<Text>, node: Node) {
        if let Some(map) = self.as_map_mut() {
            map.insert(
                key.into(),
                Entry {
                    key: node.span,
                    node,
                },
            );
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        self.as_map_mut()?.remove(key)
    }

    /// Whether it is the same but for the place where it was written.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Seq(a), Value::Seq(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_the_same(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                let same = |(key, it): (&Text, &Entry)| {
                    b.get(key).is_some_and(|b| it.node.says_the_same(&b.node))
                };
                a.len() == b.len() && a.iter().all(same)
            }
            (a, b) => a == b,
        }
    }

    /// What kind of thing it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "empty",
            Value::Plain(_) | Value::Text(_) => "a string",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::Seq(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(map) => 1 + map.values().map(|it| it.node.size()).sum::<usize>(),
            _ => 1,
        }
    }

    fn height(&self) -> usize {
        match &self.value {
            Value::Seq(items) => 1 + items.iter().map(Node::height).max().unwrap_or(0),
            Value::Map(map) => 1 + map.values().map(|it| it.node.height()).max().unwrap_or(0),
            _ => 1,
        }
    }
}
