//! A YAML file as a tree whose every part knows where it was written.
//!
//! Built over parser events rather than a value type, because merging, `!reset` and `!override`
//! need tags, and messages need places. Aliases and `<<` are expanded here, with a budget: a file
//! that grows beyond it is refused before it has eaten the memory. Scalars stay as written; what
//! they mean is decided by whoever knows what is expected there.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan, Tag as EventTag};

use super::diagnostic::{Problems, Span};

/// As Docker Compose: more nodes than this are an attack or an accident.
const MAX_NODES: usize = 100_000;
/// Deeper trees could exhaust the stack of whoever walks them.
const MAX_DEPTH: usize = 100;

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
    Plain(String),
    Text(String),
    // The three below are made by `check`, never by the parser.
    Bool(bool),
    Int(i64),
    Float(f64),
    Seq(Vec<Node>),
    Map(Map),
}

pub(super) type Map = IndexMap<String, Entry>;

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

    pub(super) fn text(text: impl Into<String>, span: Span) -> Self {
        Self::new(Value::Text(text.into()), span)
    }

    pub(super) fn map(entries: impl IntoIterator<Item = (&'static str, Node)>, span: Span) -> Self {
        let entries = entries.into_iter().map(|(key, node)| {
            (
                key.to_owned(),
                Entry {
                    key: node.span,
                    node,
                },
            )
        });
        Self::new(Value::Map(entries.collect()), span)
    }

    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
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
        let node = &self.as_map()?.get(key)?.node;
        (!node.is_null()).then_some(node)
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
    pub(super) fn set(&mut self, key: impl Into<String>, node: Node) {
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
        self.as_map_mut()?.shift_remove(key)
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

/// The documents of a file. What is wrong goes to `problems`; `None` is a file that could not be
/// read to its end.
pub(super) fn parse(text: &str, file: u32, problems: &mut Problems) -> Option<Vec<Node>> {
    let mut builder = Builder {
        file,
        problems,
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        documents: Vec::new(),
        nodes: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if let Err(Stop) = builder.event(&event, &span) {
                    return None;
                }
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let span = span(file, at, at + 1);
                let mut title = error.info();
                title.retain(|it| it != '\n');
                builder
                    .problems
                    .error(span, format!("not valid YAML: {title}"));
                return None;
            }
        }
    }
    Some(builder.documents)
}

/// The budget is used up.
struct Stop;

struct Builder<'a> {
    file: u32,
    problems: &'a mut Problems,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, (Node, usize, usize)>,
    documents: Vec<Node>,
    nodes: usize,
}

/// A collection whose end has not come yet.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Span)>,
    merges: Vec<Node>,
}

impl Builder<'_> {
    fn event(&mut self, event: &Event<'_>, at: &EventSpan) -> Result<(), Stop> {
        let range = at.byte_range().unwrap_or(0..0);
        let span = span(self.file, range.start, range.end);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, *style, tag.as_deref());
                let node = Node {
                    value,
                    span,
                    tag: merge_tag(tag.as_deref()),
                };
                self.spend(1, 0, span)?;
                self.finish(node, *anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Value::Seq(Vec::new()), span, *anchor, tag.as_deref())?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Value::Map(Map::new()), span, *anchor, tag.as_deref())?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(*id, span)?,
            _ => {}
        }
        Ok(())
    }

    fn spend(&mut self, nodes: usize, height: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            self.problems.error(
                span,
                format!("the file expands to more than {MAX_NODES} values"),
            );
            return Err(Stop);
        }
        if self.frames.len() + height > MAX_DEPTH {
            self.problems.error(
                span,
                format!("the file is nested more than {MAX_DEPTH} levels deep"),
            );
            return Err(Stop);
        }
        Ok(())
    }

    fn open(
        &mut self,
        value: Value,
        span: Span,
        anchor: usize,
        tag: Option<&EventTag>,
    ) -> Result<(), Stop> {
        self.spend(1, 1, span)?;
        let node = Node {
            value,
            span,
            tag: merge_tag(tag),
        };
        self.frames.push(Frame {
            node,
            anchor,
            key: None,
            merges: Vec::new(),
        });
        Ok(())
    }

    fn close(&mut self, end: Span) {
        let Some(mut frame) = self.frames.pop() else {
            return;
        };
        frame.node.span.end = frame.node.span.end.max(end.end);
        for source in std::mem::take(&mut frame.merges) {
            self.merge_key(&mut frame.node, source);
        }
        self.finish(frame.node, frame.anchor);
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some((_, size, height)) = self.anchors.get(&id) else {
            self.problems
                .error(span, "an alias cannot stand inside of what it refers to");
            self.finish(Node::new(Value::Null, span), 0);
            return Ok(());
        };
        let (size, height) = (*size, *height);
        self.spend(size, height, span)?;
        if let Some((node, _, _)) = self.anchors.get(&id) {
            self.finish(node.clone(), 0);
        }
        Ok(())
    }

    /// Hands a complete node to the collection around it.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors
                .insert(anchor, (node.clone(), node.size(), node.height()));
        }
        let Some(frame) = self.frames.last_mut() else {
            self.documents.push(node);
            return;
        };
        match (&mut frame.node.value, frame.key.take()) {
            (Value::Seq(items), _) => items.push(node),
            (Value::Map(_), None) => {
                let key = match node.as_str() {
                    Some(key) => key.to_owned(),
                    None => {
                        self.problems.error(
                            node.span,
                            format!("a key must be a string, not {}", node.kind()),
                        );
                        String::new()
                    }
                };
                frame.key = Some((key, node.span));
            }
            (Value::Map(_), Some((key, _))) if key == "<<" => frame.merges.push(node),
            (Value::Map(map), Some((key, span))) => {
                if let Some(earlier) = map.get(&key) {
                    let earlier = earlier.key;
                    self.problems
                        .error(span, format!("key `{key}` is given twice"));
                    self.problems.relate(earlier, "first given here");
                }
                map.insert(key, Entry { key: span, node });
            }
            _ => {}
        }
    }

    /// `<<: *a` and `<<: [*a, *b]`: adds what is not there; earlier sources win.
    fn merge_key(&mut self, into: &mut Node, source: Node) {
        match source.value {
            Value::Map(map) => {
                if let Some(into) = into.as_map_mut() {
                    for (key, entry) in map {
                        into.entry(key).or_insert(entry);
                    }
                }
            }
            Value::Seq(items) => {
                for item in items {
                    if matches!(item.value, Value::Seq(_)) {
                        self.problems
                            .error(item.span, "`<<` takes mappings, not lists of lists");
                    } else {
                        self.merge_key(into, item);
                    }
                }
            }
            Value::Null => {}
            _ => {
                self.problems.error(
                    source.span,
                    "`<<` takes a mapping, usually an alias such as `*defaults`",
                );
            }
        }
    }
}

fn span(file: u32, start: usize, end: usize) -> Span {
    let clamp = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        file,
        start: clamp(start),
        end: clamp(end),
    }
}

fn merge_tag(tag: Option<&EventTag>) -> Tag {
    match tag.map(EventTag::parts) {
        Some((_, "reset")) => Tag::Reset,
        Some((_, "override")) => Tag::Override,
        _ => Tag::None,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&EventTag>) -> Value {
    let quoted =
        style != ScalarStyle::Plain || tag.is_some_and(|it| it.core_suffix() == Some("str"));
    match text {
        _ if quoted => Value::Text(text.to_owned()),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Plain(text.to_owned()),
    }
}
