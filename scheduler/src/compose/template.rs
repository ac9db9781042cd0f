//! Text with variables in it: `$NAME`, `${NAME:-default}` and their kin.
//!
//! A text is parsed once into a [`Template`] and then filled in. Defaults are templates themselves
//! and are looked at only when they are used: an unused default gives no warning and cannot fail.
//!
//! Source: Compose specification, "Interpolation"; Docker Compose's behaviour where it says less.

use std::collections::BTreeSet;

/// Defaults within defaults within …: nobody writes more by hand.
const MAX_NESTING: usize = 50;

/// Of a text with its variables filled in, in bytes. Variables that hold variables that hold … would
/// otherwise eat the memory.
const MAX_FILLED: usize = 1024 * 1024;

/// A variable that the files use, for `config --variables`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    pub name: String,
    pub required: bool,
    pub default: Option<String>,
    pub alternate: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable {
        name: String,
        action: Option<(Operator, Template)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `:-`, `-`
    Default { or_empty: bool },
    /// `:?`, `?`
    Required { or_empty: bool },
    /// `:+`, `+`
    Replace { or_empty: bool },
}

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("invalid variable expression `{text}`")]
    Invalid { text: String },
    #[error("with its variables filled in, the text becomes longer than {MAX_FILLED} bytes")]
    TooLong,
    #[error("required variable `{name}` is missing a value{}{message}", if .message.is_empty() { "" } else { ": " })]
    Missing { name: String, message: String },
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_nested(text, 0)
    }

    fn parse_nested(text: &str, depth: usize) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(next) = after.strip_prefix('$') {
                literal.push('$');
                rest = next;
            } else if let Some(inner) = after.strip_prefix('{') {
                let invalid = |end: usize| TemplateError::Invalid {
                    text: rest[at..end].to_owned(),
                };
                let close = closing_brace(inner).ok_or_else(|| invalid(rest.len()))?;
                let end = at + 2 + close + 1;
                if depth >= MAX_NESTING {
                    return Err(invalid(end));
                }
                let part = braced(&inner[..close], depth).ok_or_else(|| invalid(end))??;
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(part);
                rest = &rest[end..];
            } else {
                let length = name_len(after);
                if length == 0 {
                    literal.push('$');
                } else {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.push(Part::Variable {
                        name: after[..length].to_owned(),
                        action: None,
                    });
                }
                rest = &after[length..];
            }
        }
        literal.push_str(rest);
        parts.push(Part::Literal(literal));
        Ok(Self { parts })
    }

    /// Fills in the variables. Names of those that are unset go to `unset`.
    pub(super) fn fill(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
        unset: &mut Vec<String>,
    ) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable { name, action } => {
                    let value = lookup(name);
                    text.push_str(&fill_variable(name, value, action.as_ref(), lookup, unset)?);
                    if text.len() > MAX_FILLED {
                        return Err(TemplateError::TooLong);
                    }
                }
            }
        }
        Ok(text)
    }

    pub(super) fn variables(&self, into: &mut BTreeSet<Variable>) {
        for part in &self.parts {
            let Part::Variable { name, action } = part else {
                continue;
            };
            let mut variable = Variable {
                name: name.clone(),
                required: false,
                default: None,
                alternate: None,
            };
            if let Some((operator, nested)) = action {
                match operator {
                    Operator::Default { .. } => variable.default = Some(nested.source()),
                    Operator::Required { .. } => variable.required = true,
                    Operator::Replace { .. } => variable.alternate = Some(nested.source()),
                }
                nested.variables(into);
            }
            into.insert(variable);
        }
    }

    /// The template as text, close to how it was written.
    fn source(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Literal(literal) => literal.replace('$', "$$"),
            Part::Variable { name, action: None } => format!("${{{name}}}"),
            Part::Variable {
                name,
                action: Some((operator, nested)),
            } => {
                let (colon, sign) = match operator {
                    Operator::Default { or_empty } => (or_empty, '-'),
                    Operator::Required { or_empty } => (or_empty, '?'),
                    Operator::Replace { or_empty } => (or_empty, '+'),
                };
                format!(
                    "${{{name}{}{sign}{}}}",
                    if *colon { ":" } else { "" },
                    nested.source()
                )
            }
        });
        texts.collect()
    }
}

/// What stands between the braces: a name, and perhaps an operator with its text. `None` is
/// something else.
fn braced(inner: &str, depth: usize) -> Option<Result<Part, TemplateError>> {
    let (name, rest) = inner.split_at(name_len(inner));
    if name.is_empty() {
        return None;
    }
    let name = name.to_owned();
    if rest.is_empty() {
        return Some(Ok(Part::Variable { name, action: None }));
    }
    let or_empty = rest.starts_with(':');
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let operator = match rest.chars().next()? {
        '-' => Operator::Default { or_empty },
        '?' => Operator::Required { or_empty },
        '+' => Operator::Replace { or_empty },
        _ => return None,
    };
    let nested = Template::parse_nested(&rest[1..], depth + 1);
    Some(nested.map(|nested| Part::Variable {
        name,
        action: Some((operator, nested)),
    }))
}

fn fill_variable(
    name: &str,
    value: Option<String>,
    action: Option<&(Operator, Template)>,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
) -> Result<String, TemplateError> {
    let Some((operator, nested)) = action else {
        return Ok(value.unwrap_or_else(|| {
            unset.push(name.to_owned());
            String::new()
        }));
    };
    let usable = |or_empty: bool| value.clone().filter(|it| !(or_empty && it.is_empty()));
    match *operator {
        Operator::Default { or_empty } => match usable(or_empty) {
            Some(value) => Ok(value),
            None => nested.fill(lookup, unset),
        },
        Operator::Required { or_empty } => match usable(or_empty) {
            Some(value) => Ok(value),
            None => Err(TemplateError::Missing {
                name: name.to_owned(),
                message: nested.fill(lookup, unset)?,
            }),
        },
        Operator::Replace { or_empty } => match usable(or_empty) {
            Some(_) => nested.fill(lookup, unset),
            None => Ok(String::new()),
        },
    }
}

/// How long the variable name is that the text begins with.
fn name_len(text: &str) -> usize {
    let head = |it: u8| it == b'_' || it.is_ascii_alphabetic();
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if head(*first) => bytes
            .iter()
            .take_while(|it| head(**it) || it.is_ascii_digit())
            .count(),
        _ => 0,
    }
}

/// Where the brace closes that was opened just before the text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
