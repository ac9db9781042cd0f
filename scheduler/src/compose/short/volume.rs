//! `SOURCE:TARGET[:OPTIONS]`, or only a target.

use crate::compose::check::{Checker, clean};
use crate::compose::document::{Node, Value};
use crate::compose::lint::Rule;

pub(in crate::compose) fn volume(checker: &mut Checker<'_>, node: Node) -> Node {
    let span = node.span;
    let node = match node.as_str() {
        None => node,
        Some(text) => match parse(text) {
            Ok(short) => long(checker, &short, &node),
            Err(why) => {
                let title = format!("{}: `{text}` is not a volume: {why}", checker.describe());
                let help = "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`";
                checker.problems.error(span, title).set_help(help);
                return Node::new(Value::Null, span);
            }
        },
    };
    finish(checker, node)
}

/// Two mounts cannot share a target.
pub(in crate::compose) fn identity(node: &Node) -> Option<String> {
    node.get_str("target").map(str::to_owned)
}

struct Short<'a> {
    source: Option<&'a str>,
    target: &'a str,
    options: Vec<&'a str>,
}

fn parse(text: &str) -> Result<Short<'_>, String> {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let second = parts.next();
    let options: Vec<_> = parts
        .next()
        .map(|it| it.split(',').collect())
        .unwrap_or_default();
    if parts.next().is_some() {
        return Err("there are too many colons".to_owned());
    }
    let short = match second {
        None => Short {
            source: None,
            target: first,
            options,
        },
        // `/target:ro`: options without a source.
        Some(second) if options.is_empty() && first.starts_with('/') && is_option_list(second) => {
            Short {
                source: None,
                target: first,
                options: second.split(',').collect(),
            }
        }
        Some(target) => Short {
            source: Some(first),
            target,
            options,
        },
    };
    if short.source == Some("") {
        return Err("the source is missing".to_owned());
    }
    if short.target.is_empty() {
        return Err("the target is missing".to_owned());
    }
    Ok(short)
}

fn is_option_list(text: &str) -> bool {
    text.split(',')
        .all(|it| matches!(it, "ro" | "rw" | "nocopy"))
}

fn long(checker: &mut Checker<'_>, short: &Short<'_>, item: &Node) -> Node {
    let span = item.span;
    let bind = short
        .source
        .is_some_and(|it| it.starts_with(['.', '/', '~']));
    let kind = if bind { "bind" } else { "volume" };
    let mut node = Node::map(
        [
            ("type", Node::text(kind, span)),
            ("target", Node::text(short.target, span)),
        ],
        span,
    );
    if let Some(source) = short.source {
        node.set("source", Node::text(source, span));
    }
    let mut details = Node::map([], span);
    for option in &short.options {
        let yes = Node::new(Value::Bool(true), span);
        match *option {
            "ro" => node.set("read_only", yes),
            "rw" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => details.set("nocopy", yes),
            "z" | "Z" if bind => details.set("selinux", Node::text(*option, span)),
            // Kept under `bind`, as in Docker Compose.
            "z" | "Z" => {
                let selinux = Node::text(*option, span);
                node.set("bind", Node::map([("selinux", selinux)], span));
            }
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if bind => {
                details.set("propagation", Node::text(*option, span));
            }
            other => {
                let title = format!(
                    "{}: `{other}` has no effect on a {kind}",
                    checker.describe()
                );
                let diagnostic = checker.problems.warn(Rule::NoEffect, span, title);
                if matches!(other, "readonly" | "read-only" | "read_only") {
                    diagnostic.set_help("did you mean `ro`?");
                }
            }
        }
    }
    if bind {
        details.set("create_host_path", Node::new(Value::Bool(true), span));
    }
    node.set(kind, details);
    node
}

/// Cleans the target, makes the source of a bind absolute, and fills in what is left out.
fn finish(checker: &mut Checker<'_>, mut node: Node) -> Node {
    let kind = node.get_str("type").unwrap_or("volume").to_owned();
    let span = node.span;
    if node.as_map().is_none() {
        return node;
    }
    if node.get("type").is_none() {
        let title = format!("{} has no `type`", checker.describe());
        let help = "write `type: volume`, `type: bind` or `type: tmpfs`";
        checker.problems.error(span, title).set_help(help);
    }
    match node
        .get("target")
        .and_then(|it| Some((it.as_str()?, it.span)))
    {
        None => {
            let title = format!("{} has no `target`", checker.describe());
            checker.problems.error(span, title);
        }
        Some((target, at)) if !target.starts_with('/') && !checker.is_template(target) => {
            let title = format!(
                "{}: the target `{target}` is not an absolute path",
                checker.describe()
            );
            checker.problems.error(at, title);
        }
        Some((target, at)) => {
            let target = clean(target.as_ref()).to_string_lossy().into_owned();
            node.set("target", Node::text(target, at));
        }
    }
    if kind == "bind" {
        match node
            .get("source")
            .and_then(|it| Some((it.as_str()?, it.span)))
        {
            Some((source, at)) => {
                let source = checker.absolute(source);
                node.set("source", Node::text(source, at));
            }
            None => {
                let title = format!("{} has no `source`", checker.describe());
                checker.problems.error(span, title);
            }
        }
    }
    node
}
