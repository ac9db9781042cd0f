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
//! A warning carries the name of its [`Rule`], by which it can be silenced. [`Problems`] collects
//! them while the files are read; nothing stops at the first. Editors get the same as JSON.

mod json;
mod origin;
mod place;
mod problems;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::lint::Rule;
pub use json::to_json;
use place::Place;
pub(super) use place::{SourceText, Span};
pub(super) use problems::Problems;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem, with the text it is about.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    severity: Severity,
    code: &'static str,
    /// `None` for what cannot be silenced.
    rule: Option<Rule>,
    title: String,
    help: Option<String>,
    /// What the underlined text should be replaced by, when that is certain.
    replacement: Option<String>,
    place: Option<Place>,
    /// What stands beside the underlined text.
    label: Option<String>,
    /// Where something else stands that matters here, and what it is.
    related: Option<(Place, String)>,
    /// Who brought the text into the project, nearest first: `include`, `extends`.
    trail: Vec<(Place, String)>,
}

impl Diagnostic {
    fn new(severity: Severity, rule: Option<Rule>, place: Option<Place>, title: String) -> Self {
        Self {
            severity,
            code: rule.map_or("invalid", Rule::name),
            rule,
            title,
            help: None,
            replacement: None,
            place,
            label: None,
            related: None,
            trail: Vec::new(),
        }
    }

    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The kind of problem, by a name that stays: that of the rule, or one of a few for errors.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The rule that can be silenced; `None` for an error of the files.
    pub fn rule(&self) -> Option<Rule> {
        self.rule
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
        let (line, column) = place.start();
        Some((&place.source.path, line, column))
    }

    /// The diagnostic as text of several lines, without a newline at the end.
    pub fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut title = level.primary_title(&self.title);
        if self.rule.is_some() {
            title = title.id(self.code);
        }
        let here = self.place.as_ref();
        let (beside, elsewhere) = match (&self.related, here) {
            (Some((other, label)), Some(here)) if Arc::ptr_eq(&other.source, &here.source) => {
                (Some((other, label)), None)
            }
            (Some((other, label)), Some(_)) => (None, Some((other, label))),
            _ => (None, None),
        };
        let mut report = Vec::new();
        match here {
            Some(place) => {
                let primary = AnnotationKind::Primary
                    .span(place.range())
                    .label(self.label.as_deref());
                let mut snippet = place.snippet().annotation(primary);
                if let Some((other, label)) = beside {
                    snippet = snippet
                        .annotation(AnnotationKind::Context.span(other.range()).label(label));
                }
                report.push(title.element(snippet));
            }
            None => report.push(Group::with_title(title)),
        }
        let trail = self.trail.iter().map(|(place, label)| (place, label));
        for (other, label) in elsewhere.into_iter().chain(trail) {
            let snippet = other
                .snippet()
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

    /// A sentence that says what to do.
    pub(super) fn set_help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn set_code(&mut self, code: &'static str) -> &mut Self {
        self.code = code;
        self
    }

    /// What was probably meant in place of the underlined text.
    pub(super) fn suggest(&mut self, text: &str) -> &mut Self {
        self.replacement = Some(text.to_owned());
        self.set_help(format!("did you mean `{text}`?"))
    }

    /// What the underlined text should be, when there is nothing to guess.
    pub(super) fn set_replacement(&mut self, text: impl Into<String>) -> &mut Self {
        self.replacement = Some(text.into());
        self
    }
}

impl Place {
    fn snippet<'a, T: Clone>(&'a self) -> Snippet<'a, T> {
        Snippet::source(&self.source.text).path(self.source.path.to_string_lossy())
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
