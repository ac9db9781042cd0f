//! What is wrong with the files, shown the way rustc shows it.
//!
//! A [`Diagnostic`] knows the text it speaks of, so that it can be shown long after loading:
//!
//! ```text
//! error: unknown key `enviroment` in service `web`
//!  --> compose.yaml:4:5
//!   |
//! 4 |     enviroment:
//!   |     ^^^^^^^^^^
//! help: did you mean `environment`?
//! ```
//!
//! [`Problems`] collects them while the files are read; nothing stops at the first.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A piece of text in one of the files that are being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: u32,
    /// Byte offsets, the end excluded.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct SourceText {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem, with the text it is about.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    severity: Severity,
    title: String,
    help: Option<String>,
    place: Option<Place>,
    /// Where something else stands that matters here, and what it is.
    related: Option<(Place, String)>,
}

#[derive(Clone, Debug)]
struct Place {
    span: Span,
    source: Arc<SourceText>,
}

impl Place {
    /// The text to underline: at most the rest of the first line, never half a character.
    fn range(&self) -> Range<usize> {
        let text = &self.source.text;
        let start = floor(text, self.span.start as usize);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, self.span.end as usize).clamp(start, line_end);
        let trimmed = start + text[start..end].trim_end().len();
        start..trimmed.max(start)
    }

    /// Line and column, both from one; the column counts characters.
    fn position(&self) -> (usize, usize) {
        let before = &self.source.text[..self.range().start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Diagnostic {
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line without position.
    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// File, line and column (from one), if the problem has a place.
    pub fn position(&self) -> Option<(&Path, usize, usize)> {
        let place = self.place.as_ref()?;
        let (line, column) = place.position();
        Some((&place.source.path, line, column))
    }

    /// The diagnostic as text of several lines, without a newline at the end.
    pub fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = self
            .place
            .as_ref()
            .map(|it| it.source.path.to_string_lossy());
        let other_path = self
            .related
            .as_ref()
            .map(|(it, _)| it.source.path.to_string_lossy());
        let title = level.primary_title(&self.title);
        let mut report = Vec::new();
        match (&self.place, &path) {
            (Some(place), Some(path)) => {
                let mut snippet = Snippet::source(&place.source.text)
                    .path(path.as_ref())
                    .annotation(AnnotationKind::Primary.span(place.range()));
                if let Some((other, label)) = &self.related
                    && Arc::ptr_eq(&other.source, &place.source)
                {
                    snippet = snippet
                        .annotation(AnnotationKind::Context.span(other.range()).label(label));
                }
                report.push(title.element(snippet));
            }
            _ => report.push(Group::with_title(title)),
        }
        if let (Some((other, label)), Some(other_path), Some(place)) =
            (&self.related, &other_path, &self.place)
            && !Arc::ptr_eq(&other.source, &place.source)
        {
            let snippet = Snippet::source(&other.source.text)
                .path(other_path.as_ref())
                .annotation(AnnotationKind::Primary.span(other.range()));
            report.push(Level::NOTE.secondary_title(label).element(snippet));
        }
        if let Some(help) = &self.help {
            report.push(Group::with_title(Level::HELP.secondary_title(help)));
        }
        if self.place.is_some() {
            return renderer.render(&report).to_string();
        }
        // Titles without a text between them would be joined by an empty margin.
        let titles = report
            .iter()
            .map(|it| renderer.render(std::slice::from_ref(it)).to_string());
        titles.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn set_help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

/// Why the files cannot be loaded: every problem of the run, in the order of the files.
#[derive(Clone, Debug)]
pub struct Failure {
    pub errors: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

/// Whether text for people carries colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Plain,
    Ansi,
}

impl Failure {
    /// All errors, separated by empty lines. Warnings are left to the caller.
    pub fn render(&self, color: Color) -> String {
        render_all(&self.errors, color)
    }
}

/// Diagnostics as text, separated by empty lines.
pub fn render_all(diagnostics: &[Diagnostic], color: Color) -> String {
    let renderer = match color {
        Color::Plain => Renderer::plain(),
        Color::Ansi => Renderer::styled(),
    };
    let texts: Vec<_> = diagnostics.iter().map(|it| it.render(&renderer)).collect();
    texts.join("\n\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Color::Plain))
    }
}

impl std::error::Error for Failure {}

/// Collects problems, and the texts they are about.
#[derive(Debug, Default)]
pub(super) struct Problems {
    sources: Vec<Arc<SourceText>>,
    found: Vec<Diagnostic>,
}

impl Problems {
    /// Takes a file's text; its number goes into the spans.
    pub(super) fn add_source(&mut self, path: &Path, text: &str) -> u32 {
        self.sources.push(Arc::new(SourceText {
            path: path.to_owned(),
            text: text.to_owned(),
        }));
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn error(&mut self, span: Span, title: impl Into<String>) -> &mut Diagnostic {
        let place = self.place(span);
        self.push(Severity::Error, place, title.into())
    }

    pub(super) fn warn(&mut self, span: Span, title: impl Into<String>) -> &mut Diagnostic {
        let place = self.place(span);
        self.push(Severity::Warning, place, title.into())
    }

    /// An error that no text of a file is to blame for.
    pub(super) fn error_without_place(&mut self, title: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, title.into())
    }

    pub(super) fn relate(&mut self, span: Span, label: impl Into<String>) {
        let place = self.place(span);
        if let (Some(last), Some(place)) = (self.found.last_mut(), place) {
            last.related = Some((place, label.into()));
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|it| it.severity == Severity::Error)
    }

    /// Whether something inside of the span has been reported.
    pub(super) fn has_error_within(&self, span: Span) -> bool {
        let within =
            |it: Span| it.file == span.file && it.start >= span.start && it.end <= span.end;
        let errors = self
            .found
            .iter()
            .filter(|it| it.severity == Severity::Error);
        errors
            .filter_map(|it| it.place.as_ref())
            .any(|it| within(it.span))
    }

    /// The text of the file that the span speaks of.
    pub(super) fn text(&self, span: Span) -> &str {
        let source = self
            .sources
            .get(span.file as usize)
            .map_or("", |it| it.text.as_str());
        source
            .get(span.start as usize..span.end as usize)
            .unwrap_or("")
    }

    /// Errors and warnings, each sorted by place, without repetitions.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        self.found.sort_by(|a, b| {
            let key = |it: &Diagnostic| it.place.as_ref().map(|place| place.span);
            key(a).cmp(&key(b)).then_with(|| a.title.cmp(&b.title))
        });
        let same = |a: &mut Diagnostic, b: &mut Diagnostic| {
            a.title == b.title
                && a.place.as_ref().map(|it| it.span) == b.place.as_ref().map(|it| it.span)
        };
        self.found.dedup_by(same);
        self.found
            .into_iter()
            .partition(|it| it.severity == Severity::Error)
    }

    fn place(&self, span: Span) -> Option<Place> {
        let source = self.sources.get(span.file as usize)?;
        Some(Place {
            span,
            source: Arc::clone(source),
        })
    }

    fn push(&mut self, severity: Severity, place: Option<Place>, title: String) -> &mut Diagnostic {
        let at = self.found.len();
        self.found.push(Diagnostic {
            severity,
            title,
            help: None,
            place,
            related: None,
        });
        &mut self.found[at]
    }
}
