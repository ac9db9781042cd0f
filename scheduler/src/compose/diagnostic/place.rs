//! Pieces of the files' text, in bytes for us and in lines and columns for people.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A piece of text in one of the files that are being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compose) struct Span {
    pub(in crate::compose) file: u32,
    /// Byte offsets, the end excluded.
    pub(in crate::compose) start: u32,
    pub(in crate::compose) end: u32,
}

impl Span {
    /// Whether the other piece is a part of this one.
    pub(in crate::compose) fn contains(self, other: Span) -> bool {
        other.file == self.file && other.start >= self.start && other.end <= self.end
    }
}

/// A file as it was read.
#[derive(Debug)]
pub(in crate::compose) struct SourceText {
    pub(in crate::compose) path: PathBuf,
    pub(in crate::compose) text: String,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) span: Span,
    pub(super) source: Arc<SourceText>,
}

impl Place {
    /// The text to underline: at most the rest of the first line, never half a character.
    pub(super) fn range(&self) -> Range<usize> {
        let text = &self.source.text;
        let start = floor(text, self.span.start as usize);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, self.span.end as usize).clamp(start, line_end);
        let trimmed = start + text[start..end].trim_end().len();
        start..trimmed.max(start)
    }

    /// Whether it is the same text, perhaps of another time the file was read.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source.path == other.source.path && self.range() == other.range()
    }

    /// Line and column of the first character, both from one.
    pub(super) fn start(&self) -> (usize, usize) {
        position(&self.source.text, self.range().start)
    }

    /// Line and column after the last underlined character, both from one.
    pub(super) fn end(&self) -> (usize, usize) {
        position(&self.source.text, self.range().end)
    }
}

/// Line and column, both from one; the column counts characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
