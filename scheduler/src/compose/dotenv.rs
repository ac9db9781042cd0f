//! `.env` and `env_file`: lines of `NAME=VALUE`.
//!
//! Source: Compose specification, "`.env` file syntax"; Docker Compose's reader where it says less.

use indexmap::IndexMap;

use super::template::{Template, TemplateError};

/// Of all values of a file, in bytes: each may repeat the ones before.
const MAX_VALUES: usize = 4 * 1024 * 1024;

/// How the values of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Quotes, escapes and variables.
    Compose,
    /// Everything after `=` is the value.
    Raw,
}

/// Why a file of variables cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct DotenvError {
    /// From one.
    pub line: usize,
    pub kind: DotenvErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DotenvErrorKind {
    #[error("`{name}` is not a variable name")]
    Name { name: String },
    #[error("the quote is never closed")]
    Unterminated,
    #[error("unexpected `{text}` after the closing quote")]
    AfterQuote { text: String },
    #[error("the values become longer than {MAX_VALUES} bytes in total")]
    TooLong,
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Reads a file of variables. `None` is a name without a value, to be taken from the environment.
///
/// `lookup` gives the variables that values may refer to, besides earlier ones of the same file.
///
/// # Errors
///
/// The first line that cannot be understood.
pub fn parse(
    text: &str,
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<IndexMap<String, Option<String>>, DotenvError> {
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    let mut values = IndexMap::new();
    let mut rest = text.as_str();
    let mut line = 1;
    let mut total = 0;
    while !rest.is_empty() {
        let at = line;
        let fail = |kind| DotenvError { line: at, kind };
        let (current, _) = rest.split_once('\n').unwrap_or((rest, ""));
        let used = match entry(current) {
            None => current.len(),
            Some((name, None)) => {
                check_name(name).map_err(fail)?;
                values.insert(name.to_owned(), None);
                current.len()
            }
            Some((name, Some(start))) => {
                check_name(name).map_err(fail)?;
                let (value, length) = match format {
                    Format::Raw => (current[start..].to_owned(), current.len() - start),
                    Format::Compose => value(&rest[start..], &values, lookup).map_err(fail)?,
                };
                total += value.len();
                if total > MAX_VALUES {
                    return Err(fail(DotenvErrorKind::TooLong));
                }
                values.insert(name.to_owned(), Some(value));
                start + length
            }
        };
        line += rest[..used].matches('\n').count() + 1;
        rest = rest[used..].strip_prefix('\n').unwrap_or(&rest[used..]);
    }
    Ok(values)
}

/// A line's name, and where its value starts. `None` for empty lines and comments.
fn entry(line: &str) -> Option<(&str, Option<usize>)> {
    let text = line.trim_start();
    if text.trim_end().is_empty() || text.starts_with('#') {
        return None;
    }
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => text,
    };
    let offset = line.len() - text.len();
    match text.find(['=', ':']) {
        Some(at) => Some((text[..at].trim_end(), Some(offset + at + 1))),
        None => {
            let name = text.split(" #").next().unwrap_or(text);
            Some((name.trim_end(), None))
        }
    }
}

fn check_name(name: &str) -> Result<(), DotenvErrorKind> {
    let good = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | '-' | '[' | ']');
    if !name.is_empty() && name.chars().all(good) {
        return Ok(());
    }
    Err(DotenvErrorKind::Name {
        name: name.to_owned(),
    })
}

/// A value and how many bytes of the text it took, the newline after it excluded.
fn value(
    text: &str,
    earlier: &IndexMap<String, Option<String>>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, usize), DotenvErrorKind> {
    let find = |name: &str| lookup(name).or_else(|| earlier.get(name).cloned().flatten());
    let fill = |text: &str| Template::parse(text).and_then(|it| it.fill(&find, &mut Vec::new()));
    let blank = text.len() - text.trim_start_matches([' ', '\t']).len();
    let body = &text[blank..];
    match body.chars().next() {
        Some('\'') => {
            let (content, length) = quoted(&body[1..], '\'')?;
            let used = blank + 1 + length;
            Ok((
                content.replace("\\'", "'"),
                used + rest_of_line(&text[used..])?,
            ))
        }
        Some('"') => {
            let (content, length) = quoted(&body[1..], '"')?;
            let used = blank + 1 + length;
            Ok((
                fill(&unescape(content))?,
                used + rest_of_line(&text[used..])?,
            ))
        }
        _ => {
            let line = text.split('\n').next().unwrap_or(text);
            Ok((fill(without_comment(line).trim())?, line.len()))
        }
    }
}

/// What stands before the closing quote, and the length with the quote.
fn quoted(text: &str, quote: char) -> Result<(&str, usize), DotenvErrorKind> {
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        if char == quote && !escaped {
            return Ok((&text[..at], at + 1));
        }
        escaped = char == '\\' && !escaped;
    }
    Err(DotenvErrorKind::Unterminated)
}

/// Checks that only a comment follows a quoted value; the length up to the end of the line.
fn rest_of_line(text: &str) -> Result<usize, DotenvErrorKind> {
    let line = text.split('\n').next().unwrap_or(text);
    let rest = line.trim();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(line.len());
    }
    Err(DotenvErrorKind::AfterQuote {
        text: rest.to_owned(),
    })
}

/// A `#` begins a comment at the start, or after white space.
fn without_comment(line: &str) -> &str {
    let mut blank = true;
    for (at, char) in line.char_indices() {
        if char == '#' && blank {
            return &line[..at];
        }
        blank = char.is_whitespace();
    }
    line
}

/// Backslash escapes of double quotes. `\$` becomes `$$`, which the template turns into a dollar.
fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\\' {
            result.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('a') => result.push('\u{7}'),
            Some('b') => result.push('\u{8}'),
            Some('f') => result.push('\u{c}'),
            Some('v') => result.push('\u{b}'),
            Some('$') => result.push_str("$$"),
            Some(it @ ('\\' | '"')) => result.push(it),
            Some('0') => {
                let mut code = 0;
                for _ in 0..3 {
                    let Some(digit) = chars.peek().and_then(|it| it.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    chars.next();
                }
                result.extend(char::from_u32(code));
            }
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}
