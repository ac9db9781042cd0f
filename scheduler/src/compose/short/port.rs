//! `[[ADDRESS:]HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`: one line may publish several ports.

use std::net::IpAddr;

use crate::compose::check::Checker;
use crate::compose::document::{Node, Value};

/// In all files together; a host has fewer.
const MAX_PORTS: usize = 100_000;

/// First and last.
type Range = (u16, u16);

/// What a short form says.
#[derive(Debug, PartialEq, Eq)]
struct Short<'a> {
    host_ip: Option<IpAddr>,
    published: Option<Range>,
    target: Range,
    protocol: &'a str,
}

/// Replaces short forms by one long form for each port.
pub(in crate::compose) fn ports(checker: &mut Checker<'_>, node: Node) -> Node {
    let Value::Seq(items) = node.value else {
        return node;
    };
    let mut long = Vec::new();
    for item in items {
        let span = item.span;
        match item.as_str() {
            None => long.push(with_defaults(item)),
            Some(text) if checker.is_template(text) => long.push(item),
            Some(text) => match parse(text) {
                Ok(short) => {
                    *checker.ports += usize::from(short.target.1 - short.target.0) + 1;
                    if *checker.ports > MAX_PORTS {
                        let title = format!("the ranges stand for more than {MAX_PORTS} ports");
                        checker.problems.error(span, title);
                        break;
                    }
                    long.extend(expand(&short, &item));
                }
                Err(why) => {
                    let title = format!("{}: `{text}` is not a port: {why}", checker.describe());
                    checker.problems.error(span, title).set_help(hint(text));
                }
            },
        }
    }
    Node {
        value: Value::Seq(long),
        ..node
    }
}

/// What makes two entries the same.
pub(in crate::compose) fn identity(node: &Node) -> Option<String> {
    let target = node.get_int("target")?;
    let text = |key| node.get_str(key).unwrap_or_default();
    Some(format!(
        "{}:{}:{target}/{}",
        text("host_ip"),
        text("published"),
        text("protocol")
    ))
}

fn with_defaults(mut node: Node) -> Node {
    let span = node.span;
    if node.as_map().is_some() {
        if node.get("protocol").is_none() {
            node.set("protocol", Node::text("tcp", span));
        }
        if node.get("mode").is_none() {
            node.set("mode", Node::text("ingress", span));
        }
    }
    node
}

fn expand(short: &Short<'_>, item: &Node) -> Vec<Node> {
    let span = item.span;
    let (first, last) = short.target;
    (first..=last)
        .map(|target| {
            let mut node = Node::map(
                [
                    ("mode", Node::text("ingress", span)),
                    ("target", Node::new(Value::Int(i64::from(target)), span)),
                    ("protocol", Node::text(short.protocol, span)),
                ],
                span,
            );
            node.tag = item.tag;
            if let Some(address) = short.host_ip {
                node.set("host_ip", Node::text(address.to_string(), span));
            }
            if let Some((low, high)) = short.published {
                let text = match (first == last, low == high) {
                    (true, false) => format!("{low}-{high}"),
                    (true, true) => low.to_string(),
                    // As many as there are targets: `parse` has seen to that.
                    (false, _) => (low + (target - first)).to_string(),
                };
                node.set("published", Node::text(text, span));
            }
            node
        })
        .collect()
}

/// What to write in place of a text that is not a port.
fn hint(text: &str) -> String {
    let spaceless: String = text.split_whitespace().collect();
    if spaceless != text && parse(&spaceless).is_ok() {
        return format!("write it without spaces: `{spaceless}`");
    }
    if let Some(rest) = text.strip_prefix("localhost:") {
        return format!("write the address: `127.0.0.1:{rest}`");
    }
    "write `HOST:CONTAINER`, for example `8080:80`, or `ADDRESS:HOST:CONTAINER`".to_owned()
}

fn parse(text: &str) -> Result<Short<'_>, String> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "TCP" => "tcp",
        "UDP" => "udp",
        other => other,
    };
    if !matches!(protocol, "tcp" | "udp") {
        return Err(match protocol {
            "sctp" => "`sctp` is not supported yet".to_owned(),
            _ => format!("`{protocol}` is not a protocol; there are `tcp` and `udp`"),
        });
    }
    let (host, target) = match rest.rsplit_once(':') {
        Some((host, target)) => (Some(host), target),
        None => (None, rest),
    };
    let target = range(target)?.ok_or("the container's port is missing")?;
    let (host_ip, published) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            None => (None, range(host)?),
            Some(("", published)) => (None, range(published)?),
            Some((address, published)) => (Some(parse_address(address)?), range(published)?),
        },
    };
    let count = |(first, last): Range| u32::from(last) - u32::from(first) + 1;
    if let Some(published) = published
        && count(target) > 1
        && count(target) != count(published)
    {
        return Err(format!(
            "{} ports cannot stand for {}",
            count(published),
            count(target)
        ));
    }
    Ok(Short {
        host_ip,
        published,
        target,
        protocol,
    })
}

/// A port, a range, or nothing; zero is nothing.
fn range(text: &str) -> Result<Option<Range>, String> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let number = text.parse::<u16>().ok().filter(|it| *it > 0);
        number.ok_or_else(|| format!("`{text}` is not a number from 1 to 65535"))
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("the range `{text}` runs backwards"));
    }
    Ok(Some((first, last)))
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(text);
    inner
        .parse()
        .map_err(|_| match text.contains(':') && !text.starts_with('[') {
            true => "there are too many colons".to_owned(),
            false => format!("`{text}` is not an IP address"),
        })
}
