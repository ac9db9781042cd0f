//! Short forms, turned into the long ones that mean the same.
//!
//! Each function takes a node as written and returns one that its long shape accepts; what it does
//! not understand it returns unchanged, for the shape to complain about.

pub(super) mod build;
pub(super) mod device;
pub(super) mod port;
pub(super) mod volume;
mod words;

use super::check::Checker;
use super::document::{Entry, Map, Node, Value};
use super::lint::Rule;
use super::value;

/// A scalar for a list of one.
pub(super) fn one_or_more(_: &mut Checker<'_>, node: Node) -> Node {
    let Some(text) = node.as_str() else {
        return node;
    };
    // Often a variable that is not set.
    let items = if text.is_empty() {
        Vec::new()
    } else {
        vec![node.clone()]
    };
    Node::new(Value::Seq(items), node.span)
}

/// A list of keys for a mapping with nothing under them.
pub(super) fn keys(checker: &mut Checker<'_>, node: Node) -> Node {
    keys_with(checker, node, &|span| Node::new(Value::Null, span))
}

pub(super) fn depends_on(checker: &mut Checker<'_>, node: Node) -> Node {
    keys_with(checker, node, &|span| {
        let condition = Node::text("service_started", span);
        let required = Node::new(Value::Bool(true), span);
        Node::map([("condition", condition), ("required", required)], span)
    })
}

fn keys_with(
    checker: &mut Checker<'_>,
    node: Node,
    make: &dyn Fn(super::diagnostic::Span) -> Node,
) -> Node {
    if let Some(text) = node.as_str() {
        let help = format!("a list of one is written `[{text}]`");
        return checker.wrong_with(
            node.span,
            "a list of names or a mapping",
            "a string",
            Some(help),
        );
    }
    let Value::Seq(items) = &node.value else {
        return node;
    };
    let mut map = Map::default();
    for item in items {
        match item.as_str() {
            Some(key) => {
                map.insert(
                    key.into(),
                    Entry {
                        key: item.span,
                        node: make(item.span),
                    },
                );
            }
            None => {
                let found = item.kind();
                checker.wrong(item.span, "a list of names", found);
            }
        }
    }
    Node {
        value: Value::Map(Box::new(map)),
        ..node
    }
}

pub(super) fn include(_: &mut Checker<'_>, node: Node) -> Node {
    wrap(node, "path")
}

pub(super) fn extends(_: &mut Checker<'_>, node: Node) -> Node {
    wrap(node, "service")
}

/// A scalar for a mapping with one key.
fn wrap(node: Node, key: &'static str) -> Node {
    if node.as_str().is_none() {
        return node;
    }
    let span = node.span;
    Node::map([(key, node)], span)
}

pub(super) fn env_file(checker: &mut Checker<'_>, node: Node) -> Node {
    let mut node = one_or_more(checker, node);
    if let Value::Seq(items) = &mut node.value {
        for item in items {
            let placeholder = Node::new(Value::Null, item.span);
            *item = wrap(std::mem::replace(item, placeholder), "path");
        }
    }
    node
}

/// A line for a list of words, split as a shell would, without running one.
pub(super) fn command(checker: &mut Checker<'_>, node: Node) -> Node {
    let Some(text) = node.as_str() else {
        return node;
    };
    let Some(split) = words::split(text) else {
        let title = format!("{} has a quote that is never closed", checker.describe());
        checker.problems.error(node.span, title);
        return Node::new(Value::Null, node.span);
    };
    if !split.ignored.is_empty() {
        let title = format!(
            "{}: `{}` is ignored, as no shell reads this line",
            checker.describe(),
            split.ignored
        );
        let help = "write `sh -c '…'` around the line";
        checker
            .problems
            .warn(Rule::ShellOperator, node.span, title)
            .set_help(help);
    }
    let words = split.words.into_iter().map(|it| Node::text(it, node.span));
    Node {
        value: Value::Seq(words.collect()),
        ..node
    }
}

/// A string for a line that a shell runs. A list must say what it is.
pub(super) fn health_test(checker: &mut Checker<'_>, node: Node) -> Node {
    match &node.value {
        Value::Plain(text) | Value::Text(text) => {
            let words = vec![
                Node::text("CMD-SHELL", node.span),
                Node::text(text.clone(), node.span),
            ];
            Node::new(Value::Seq(words), node.span)
        }
        Value::Seq(items) => {
            let head = items.first().and_then(Node::as_str);
            if items.is_empty() || matches!(head, Some("NONE" | "CMD" | "CMD-SHELL")) {
                return node;
            }
            let span = items.first().map_or(node.span, |it| it.span);
            let title = format!(
                "{} must begin with `CMD`, `CMD-SHELL` or `NONE`",
                checker.describe()
            );
            let help = "`CMD` runs the words that follow; a plain string is run by a shell";
            checker.problems.error(span, title).set_help(help);
            Node::new(Value::Null, node.span)
        }
        _ => node,
    }
}

/// `HOST:ADDRESS`, `HOST=ADDRESS` or a mapping, into a list of `HOST=ADDRESS`.
pub(super) fn extra_hosts(checker: &mut Checker<'_>, node: Node) -> Node {
    let mut lines = Vec::new();
    match &node.value {
        Value::Map(map) => {
            for (host, entry) in map.as_ref() {
                let addresses = match &entry.node.value {
                    Value::Seq(items) => items.as_slice(),
                    _ => std::slice::from_ref(&entry.node),
                };
                for address in addresses {
                    let text = address.as_str().unwrap_or_default();
                    lines.push(Node::text(
                        format!("{host}={}", unbracket(text)),
                        address.span,
                    ));
                }
            }
        }
        Value::Seq(items) => {
            for item in items {
                let Some(text) = item.as_str() else {
                    return node;
                };
                let Some((host, address)) = text.split_once('=').or_else(|| text.split_once(':'))
                else {
                    let title = format!("{}: `{text}` has no address", checker.describe());
                    let help = "write `HOST=ADDRESS`";
                    checker.problems.error(item.span, title).set_help(help);
                    continue;
                };
                lines.push(Node::text(
                    format!("{host}={}", unbracket(address)),
                    item.span,
                ));
            }
        }
        _ => return node,
    }
    Node {
        value: Value::Seq(lines),
        ..node
    }
}

fn unbracket(address: &str) -> &str {
    let inner = address
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'));
    inner.unwrap_or(address)
}

pub(super) fn secret_grant(_: &mut Checker<'_>, node: Node) -> Node {
    let mut node = wrap(node, "source");
    if node.get("target").is_none()
        && let Some(name) = node.get_str("source")
    {
        let target = Node::text(format!("/run/secrets/{name}"), node.span);
        node.set("target", target);
    }
    node
}

/// The two words for one policy.
pub(super) fn pull_policy(_: &mut Checker<'_>, node: Node) -> Node {
    match node.as_str() {
        Some("if_not_present") => Node::text("missing", node.span),
        _ => node,
    }
}

pub(super) fn config_grant(_: &mut Checker<'_>, node: Node) -> Node {
    wrap(node, "source")
}

/// Where a granted file is seen, to tell whether two grants are the same.
pub(super) fn grant_target(node: &Node) -> Option<String> {
    let text = node.get_str("target").or_else(|| node.get_str("source"))?;
    let name = text.strip_prefix("/run/secrets/").unwrap_or(text);
    Some(name.trim_start_matches('/').to_owned())
}

pub(super) fn target(node: &Node) -> Option<String> {
    node.get_str("target").map(str::to_owned)
}

pub(super) fn path(node: &Node) -> Option<String> {
    node.get_str("path").map(str::to_owned)
}

/// The old `external: {name: NAME}`.
pub(super) fn external(_: &mut Checker<'_>, mut node: Node) -> Node {
    let name = node.get("external").and_then(|it| it.get("name")).cloned();
    let Some(external) = node.get_mut("external") else {
        return node;
    };
    if external.as_map().is_some() {
        external.value = Value::Bool(true);
        if let Some(name) = name {
            node.set("name", name);
        }
    }
    node
}

/// A duration for a number of microseconds.
pub(super) fn microseconds(_: &mut Checker<'_>, node: Node) -> Node {
    let Some(text) = node.as_str() else {
        return node;
    };
    if value::parse_int(text).is_some() {
        return node;
    }
    match value::parse_duration(text) {
        Ok(duration) => Node {
            value: Value::Plain(duration.as_micros().to_string().into()),
            ..node
        },
        Err(_) => node,
    }
}
