//! The variables in the values of a tree, found and filled in. Keys stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Problems, Span};
use super::document::{Node, Value};
use super::lint::Rule;
use super::template::{Template, TemplateError, Variable};

/// Of all texts with variables together, in bytes: files are limited, but what they grow to is not.
const MAX_FILLED: usize = 16 * 1024 * 1024;

/// What has been found and filled in so far, in all files.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Those that the texts use.
    pub(super) variables: BTreeSet<Variable>,
    /// Unset variables that were warned about.
    warned: BTreeSet<String>,
    /// Bytes.
    length: usize,
}

/// Notes the variables of every value of a tree, and fills them in if there is an environment.
pub(super) fn interpolate(
    node: &mut Node,
    environment: Option<&BTreeMap<String, String>>,
    so_far: &mut Filled,
    problems: &mut Problems,
) {
    match &mut node.value {
        Value::Plain(text) | Value::Text(text) if has_variables(text) => {
            let template = Template::parse(text);
            if let Ok(template) = &template {
                template.variables(&mut so_far.variables);
            }
            let Some(environment) = environment else {
                return;
            };
            match template.and_then(|it| fill(&it, node.span, environment, so_far, problems)) {
                // What a variable brings is a string until its place says otherwise.
                Ok(text) => {
                    so_far.length += text.len();
                    problems.add_filled(node.span, &text);
                    node.value = Value::Text(text.into());
                }
                Err(error) => report(&error, node.span, problems),
            }
        }
        Value::Seq(items) => {
            for item in items {
                interpolate(item, environment, so_far, problems);
            }
        }
        Value::Map(map) => {
            for entry in map.values_mut() {
                interpolate(&mut entry.node, environment, so_far, problems);
            }
        }
        _ => {}
    }
}

fn fill(
    template: &Template,
    span: Span,
    environment: &BTreeMap<String, String>,
    so_far: &mut Filled,
    problems: &mut Problems,
) -> Result<String, TemplateError> {
    if so_far.length >= MAX_FILLED {
        return Err(TemplateError::TooLong);
    }
    let lookup = |name: &str| environment.get(name).cloned();
    let mut unset = Vec::new();
    let filled = template.fill(&lookup, &mut unset);
    for name in unset {
        if so_far.warned.insert(name.clone()) {
            warn_of_unset(&name, span, problems);
        }
    }
    filled
}

fn warn_of_unset(name: &str, span: Span, problems: &mut Problems) {
    let place = find(problems, span, name);
    let plain = problems.text(span).contains(&format!("${name}"));
    let title = format!("the variable `{name}` is not set and becomes an empty string");
    let help = match plain {
        true => format!(
            "set it, give it a default (`${{{name}:-…}}`), or write `$${name}` for a plain dollar sign"
        ),
        false => format!("set it, or give it a default: `${{{name}:-…}}`"),
    };
    problems
        .warn(Rule::UnsetVariable, place, title)
        .set_help(help);
}

/// Nearly no text has; most are too short for a search that prepares itself.
fn has_variables(text: &str) -> bool {
    text.as_bytes().contains(&b'$')
}

fn report(error: &TemplateError, span: Span, problems: &mut Problems) {
    let place = match error {
        TemplateError::Invalid { text } => find(problems, span, text),
        TemplateError::Missing { name, .. } => find(problems, span, name),
        TemplateError::TooLong => span,
    };
    let diagnostic = problems.error(place, error.to_string());
    diagnostic.set_code("variable");
    match error {
        TemplateError::Invalid { text } if !text.ends_with('}') => {
            diagnostic.set_help("the closing `}` is missing");
        }
        TemplateError::Invalid { .. } => {
            diagnostic.set_help(
                "write `${NAME}`, `${NAME:-DEFAULT}`, `${NAME:?MESSAGE}` or `${NAME:+VALUE}`; a plain \
                 dollar sign is `$$`",
            );
        }
        TemplateError::Missing { name, .. } => {
            diagnostic.set_help(format!("set `{name}` in the environment or in `.env`"));
        }
        TemplateError::TooLong => {}
    }
}

/// The part of the span where the text stands as written; the whole span if it cannot be found.
fn find(problems: &Problems, span: Span, text: &str) -> Span {
    let Some(at) = problems.text(span).find(text) else {
        return span;
    };
    let (Ok(at), Ok(length)) = (u32::try_from(at), u32::try_from(text.len())) else {
        return span;
    };
    Span {
        start: span.start + at,
        end: span.start + at + length,
        ..span
    }
}
