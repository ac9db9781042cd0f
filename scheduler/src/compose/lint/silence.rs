//! How a file says that something is meant: a comment on the line or above it, or `x-wharfie`.
//!
//! ```text
//! # wharfie:allow privileged
//! privileged: true
//!
//! x-wharfie: {allow: [privileged]}   # in a service: for all of it; at the top: for the file
//! ```

use std::sync::Arc;

use super::Rule;
use crate::compose::diagnostic::{SourceText, Span};
use crate::compose::document::{Entry, Node};

const MARK: &str = "wharfie:allow";

/// What the files allow with `x-wharfie`.
#[derive(Debug, Default)]
pub(in crate::compose) struct Allowances {
    granted: Vec<(Span, Rule)>,
    unknown: Vec<(Span, String)>,
}

impl Allowances {
    pub(in crate::compose) const KEY: &str = "x-wharfie";

    /// Reads what a document allows, and where.
    pub(in crate::compose) fn collect(&mut self, document: &Node) {
        let whole = Span {
            start: 0,
            end: u32::MAX,
            ..document.span
        };
        self.walk(document, &[whole]);
    }

    /// `scopes` is the text that the node is about: itself and its key, which stand apart where an
    /// alias is used.
    fn walk(&mut self, node: &Node, scopes: &[Span]) {
        for (name, entry) in node.entries() {
            if name == Self::KEY {
                self.grant(entry, scopes);
            } else {
                self.walk(&entry.node, &[entry.key, entry.node.span]);
            }
        }
        for item in node.items() {
            self.walk(item, &[item.span]);
        }
    }

    fn grant(&mut self, entry: &Entry, scopes: &[Span]) {
        for name in allow_list(&entry.node) {
            let Some(text) = name.as_str() else { continue };
            match Rule::named(text) {
                Some(rule) => self.granted.extend(scopes.iter().map(|it| (*it, rule))),
                None => self.unknown.push((name.span, text.to_owned())),
            }
        }
    }

    pub(in crate::compose) fn allows(
        &self,
        rule: Rule,
        place: Option<(Span, &SourceText)>,
    ) -> bool {
        let Some((span, source)) = place else {
            return false;
        };
        let granted = |(scope, granted): &(Span, Rule)| *granted == rule && scope.contains(span);
        self.granted.iter().any(granted) || comment_allows(&source.text, span.start as usize, rule)
    }

    /// Names that are no rules, wherever they were to be allowed.
    pub(in crate::compose) fn unknown(&self, sources: &[Arc<SourceText>]) -> Vec<(Span, String)> {
        let mut unknown = self.unknown.clone();
        for (file, source) in sources.iter().enumerate() {
            for (at, _) in source.text.match_indices(MARK) {
                let Some((from, name)) =
                    names(&source.text, at).find(|it| Rule::named(it.1).is_none())
                else {
                    continue;
                };
                let clamp = |at| u32::try_from(at).unwrap_or(u32::MAX);
                let span = Span {
                    file: clamp(file),
                    start: clamp(from),
                    end: clamp(from + name.len()),
                };
                unknown.push((span, name.to_owned()));
            }
        }
        unknown
    }
}

/// Whether a node itself carries `x-wharfie` with the rule.
pub(super) fn allowed_by(node: &Node, rule: Rule) -> bool {
    let list = node.as_map().and_then(|it| it.get(Allowances::KEY));
    list.is_some_and(|it| allow_list(&it.node).any(|it| it.as_str() == Some(rule.name())))
}

fn allow_list(node: &Node) -> impl Iterator<Item = &Node> {
    let list = node.get("allow");
    let single = list.filter(|it| it.as_str().is_some());
    single
        .into_iter()
        .chain(list.map(Node::items).unwrap_or_default())
}

/// The comment on the line of `at`, or one of those right above it.
fn comment_allows(text: &str, at: usize, rule: Rule) -> bool {
    let mut line_start = text
        .get(..at)
        .and_then(|it| it.rfind('\n'))
        .map_or(0, |it| it + 1);
    if line_allows(text, line_start, rule) {
        return true;
    }
    while line_start > 0 {
        line_start = text[..line_start - 1].rfind('\n').map_or(0, |it| it + 1);
        if !text[line_start..].trim_start_matches(' ').starts_with('#') {
            return false;
        }
        if line_allows(text, line_start, rule) {
            return true;
        }
    }
    false
}

fn line_allows(text: &str, line_start: usize, rule: Rule) -> bool {
    let line = text[line_start..].lines().next().unwrap_or_default();
    let Some(at) = line.find(MARK) else {
        return false;
    };
    names(text, line_start + at).any(|(_, name)| name == rule.name())
}

/// The names after a mark, with their offsets: `# wharfie:allow ONE, TWO and a reason`.
fn names(text: &str, mark: usize) -> impl Iterator<Item = (usize, &str)> {
    let is_comment = text[..mark].trim_end_matches(' ').ends_with('#');
    let line = match is_comment {
        true => text[mark + MARK.len()..].lines().next().unwrap_or_default(),
        false => "",
    };
    let start = mark + MARK.len();
    let mut at = 0;
    let mut more = true;
    std::iter::from_fn(move || {
        if !more {
            return None;
        }
        let rest = &line[at..];
        let from = at + (rest.len() - rest.trim_start().len());
        let end = line[from..]
            .find(|it: char| !(it.is_ascii_alphanumeric() || it == '-'))
            .map_or(line.len(), |it| from + it);
        if from == end {
            return None;
        }
        more = line[end..].starts_with(',');
        at = end + 1;
        Some((start + from, &line[from..end]))
    })
}
