//! YAML text in the style of Docker Compose (that of Go's `yaml.v3`): two spaces, lists indented,
//! quotes only where something else would be read.

use super::{Mapping, Tree};
use crate::compose::value;

pub(super) fn print(map: &Mapping<'_>) -> String {
    let mut out = String::new();
    print_map(&mut out, map, 0);
    out
}

fn print_map(out: &mut String, map: &Mapping<'_>, indent: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        // The first key of a list's item stands behind the dash.
        if at > 0 || out.is_empty() || out.ends_with('\n') {
            push_indent(out, indent);
        }
        push_scalar(out, key, indent);
        out.push(':');
        print_value(out, value, indent);
    }
}

/// What stands after `key:`, with its newline.
fn print_value(out: &mut String, value: &Tree<'_>, indent: usize) {
    match value {
        Tree::Map(map) if !map.is_empty() => {
            out.push('\n');
            print_map(out, map, indent + 1);
        }
        Tree::List(items) if !items.is_empty() => {
            out.push('\n');
            print_list(out, items, indent + 1);
        }
        _ => {
            out.push(' ');
            print_leaf(out, value, indent);
        }
    }
}

fn print_list(out: &mut String, items: &[Tree<'_>], indent: usize) {
    for item in items {
        push_indent(out, indent);
        out.push_str("- ");
        match item {
            Tree::Map(map) if !map.is_empty() => print_map(out, map, indent + 1),
            Tree::List(items) if !items.is_empty() => {
                // A list in a list: the inner one begins on its own line.
                out.truncate(out.len() - 1);
                out.push('\n');
                print_list(out, items, indent + 1);
            }
            _ => print_leaf(out, item, indent),
        }
    }
}

fn print_leaf(out: &mut String, value: &Tree<'_>, indent: usize) {
    match value {
        Tree::Null => out.push_str("null"),
        Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Int(value) => out.push_str(&value.to_string()),
        Tree::Float(value) => out.push_str(&value.to_string()),
        Tree::Text(text) => push_scalar(out, text, indent),
        Tree::List(_) => out.push_str("[]"),
        Tree::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n("  ", indent));
}

/// A string in the plainest form that is read back as the same string.
fn push_scalar(out: &mut String, text: &str, indent: usize) {
    if is_simple(text) {
        return out.push_str(text);
    }
    let printable =
        |it: char| !it.is_control() && !matches!(it, '\u{feff}' | '\u{2028}' | '\u{2029}');
    if text.contains('\n')
        && !text.contains(" \n")
        && text.chars().all(|it| it == '\n' || printable(it))
        && !text.starts_with([' ', '\n'])
    {
        return push_block(out, text, indent);
    }
    if !text.chars().all(printable) || means_something_else(text) {
        return push_double_quoted(out, text);
    }
    if is_plain(text) {
        return out.push_str(text);
    }
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}

/// Nearly all keys and most values: a glance shows that they stand for themselves. Without a space only
/// the first sign and a `:` at the end mean something to YAML, and what begins with a letter is no number.
fn is_simple(text: &str) -> bool {
    let [first, .., last] = text.as_bytes() else {
        return false;
    };
    (first.is_ascii_alphabetic() || *first == b'/')
        && *last != b':'
        && text.bytes().all(|it| it.is_ascii_graphic())
        && !WORDS.iter().any(|it| it.eq_ignore_ascii_case(text))
}

/// Words that are no strings to some reader of YAML 1.1 or 1.2.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A literal block; the sign after `|` says what becomes of the newlines at the end.
fn push_block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_indent(out, indent + 1);
            out.push_str(line);
        }
    }
}

fn push_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it.is_control() || matches!(it, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(it)));
            }
            it => out.push(it),
        }
    }
    out.push('"');
}

/// Unquoted, some reader of YAML 1.1 or 1.2 would not see a string.
fn means_something_else(text: &str) -> bool {
    let words = ["~", "null", ".inf", ".nan"];
    let unsigned = text.trim_start_matches(['-', '+']);
    if text.is_empty()
        || words.iter().any(|it| it.eq_ignore_ascii_case(unsigned))
        || value::parse_bool(text).is_some()
        || value::parse_int(text).is_some()
    {
        return true;
    }
    let numeric = text.starts_with(|it: char| it.is_ascii_digit() || matches!(it, '-' | '+' | '.'));
    if numeric && text.parse::<f64>().is_ok() {
        return true;
    }
    is_base_60(text) || is_date(text)
}

/// `1:30`, which YAML 1.1 reads as ninety.
fn is_base_60(text: &str) -> bool {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let rest: Vec<_> = parts.collect();
    !rest.is_empty()
        && digits(first.trim_start_matches(['-', '+']))
        && rest
            .iter()
            .all(|it| digits(it) && it.len() <= 2 && it.parse::<u32>().is_ok_and(|it| it < 60))
}

fn is_date(text: &str) -> bool {
    let date = text.as_bytes();
    date.len() >= 8
        && date[..4].iter().all(u8::is_ascii_digit)
        && date[4] == b'-'
        && text[5..]
            .split(['-', 'T', 't', ' '])
            .take(2)
            .all(|it| !it.is_empty() && it.len() <= 2 && it.bytes().all(|it| it.is_ascii_digit()))
}

/// Nothing in it has a meaning to YAML.
fn is_plain(text: &str) -> bool {
    let indicators = [
        '[', ']', '{', '}', ',', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`',
    ];
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return false;
    };
    let second = chars.next();
    if indicators.contains(&first) {
        return false;
    }
    if matches!(first, '-' | '?' | ':') && second.is_none_or(|it| it == ' ') {
        return false;
    }
    let trimmed = text.trim() == text;
    trimmed
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.ends_with(':')
        && !text.contains(": ")
        && !text.contains(" #")
}
