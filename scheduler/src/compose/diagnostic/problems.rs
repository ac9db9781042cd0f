//! Collects what is wrong while the files are read, and puts it in order at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::origin::Origins;
use super::place::Place;
use super::{Diagnostic, Severity, SourceText, Span};
use crate::compose::Purpose;
use crate::compose::document::Node;
use crate::compose::lint::{Allowances, Lints, Rule};

/// Collects problems, and the texts they are about.
#[derive(Debug, Default)]
pub(in crate::compose) struct Problems {
    purpose: Purpose,
    sources: Vec<Arc<SourceText>>,
    found: Vec<Diagnostic>,
    /// What `x-wharfie` silences.
    allowances: Allowances,
    /// Values that are not what is written, because variables were filled in.
    filled: BTreeMap<Span, String>,
    origins: Origins,
}

impl Problems {
    pub(in crate::compose) fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            ..Self::default()
        }
    }

    /// Takes a file's text; its number goes into the spans.
    pub(in crate::compose) fn add_source(&mut self, path: &Path, text: &str) -> u32 {
        self.sources.push(Arc::new(SourceText {
            path: path.to_owned(),
            text: text.to_owned(),
        }));
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    /// How many files have been read; the next one gets this number.
    pub(in crate::compose) fn source_count(&self) -> u32 {
        u32::try_from(self.sources.len()).unwrap_or(u32::MAX)
    }

    /// The file that a place is in.
    pub(in crate::compose) fn path(&self, span: Span) -> Option<&Path> {
        let source = self.sources.get(usize::try_from(span.file).ok()?)?;
        Some(&source.path)
    }

    /// Remembers by what a file was included.
    pub(in crate::compose) fn add_included(&mut self, file: u32, named: Span) {
        self.origins.included(file, named);
    }

    /// Remembers where a service is named as the base of another.
    pub(in crate::compose) fn add_extended(&mut self, body: Span, named: Span, by: &str) {
        self.origins.extended(body, named, by);
    }

    /// Takes note of what a document allows with `x-wharfie`.
    pub(in crate::compose) fn add_allowances(&mut self, document: &Node) {
        self.allowances.collect(document);
    }

    /// Remembers what a text became, to be shown beside it.
    pub(in crate::compose) fn add_filled(&mut self, span: Span, value: &str) {
        self.filled.insert(span, value.to_owned());
    }

    pub(in crate::compose) fn error(
        &mut self,
        span: Span,
        title: impl Into<String>,
    ) -> &mut Diagnostic {
        let place = self.place(span);
        self.push(Diagnostic::new(Severity::Error, None, place, title.into()))
    }

    pub(in crate::compose) fn warn(
        &mut self,
        rule: Rule,
        span: Span,
        title: impl Into<String>,
    ) -> &mut Diagnostic {
        let place = self.place(span);
        self.push(Diagnostic::new(
            Severity::Warning,
            Some(rule),
            place,
            title.into(),
        ))
    }

    /// Something that is right but cannot be run yet: no reason not to be shown.
    pub(in crate::compose) fn unsupported(
        &mut self,
        span: Span,
        title: impl Into<String>,
    ) -> &mut Diagnostic {
        match self.purpose {
            Purpose::Show => self.warn(Rule::NoEffect, span, title),
            Purpose::Check | Purpose::Run => self.error(span, title).set_code("unsupported"),
        }
    }

    /// An error that no text of a file is to blame for.
    pub(in crate::compose) fn error_without_place(
        &mut self,
        title: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Diagnostic::new(Severity::Error, None, None, title.into()))
    }

    /// Shows a second place with the problem that was reported last.
    pub(in crate::compose) fn relate(&mut self, span: Span, label: impl Into<String>) {
        let place = self.place(span);
        if let (Some(last), Some(place)) = (self.found.last_mut(), place) {
            last.related = Some((place, label.into()));
        }
    }

    pub(in crate::compose) fn has_errors(&self) -> bool {
        self.found.iter().any(|it| it.severity == Severity::Error)
    }

    /// Whether something inside of the span has been reported.
    pub(in crate::compose) fn has_error_within(&self, span: Span) -> bool {
        let errors = self
            .found
            .iter()
            .filter(|it| it.severity == Severity::Error);
        errors
            .filter_map(|it| it.place.as_ref())
            .any(|it| span.contains(it.span))
    }

    /// The text of the file that the span speaks of.
    pub(in crate::compose) fn text(&self, span: Span) -> &str {
        let source = self
            .sources
            .get(span.file as usize)
            .map_or("", |it| it.text.as_str());
        source
            .get(span.start as usize..span.end as usize)
            .unwrap_or("")
    }

    /// Whether the value came out of variables, at least in part.
    pub(in crate::compose) fn is_filled(&self, span: Span) -> bool {
        self.filled.contains_key(&span)
    }

    /// Everything that is not silenced, sorted by place, without repetitions. What is denied has
    /// become an error.
    pub(in crate::compose) fn finish(mut self, lints: &Lints) -> Vec<Diagnostic> {
        for (span, rule) in self.allowances.unknown(&self.sources) {
            let title = format!("there is no rule `{rule}` to allow");
            let meant = Rule::nearest(&rule);
            let diagnostic = self.warn(Rule::UnknownRule, span, title);
            match meant {
                Some(meant) => diagnostic.suggest(meant.name()),
                None => diagnostic.set_help("`wharfie check --explain` lists the rules"),
            };
        }
        let Self {
            mut found,
            allowances,
            filled,
            sources,
            origins,
            ..
        } = self;
        found.retain(|it| match it.rule {
            None => true,
            Some(rule) => {
                let place = it.place.as_ref().map(|it| (it.span, it.source.as_ref()));
                lints.wants(rule) && !allowances.allows(rule, place)
            }
        });
        for it in &mut found {
            if it.rule.is_some_and(|rule| lints.denies(rule)) {
                it.severity = Severity::Error;
            }
            let value = it.place.as_ref().and_then(|it| filled.get(&it.span));
            if let Some(value) = value.filter(|_| it.rule.is_none()) {
                it.label = Some(format!("this is `{value}` here"));
            }
        }
        let place = |span: Span| {
            let source = Arc::clone(sources.get(span.file as usize)?);
            Some(Place { span, source })
        };
        for it in &mut found {
            let Some(at) = it.place.clone() else {
                continue;
            };
            let trail = origins.trail(at.span, &it.title).into_iter();
            it.trail = trail
                .filter_map(|(span, words)| Some((place(span)?, words)))
                // A file that includes itself is read twice.
                .filter(|(place, _)| !place.is_same(&at))
                .collect();
        }
        found.sort_by(|a, b| {
            let key = |it: &Diagnostic| (it.place.as_ref().map(|it| it.span), it.severity);
            key(a).cmp(&key(b)).then_with(|| a.title.cmp(&b.title))
        });
        found.dedup_by(|a, b| {
            let span = |it: &Diagnostic| it.place.as_ref().map(|it| it.span);
            a.title == b.title && span(a) == span(b)
        });
        shorten(&mut found);
        found
    }

    fn place(&self, span: Span) -> Option<Place> {
        let source = self.sources.get(span.file as usize)?;
        Some(Place {
            span,
            source: Arc::clone(source),
        })
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        let at = self.found.len();
        self.found.push(diagnostic);
        &mut self.found[at]
    }
}

/// Nobody reads more, and each takes time to be shown.
const MAX_SHOWN: usize = 200;

/// Leaves out what is too much, and says so.
fn shorten(found: &mut Vec<Diagnostic>) {
    if found.len() <= MAX_SHOWN {
        return;
    }
    let rest = found.split_off(MAX_SHOWN);
    let severity = rest.iter().map(|it| it.severity).min();
    let title = format!("{} more problems are not shown", rest.len());
    let severity = severity.unwrap_or(Severity::Warning);
    found.push(Diagnostic::new(severity, None, None, title));
}
