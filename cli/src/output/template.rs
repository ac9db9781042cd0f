//! `--format` as Docker has it: `table`, `json`, or a template, with or without a table around it.
//!
//!     {{.Name}}\t{{.Status}}          a line for each row
//!     table {{.Name}}\t{{.Status}}    the same, under its header
//!     {{json .}}  {{json .Labels}}    as JSON
//!
//! Of Go's templates only fields and `json` are done; anything else is refused by name.

use std::str::FromStr;

use serde_json::Value;

use super::Table;
use crate::error::Failure;

/// How rows are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowFormat {
    Table,
    Json,
    Lines(Template),
    TableOf(Template),
}

/// Text with places for the fields of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `{{.Name}}`; the row itself has an empty path.
    Field(Vec<String>),
    Json(Vec<String>),
}

impl FromStr for RowFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" | "" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ => match text.strip_prefix("table ") {
                Some(rest) => parse(rest.trim_start()).map(Self::TableOf),
                None => parse(text).map(Self::Lines),
            },
        }
    }
}

fn parse(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    // The shell leaves `\t` as it is.
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or("`{{` has no `}}` after it")?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(self::action(action)?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    if !parts.iter().any(|part| !matches!(part, Part::Text(_))) {
        return Err("use table, json, or a template with fields such as {{.Name}}".to_owned());
    }
    Ok(Template(parts))
}

fn action(text: &str) -> Result<Part, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (part, path): (fn(Vec<String>) -> Part, _) = match words.as_slice() {
        [path] => (Part::Field, path.strip_prefix('.')),
        ["json", path] => (Part::Json, path.strip_prefix('.')),
        _ => (Part::Field, None),
    };
    let path = path.ok_or_else(|| {
        format!("{{{{{text}}}}} is not understood: only {{{{.Field}}}} and {{{{json .Field}}}} are")
    })?;
    let path = path.split('.').filter(|it| !it.is_empty());
    Ok(part(path.map(str::to_owned).collect()))
}

impl Template {
    /// The text of a row. A field that the row does not have is an error, as in Docker.
    fn line(&self, row: &Value) -> Result<String, String> {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(path) => match find(row, path)? {
                    Value::String(text) => line.push_str(text),
                    other => line.push_str(&other.to_string()),
                },
                Part::Json(path) => line.push_str(&find(row, path)?.to_string()),
            }
        }
        Ok(line)
    }

    /// `{{.Name}}\t{{.Status}}` has the header `NAME`, `STATUS`.
    fn header(&self) -> String {
        let cell = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(path) | Part::Json(path) => {
                path.last().map(|it| spaced(it)).unwrap_or_default()
            }
        };
        self.0.iter().map(cell).collect()
    }
}

/// `RunningFor` is `RUNNING FOR`, `ID` is `ID`.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    let mut before = None;
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_some_and(char::is_lowercase) {
            text.push(' ');
        }
        text.extend(letter.to_uppercase());
        before = Some(letter);
    }
    text
}

fn find<'a>(row: &'a Value, path: &[String]) -> Result<&'a Value, String> {
    path.iter().try_fold(row, |value, key| {
        value.get(key).ok_or_else(|| {
            let known = row.as_object().into_iter().flat_map(|it| it.keys());
            let known: Vec<_> = known.map(String::as_str).collect();
            format!("there is no field {key}: use one of {}", known.join(", "))
        })
    })
}

impl RowFormat {
    /// The rows as they are wanted; `table` makes the usual one.
    ///
    /// # Errors
    ///
    /// Names a field of a template that the rows do not have.
    pub(crate) fn text(
        &self,
        rows: impl FnOnce() -> Vec<Value>,
        table: impl FnOnce() -> String,
    ) -> Result<String, Failure> {
        let text = match self {
            Self::Table => Ok(table()),
            Self::Json => Ok(rows().iter().map(|row| format!("{row}\n")).collect()),
            Self::Lines(template) => lines(template, &rows()),
            Self::TableOf(template) => self::table(template, &rows()),
        };
        text.map_err(Failure::new)
    }
}

fn lines(template: &Template, rows: &[Value]) -> Result<String, String> {
    let lines: Result<Vec<_>, _> = rows.iter().map(|row| template.line(row)).collect();
    Ok(lines?.iter().map(|line| format!("{line}\n")).collect())
}

/// The columns are what stands between tabs.
fn table(template: &Template, rows: &[Value]) -> Result<String, String> {
    let header = template.header();
    let header: Vec<&str> = header.split('\t').collect();
    let mut table = Table::new(10, &header);
    for row in rows {
        let line = template.line(row)?;
        table.row(line.split('\t').map(str::to_owned).collect());
    }
    Ok(table.render())
}

#[cfg(test)]
mod tests;
