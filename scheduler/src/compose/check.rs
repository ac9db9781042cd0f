//! Holds a tree against its shape: refuses what does not belong, and brings short forms, sizes,
//! durations and paths into the one form that merging and everything after it understand.
//!
//! The tables in [`schema`](super::schema) say what belongs where. A wrong part is reported and
//! becomes null, so that the rest can still be looked at.

mod describe;
mod hint;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::diagnostic::{Problems, Span};
use super::document::{Entry, Map, Node, Tag, Text, Value};
use super::lint::Rule;
use super::merge::unique;
use super::schema::{Attribute, Form, Keyless, Shape, Support, Union};
use super::value;
pub use describe::nearest;

pub(super) struct Checker<'a> {
    pub(super) problems: &'a mut Problems,
    pub(super) paths: Paths<'a>,
    pub(super) home: Option<&'a str>,
    /// Whether variables still stand in the texts (`config --no-interpolate`).
    pub(super) templates: bool,
    /// From the top of the file to the node in question.
    pub(super) path: Vec<Step>,
    /// Ports that ranges stand for, so far and in all files.
    pub(super) ports: &'a mut usize,
}

/// Into a mapping or a list.
pub(super) enum Step {
    Key(Text),
    Item(usize),
}

/// What becomes of relative paths.
#[derive(Clone, Copy)]
pub(super) enum Paths<'a> {
    /// They are meant from here, and become absolute.
    Absolute(&'a Path),
    /// They stay relative (`config --no-path-resolution`), but those of a file of another directory
    /// are from now on meant from the project's.
    Relative {
        directory: &'a Path,
        project: &'a Path,
    },
}

impl Checker<'_> {
    pub(super) fn check(&mut self, shape: &Shape, node: Node) -> Node {
        if node.is_null() || node.tag == Tag::Reset {
            return Node {
                value: Value::Null,
                ..node
            };
        }
        // What it will be is not known yet: it stays as it is.
        if node.as_str().is_some_and(|it| self.is_template(it)) {
            return node;
        }
        let Node { span, tag, .. } = node;
        let checked = match shape {
            Shape::Any => node,
            Shape::Text => self.scalar(node, "a string", |text| Some(Value::Text(text.clone()))),
            Shape::Bool => self.scalar(node, "true or false", |text| {
                value::parse_bool(text).map(Value::Bool)
            }),
            Shape::Int { min } => {
                let wanted = match min {
                    Some(0) => "a whole number from 0",
                    Some(1) => "a whole number from 1",
                    _ => "a whole number",
                };
                let good = |it: &i64| min.is_none_or(|min| *it >= min);
                self.scalar(node, wanted, |text| {
                    value::parse_int(text).filter(good).map(Value::Int)
                })
            }
            Shape::Float => self.scalar(node, "a number", |text| {
                let number = text
                    .parse::<f64>()
                    .ok()
                    .filter(|it| it.is_finite() && *it >= 0.0);
                number.map(Value::Float)
            }),
            Shape::Size => self.parsed(node, |text| {
                value::parse_size(text).map(|it| it.to_string())
            }),
            Shape::Duration => self.parsed(node, |text| {
                value::parse_duration(text).map(value::format_duration)
            }),
            Shape::Mode => self.mode(node),
            Shape::Path => self.path_text(node),
            Shape::OneOf { good, later } => self.one_of(node, good, later),
            Shape::List { item, union } => self.list(node, item, *union),
            Shape::Map(item) => self.map(node, item),
            Shape::KeyValues(keyless) => self.key_values(node, *keyless),
            Shape::Object(attributes) => self.object(node, attributes),
            Shape::Form(Form { long, short }) => {
                let node = short(self, node);
                self.check(long, node)
            }
            Shape::Either(scalar, object) => {
                let shape = if node.as_map().is_some() {
                    object
                } else {
                    scalar
                };
                self.check(shape, node)
            }
            Shape::Merged(_, inner) => self.check(inner, node),
        };
        Node {
            span,
            tag,
            ..checked
        }
    }

    /// Reports and gives null.
    pub(super) fn wrong(&mut self, span: Span, wanted: &str, found: &str) -> Node {
        self.wrong_with(span, wanted, found, None)
    }

    /// The same, with what to write instead.
    pub(super) fn wrong_with(
        &mut self,
        span: Span,
        wanted: &str,
        found: &str,
        help: Option<String>,
    ) -> Node {
        let title = format!("{} must be {wanted}, not {found}", self.describe());
        let diagnostic = self.problems.error(span, title);
        if let Some(help) = help {
            diagnostic.set_help(help);
        }
        Node::new(Value::Null, span)
    }

    fn scalar(
        &mut self,
        node: Node,
        wanted: &str,
        convert: impl Fn(&Text) -> Option<Value>,
    ) -> Node {
        let text = match &node.value {
            Value::Plain(text) | Value::Text(text) => text,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => return node,
            _ => {
                let found = node.kind();
                return self.wrong(node.span, wanted, found);
            }
        };
        match convert(text) {
            Some(value) => Node { value, ..node },
            None => {
                let found = format!("`{text}`");
                self.wrong(node.span, wanted, &found)
            }
        }
    }

    fn parsed(
        &mut self,
        node: Node,
        convert: impl Fn(&str) -> Result<String, value::ValueError>,
    ) -> Node {
        let Some(text) = node.as_str() else {
            let found = node.kind();
            return self.wrong(node.span, "a string", found);
        };
        match convert(text) {
            Ok(text) => Node {
                value: Value::Text(text.into()),
                ..node
            },
            Err(error) => {
                let title = format!("{}: {error}", self.describe());
                self.problems.error(node.span, title).set_help(error.hint());
                Node::new(Value::Null, node.span)
            }
        }
    }

    /// Permission bits. A quoted number is octal; an unquoted one is what YAML makes of it.
    fn mode(&mut self, node: Node) -> Node {
        let number = match &node.value {
            Value::Plain(text) => value::parse_int(text).and_then(|it| u32::try_from(it).ok()),
            _ => None,
        };
        match number {
            Some(mode) if mode <= 0o7777 => {
                let plain_decimal = node.as_str().is_some_and(|it| it.len() == 3);
                if plain_decimal {
                    let title = format!(
                        "{} is a decimal number here, the permissions {mode:04o}",
                        self.describe()
                    );
                    let help = format!("write `0{mode}` for the usual octal notation");
                    self.problems
                        .warn(Rule::DecimalMode, node.span, title)
                        .set_help(help);
                }
                Node {
                    value: Value::Text(format!("{mode:04o}").into()),
                    ..node
                }
            }
            _ => self.parsed(node, |text| {
                value::parse_mode(text).map(|it| format!("{it:04o}"))
            }),
        }
    }

    fn path_text(&mut self, node: Node) -> Node {
        let Some(text) = node.as_str() else {
            let found = node.kind();
            return self.wrong(node.span, "a path", found);
        };
        let text = self.absolute(text);
        Node {
            value: Value::Text(text.into()),
            ..node
        }
    }

    /// The path seen from the directory of the file, with `~` and `..` resolved.
    pub(super) fn absolute(&self, text: &str) -> String {
        if text.starts_with('/') || self.is_template(text) || is_remote(text) {
            return text.to_owned();
        }
        let directory = match self.paths {
            Paths::Absolute(directory) => directory,
            Paths::Relative { directory, project } if directory == project => {
                return text.to_owned();
            }
            Paths::Relative { directory, project } => {
                let seen = clean(&directory.join(text));
                let seen = seen.strip_prefix(clean(project)).unwrap_or(&seen);
                return seen.to_string_lossy().into_owned();
            }
        };
        let path = match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ => text.to_owned(),
        };
        clean(&directory.join(path)).to_string_lossy().into_owned()
    }

    fn one_of(&mut self, node: Node, good: &[&str], later: &[&str]) -> Node {
        let (Value::Plain(text) | Value::Text(text)) = &node.value else {
            let found = node.kind();
            return self.wrong(node.span, "a string", found);
        };
        if text.is_empty() {
            return Node::new(Value::Null, node.span);
        }
        let help = || {
            let names: Vec<_> = good.iter().map(|it| format!("`{it}`")).collect();
            match names.as_slice() {
                [only] => format!("write {only}"),
                _ => format!("write one of {}", names.join(", ")),
            }
        };
        if later.contains(&text.as_str()) {
            let title = format!("`{text}` as {} is not supported yet", self.describe());
            self.problems.unsupported(node.span, title).set_help(help());
        } else if !good.contains(&text.as_str()) {
            let title = format!("{} cannot be `{text}`", self.describe());
            let contained = good.iter().copied().find(|it| it.contains(text.as_str()));
            let meant = nearest(text, good.iter().copied()).or(contained);
            let diagnostic = self.problems.error(node.span, title);
            match meant {
                Some(meant) => diagnostic.suggest(meant),
                None => diagnostic.set_help(help()),
            };
            return Node::new(Value::Null, node.span);
        }
        Node {
            value: Value::Text(text.clone()),
            ..node
        }
    }

    fn list(&mut self, node: Node, item: &Shape, union: Union) -> Node {
        let Value::Seq(items) = node.value else {
            let found = node.kind();
            let help = node
                .as_str()
                .map(|it| match it.contains([' ', ':', ',', '#']) {
                    true => format!("a list of one is written `[\"{it}\"]`"),
                    false => format!("a list of one is written `[{it}]`"),
                });
            return self.wrong_with(node.span, "a list", found, help);
        };
        let mut checked = Vec::new();
        for (at, it) in items.into_iter().enumerate() {
            if it.is_null() && it.tag == Tag::None {
                let title = format!("{} has an empty item", self.describe());
                self.problems.error(it.span, title);
                continue;
            }
            self.path.push(Step::Item(at));
            checked.push(self.check(item, it));
            self.path.pop();
        }
        checked.retain(|it| !it.is_null());
        if let Union::By(key) = union {
            self.warn_about_repetitions(&checked, key);
        }
        Node {
            value: Value::Seq(unique(checked, union)),
            ..node
        }
    }

    /// Two items for one target: the later one wins, as in Docker Compose, but not in silence.
    fn warn_about_repetitions(&mut self, items: &[Node], key: fn(&Node) -> Option<String>) {
        if items.len() < 2 {
            return;
        }
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        for item in items {
            let Some(name) = key(item) else { continue };
            let Some(earlier) = seen.insert(name.clone(), item.span) else {
                continue;
            };
            if earlier != item.span {
                let title = format!(
                    "{}: only the last item for {name} has an effect",
                    self.describe()
                );
                self.problems.warn(Rule::RepeatedItem, earlier, title);
                self.problems.relate(item.span, "the other one");
            }
        }
    }

    fn warn_about_repetition(&mut self, map: &Map, key: &str, again: Span) {
        let Some(earlier) = map.get(key) else { return };
        let title = format!("{}: only the last `{key}` has an effect", self.describe());
        self.problems.warn(Rule::RepeatedItem, earlier.key, title);
        self.problems.relate(again, "the other one");
    }

    fn map(&mut self, node: Node, item: &Shape) -> Node {
        let Value::Map(mut map) = node.value else {
            let found = node.kind();
            let first = node.items().first().and_then(Node::as_str);
            let help = first.map(|it| format!("write names as keys: `{it}:` in place of `- {it}`"));
            return self.wrong_with(node.span, "a mapping", found, help);
        };
        self.values(&mut map, item);
        Node {
            value: Value::Map(map),
            ..node
        }
    }

    fn values(&mut self, map: &mut Map, shape: &Shape) {
        for (key, entry) in map {
            self.entry(key, entry, shape);
        }
    }

    fn entry(&mut self, key: &Text, entry: &mut Entry, shape: &Shape) {
        self.path.push(Step::Key(key.clone()));
        let empty = Node::new(Value::Null, entry.node.span);
        let node = std::mem::replace(&mut entry.node, empty);
        entry.node = self.check(shape, node);
        self.path.pop();
    }

    /// A mapping, or a list of `KEY=VALUE`, into a mapping of strings.
    fn key_values(&mut self, node: Node, keyless: Keyless) -> Node {
        let map = match node.value {
            Value::Map(mut map) => {
                self.values(&mut map, &Shape::Text);
                map.values_mut().for_each(|it| keyless.fill(&mut it.node));
                map
            }
            Value::Seq(items) => {
                let mut map = Box::new(Map::default());
                for item in items {
                    let Some(text) = item.as_str() else {
                        let found = item.kind();
                        let pair = item.entries().next();
                        let help = pair.map(|(key, entry)| {
                            let value = entry.node.as_str().unwrap_or_default();
                            format!("write `- {key}={value}`, or `{key}: {value}` without the `-`")
                        });
                        self.wrong_with(item.span, "a list of `KEY=VALUE`", found, help);
                        continue;
                    };
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (Text::from(key), Value::Text(value.into())),
                        None => (Text::from(text), Value::Null),
                    };
                    if key.is_empty() {
                        self.problems
                            .error(item.span, format!("`{text}` has no name before `=`"));
                        continue;
                    }
                    let mut node = Node { value, ..item };
                    keyless.fill(&mut node);
                    self.warn_about_repetition(&map, &key, node.span);
                    map.insert(
                        key,
                        Entry {
                            key: node.span,
                            node,
                        },
                    );
                }
                map
            }
            _ => {
                let found = node.kind();
                let help = node
                    .as_str()
                    .map(|it| format!("a list of one is written `[{it}]`"));
                let wanted = "a mapping or a list of `KEY=VALUE`";
                return self.wrong_with(node.span, wanted, found, help);
            }
        };
        Node {
            value: Value::Map(map),
            ..node
        }
    }

    fn object(&mut self, node: Node, attributes: &[Attribute]) -> Node {
        let Value::Map(mut map) = node.value else {
            let found = node.kind();
            let help = self.instead_of_mapping(&node);
            return self.wrong_with(node.span, "a mapping", found, help);
        };
        map.retain(|key, entry| {
            if key.starts_with("x-") {
                return true;
            }
            let Some(attribute) = attributes.iter().find(|it| it.name == key) else {
                self.unknown(key, entry, attributes);
                return false;
            };
            self.support(attribute, entry);
            self.entry(key, entry, attribute.shape);
            true
        });
        Node {
            value: Value::Map(map),
            ..node
        }
    }

    /// Says if the attribute is without effect, or cannot be run yet.
    fn support(&mut self, attribute: &Attribute, entry: &Entry) {
        let key = attribute.name;
        match attribute.support {
            Support::Done => {}
            Support::Later(_) | Support::Ignored(..) if entry.node.is_null() => {}
            Support::Later(help) => {
                let title = format!("`{key}` is not supported yet{}", self.within());
                let diagnostic = self.problems.unsupported(entry.key, title);
                if !help.is_empty() {
                    diagnostic.set_help(help);
                }
            }
            Support::Ignored(rule, why) => {
                let title = format!("`{key}` has no effect{}: {why}", self.within());
                self.problems.warn(rule, entry.key, title);
            }
        }
    }

    fn unknown(&mut self, key: &str, entry: &Entry, attributes: &[Attribute]) {
        let title = format!("unknown key `{key}`{}", self.within());
        let names = attributes.iter().map(|it| it.name);
        let meant = nearest(key, names);
        let home = self.home_of(key, attributes);
        let diagnostic = self.problems.error(entry.key, title);
        diagnostic.set_code("unknown-key");
        if let Some(meant) = meant {
            diagnostic.suggest(meant);
        } else if let Some(home) = home {
            diagnostic.set_help(home);
        } else if self.path.is_empty() && entry.node.as_map().is_some() {
            diagnostic
                .set_help("services stand under `services:`; keys of your own begin with `x-`");
        }
    }

    pub(super) fn is_template(&self, text: &str) -> bool {
        self.templates && text.contains('$')
    }
}

/// Whether a text names something that is not on this host, rather than a path.
pub(super) fn is_remote(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/")
}

/// Removes `.` and `..` from an absolute path without looking at the disk.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}
