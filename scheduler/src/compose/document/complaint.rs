//! What the scanner complains about, in the words of somebody who writes Compose files.
//!
//! The scanner says what it could not do; this looks at the line and says what was probably done.
//! What is not recognised is passed on as it is.

use std::ops::Range;

/// A complaint with the text to underline and a way out, if one is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) title: String,
    pub(super) help: Option<String>,
    pub(super) range: Range<usize>,
}

/// `info` is the scanner's message about the byte `at` of `text`.
pub(super) fn explain(info: &str, text: &str, at: usize) -> Complaint {
    let line = Line::around(text, at);
    let complaint = |title: &str, help: &str| Complaint {
        title: title.to_owned(),
        help: (!help.is_empty()).then(|| help.to_owned()),
        range: at..at + 1,
    };
    match info {
        _ if info.starts_with("tabs disallowed") || line.indent.contains('\t') => Complaint {
            range: line.start..line.start + line.indent.len(),
            ..complaint(
                "a tab cannot indent a line",
                "indent with spaces, two for each level",
            )
        },
        _ if info.starts_with("invalid indentation in multiline quoted") => complaint(
            "a quoted text goes on in this line, but is not indented for it",
            "is a quote in a line above never closed?",
        ),
        _ if info.starts_with("illegal placement of ':'") => complaint(
            "a `:` cannot stand here",
            "is a `[` or `{` in a line above never closed?",
        ),
        _ if info.starts_with("mapping values are not allowed") => line.second_value(text, at),
        _ if info.contains("did not find expected key") => match line.rest.starts_with('-') {
            true => complaint(
                "a list item cannot stand among the keys of a mapping",
                "write either `KEY: VALUE` or `- VALUE` in all lines",
            ),
            false => complaint(
                "this line is indented less than those before it, but more than any key above",
                "give it the indentation of the key that it belongs beside",
            ),
        },
        _ if info.contains("unknown anchor") => {
            let name = word(&text[at..]);
            Complaint {
                title: format!(
                    "nothing above is called `&{}`",
                    name.trim_start_matches('*')
                ),
                help: Some(format!(
                    "write `\"{name}\"` if it is a text that begins with `*`"
                )),
                range: at..at + name.len().max(1),
            }
        }
        _ if info.starts_with("while scanning an anchor or alias") => {
            special(text, at, "begins the name of an anchor")
        }
        _ if info.starts_with("unexpected character") => special(text, at, "has a meaning in YAML"),
        _ => {
            let mut title = info.replace('\n', " ");
            title.insert_str(0, "not valid YAML: ");
            complaint(&title, "")
        }
    }
}

/// A character that a plain value cannot begin with.
fn special(text: &str, at: usize, why: &str) -> Complaint {
    let value = text[at..].lines().next().unwrap_or_default().trim_end();
    let first = value.chars().next().unwrap_or(' ');
    let quoted = value.replace('\'', "''");
    Complaint {
        title: format!("a value cannot begin with `{first}`, which {why}"),
        help: Some(format!("write it in quotes: `'{quoted}'`")),
        range: at..at + value.len().max(1),
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|it: char| it.is_whitespace() || matches!(it, ',' | ']' | '}'));
    &text[..end.unwrap_or(text.len())]
}

/// A line, split at its indentation.
struct Line<'a> {
    start: usize,
    indent: &'a str,
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn around(text: &'a str, at: usize) -> Self {
        let start = text[..at].rfind('\n').map_or(0, |it| it + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let rest = line.trim_start_matches([' ', '\t']);
        Self {
            start,
            indent: &line[..line.len() - rest.len()],
            rest,
        }
    }

    /// A `:` where there is a value already: in the same line, or in one above that is indented less.
    fn second_value(&self, text: &str, at: usize) -> Complaint {
        let before = text[self.start + self.indent.len()..at].trim_start_matches("- ");
        if let Some((key, _)) = before.split_once(": ") {
            let value = self.rest.split_once(": ").map_or("", |(_, value)| value);
            return Complaint {
                title: "there is a second `: ` in this line".to_owned(),
                help: Some(format!("write the value in quotes: `{key}: \"{value}\"`")),
                range: at..at + 1,
            };
        }
        let above = text[..self.start].trim_end().lines().next_back();
        let above = above.unwrap_or_default().trim();
        let missing_space = above
            .split_once(':')
            .filter(|(_, value)| !value.is_empty() && !value.starts_with(' '));
        let help = match missing_space {
            Some((key, value)) => {
                format!("write a space behind the `:` of the line above: `{key}: {value}`")
            }
            None => format!("the line above, `{above}`, has its value already: indent as it is"),
        };
        Complaint {
            title: "this line is indented as if it belonged to the one above".to_owned(),
            help: Some(help),
            range: self.start + self.indent.len()..at,
        }
    }
}
