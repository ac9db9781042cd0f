//! Diagnostics for programs: what `--format json` prints.
//!
//! An array with one object for each problem, in the order of the text output:
//!
//! | key | value |
//! |---|---|
//! | `file` | absolute path, or null for a problem that has no place |
//! | `range` | `{start: {line, column}, end: {line, column}}`, or null. Lines and columns count from 1, columns in characters (Unicode scalar values); `end` is the first position after the text, on the same line |
//! | `severity` | `error` or `warning` |
//! | `code` | the kind of problem: the rule of a warning (`wharfie check --explain CODE`), else one of `invalid`, `yaml`, `unknown-key`, `unsupported`, `variable`, `undeclared`, `conflict`, `cycle` |
//! | `message` | what is wrong, one line |
//! | `hint` | what to do about it, or null |
//! | `fix` | the text that should stand in the place of `range`, or null if that is not certain |
//! | `related` | other places that matter, and those that brought the text into the project: `{file, range, message}` |
//!
//! Keys may be added; none will change its meaning.

use serde::Serialize;

use super::place::Place;
use super::{Diagnostic, Severity};

#[derive(Serialize)]
struct Problem<'a> {
    file: Option<String>,
    range: Option<Range>,
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
    fix: Option<&'a str>,
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    file: String,
    range: Range,
    message: &'a str,
}

#[derive(Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    line: usize,
    column: usize,
}

impl From<(usize, usize)> for Position {
    fn from((line, column): (usize, usize)) -> Self {
        Self { line, column }
    }
}

impl From<&Place> for Range {
    fn from(place: &Place) -> Self {
        Self {
            start: place.start().into(),
            end: place.end().into(),
        }
    }
}

impl<'a> From<&'a Diagnostic> for Problem<'a> {
    fn from(it: &'a Diagnostic) -> Self {
        let related = it.related.iter().chain(&it.trail);
        let related = related.map(|(place, label)| Related {
            file: file(place),
            range: place.into(),
            message: label,
        });
        Self {
            file: it.place.as_ref().map(file),
            range: it.place.as_ref().map(Range::from),
            severity: match it.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            code: it.code,
            message: &it.title,
            hint: it.help.as_deref(),
            fix: it.replacement.as_deref(),
            related: related.collect(),
        }
    }
}

fn file(place: &Place) -> String {
    place.source.path.to_string_lossy().into_owned()
}

/// Diagnostics as a JSON array (see the top of this file), with a newline at the end.
///
/// # Errors
///
/// None in practice: all of it is strings and numbers.
pub fn to_json(diagnostics: &[Diagnostic]) -> Result<String, serde_json::Error> {
    let problems: Vec<_> = diagnostics.iter().map(Problem::from).collect();
    Ok(serde_json::to_string_pretty(&problems)? + "\n")
}
