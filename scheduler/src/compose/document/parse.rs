//! YAML text into nodes.
//!
//! Built over parser events rather than a value type, because merging, `!reset` and `!override`
//! need tags, and messages need places. Aliases and `<<` are expanded here, with a budget: a file
//! that grows beyond it is refused before it has eaten the memory.

use std::collections::BTreeMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan, Tag as EventTag};

use super::complaint::explain;
use super::{Entry, Node, Tag, Text, Value};
use crate::compose::diagnostic::{Problems, Span};
use crate::compose::lint::Allowances;

/// As Docker Compose: more nodes than this are an attack or an accident.
const MAX_NODES: usize = 100_000;
/// Deeper trees could exhaust the stack of whoever walks them.
const MAX_DEPTH: usize = 100;

/// The documents of a file.
#[derive(Debug, Default)]
pub(in crate::compose) struct Documents {
    pub(in crate::compose) nodes: Vec<Node>,
    /// Whether a `!reset` or `!override` stands in one of them.
    pub(in crate::compose) tagged: bool,
}

/// Reads a file. What is wrong goes to `problems`; `None` is a file that could not be read to its end.
pub(in crate::compose) fn parse(
    text: &str,
    file: u32,
    problems: &mut Problems,
) -> Option<Documents> {
    let mut builder = Builder {
        file,
        problems,
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        documents: Documents::default(),
        nodes: 0,
        allows: false,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if let Err(Stop) = builder.event(&event, &span) {
                    return None;
                }
            }
            Err(error) => {
                let at = floor(text, error.marker().byte_offset().unwrap_or(0));
                let complaint = explain(&error.info(), text, at);
                let span = span(file, complaint.range.start, complaint.range.end);
                let diagnostic = builder.problems.error(span, complaint.title);
                diagnostic.set_code("yaml");
                if let Some(help) = complaint.help {
                    diagnostic.set_help(help);
                }
                return None;
            }
        }
    }
    let Builder {
        documents, allows, ..
    } = builder;
    if allows {
        for document in &documents.nodes {
            problems.add_allowances(document);
        }
    }
    Some(documents)
}

/// The budget is used up.
struct Stop;

struct Builder<'a> {
    file: u32,
    problems: &'a mut Problems,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, (Node, usize, usize)>,
    documents: Documents,
    nodes: usize,
    /// Whether something is allowed somewhere: nearly no file does, and not all need to be looked through.
    allows: bool,
}

/// A collection whose end has not come yet.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(Text, Span)>,
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
                    tag: self.merge_tag(tag.as_deref()),
                };
                self.spend(1, 0, span)?;
                self.finish(node, *anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Value::Seq(Vec::new()), span, *anchor, tag.as_deref())?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Value::Map(Box::default()), span, *anchor, tag.as_deref())?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => self.alias(*id, span)?,
            _ => {}
        }
        Ok(())
    }

    fn merge_tag(&mut self, tag: Option<&EventTag>) -> Tag {
        let tag = match tag.map(EventTag::parts) {
            Some((_, "reset")) => Tag::Reset,
            Some((_, "override")) => Tag::Override,
            _ => Tag::None,
        };
        self.documents.tagged |= tag != Tag::None;
        tag
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
            tag: self.merge_tag(tag),
        };
        self.frames.push(Frame {
            node,
            anchor,
            key: None,
            merges: Vec::new(),
        });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Stop> {
        let Some(mut frame) = self.frames.pop() else {
            return Ok(());
        };
        frame.node.span.end = frame.node.span.end.max(end.end);
        for source in std::mem::take(&mut frame.merges) {
            self.merge_key(&mut frame.node, source);
        }
        self.finish(frame.node, frame.anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some((_, size, height)) = self.anchors.get(&id) else {
            self.problems
                .error(span, "an alias cannot stand inside of what it refers to");
            return self.finish(Node::new(Value::Null, span), 0);
        };
        let (size, height) = (*size, *height);
        self.spend(size, height, span)?;
        if let Some((node, _, _)) = self.anchors.get(&id) {
            return self.finish(node.clone(), 0);
        }
        Ok(())
    }

    /// Hands a complete node to the collection around it.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let (size, height) = (node.size(), node.height());
            // Anchors within anchors each keep a copy of what is inside.
            self.spend(size, 0, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size, height));
        }
        let Some(frame) = self.frames.last_mut() else {
            self.documents.nodes.push(node);
            return Ok(());
        };
        match (&mut frame.node.value, frame.key.take()) {
            (Value::Seq(items), _) => items.push(node),
            (Value::Map(_), None) => {
                let key = match node.value {
                    Value::Plain(key) | Value::Text(key) => key,
                    _ => {
                        self.problems.error(
                            node.span,
                            format!("a key must be a string, not {}", node.kind()),
                        );
                        Text::new()
                    }
                };
                self.allows |= key == Allowances::KEY;
                frame.key = Some((key, node.span));
            }
            (Value::Map(_), Some((key, _))) if key == "<<" => frame.merges.push(node),
            (Value::Map(map), Some((key, span))) => {
                let entry = Entry { key: span, node };
                if let Some(earlier) = map.insert(key.clone(), entry) {
                    self.problems
                        .error(span, format!("key `{key}` is given twice"))
                        .set_code("conflict");
                    self.problems.relate(earlier.key, "first given here");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `<<: *a` and `<<: [*a, *b]`: adds what is not there; earlier sources win.
    fn merge_key(&mut self, into: &mut Node, source: Node) {
        match source.value {
            Value::Map(map) => {
                if let Some(into) = into.as_map_mut() {
                    for (key, entry) in *map {
                        into.get_or_insert_with(key, || entry);
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

/// The beginning of the character at an offset.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn span(file: u32, start: usize, end: usize) -> Span {
    let clamp = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        file,
        start: clamp(start),
        end: clamp(end),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&EventTag>) -> Value {
    let quoted =
        style != ScalarStyle::Plain || tag.is_some_and(|it| it.core_suffix() == Some("str"));
    match text {
        _ if quoted => Value::Text(text.into()),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Plain(text.into()),
    }
}
