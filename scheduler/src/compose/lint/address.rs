//! Addresses in variables that lead elsewhere than meant.
//!
//! Only whole URLs are looked at: `postgres://user:password@HOST:PORT/…`. In a container
//! `localhost` is that container, and other services are reached at the ports that they listen on,
//! not at those that are published on the host.

use std::collections::BTreeSet;

use super::{Linter, Rule, Service, known};
use crate::compose::diagnostic::Span;
use crate::compose::document::Node;

/// Schemes that only servers speak, with their ports: an `http` URL may be meant for a browser on
/// the host, these are not.
const BACKENDS: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("mongodb", 27017),
    ("redis", 6379),
    ("rediss", 6379),
    ("amqp", 5672),
    ("amqps", 5671),
    ("nats", 4222),
    ("memcached", 11211),
    ("clickhouse", 9000),
];

/// A URL somewhere in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// Without a driver: `postgresql` for `postgresql+psycopg`.
    scheme: &'a str,
    pub(super) password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Url<'a> {
    pub(super) fn all(text: &'a str) -> impl Iterator<Item = Self> {
        text.match_indices("://")
            .filter_map(|(at, _)| Self::around(text, at))
    }

    fn around(text: &'a str, at: usize) -> Option<Self> {
        let before = &text[..at];
        let of_scheme = |it: char| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.');
        let scheme = &before[before.trim_end_matches(of_scheme).len()..];
        let rest = &text[at + 3..];
        let end = rest
            .find(|it: char| it.is_whitespace() || matches!(it, '/' | '?' | '#' | ',' | '"' | '\''))
            .unwrap_or(rest.len());
        let (login, address) = match rest[..end].rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, &rest[..end]),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (address, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!scheme.is_empty() && !host.is_empty()).then_some(Self {
            scheme: scheme.split('+').next().unwrap_or(scheme),
            password: login.and_then(|it| Some(it.split_once(':')?.1)),
            host,
            port,
        })
    }

    fn is_localhost(self) -> bool {
        matches!(self.host, "localhost" | "127.0.0.1" | "::1")
    }
}

impl Linter<'_> {
    pub(super) fn addresses(&mut self, service: &Service<'_>) {
        if service.node.get("network_mode").is_some() {
            return;
        }
        for (_, value, span) in service.variables() {
            for url in Url::all(value) {
                if url.is_localhost() {
                    self.localhost(service, url, span);
                } else if let Some(other) = self.services.get(url.host).copied()
                    && other.name != service.name
                    && other.node.get("network_mode").is_none()
                {
                    self.published_port(service, &other, url, span);
                    self.unreachable(service, &other, span);
                }
            }
        }
    }

    fn localhost(&mut self, service: &Service<'_>, url: Url<'_>, span: Span) {
        let Some((_, usual)) = BACKENDS.iter().find(|(scheme, _)| *scheme == url.scheme) else {
            return;
        };
        let port = url.port.unwrap_or(*usual);
        if listens(service, port) {
            return;
        }
        let others = self.services.values().filter(|it| it.name != service.name);
        let meant = others
            .filter(|it| listens(it, port) || publishes(it, port).is_some())
            .map(|it| (it.name, publishes(it, port).unwrap_or(port)))
            .next();
        let Some((name, inside)) = meant else { return };
        let title = format!(
            "`{}` in a container of `{}` is that container itself, not service `{name}`",
            url.host, service.name
        );
        if let Some(it) = self.warn(service, Rule::LocalhostAddress, span, title) {
            it.set_help(format!("write `{name}:{inside}` for `{}:{port}`", url.host));
        }
    }

    fn published_port(
        &mut self,
        service: &Service<'_>,
        other: &Service<'_>,
        url: Url<'_>,
        span: Span,
    ) {
        let Some(port) = url.port else { return };
        if listens(other, port) {
            return;
        }
        let Some(inside) = publishes(other, port) else {
            return;
        };
        let name = other.name;
        let title =
            format!("{port} is the port of `{name}` on the host; between services it is {inside}");
        if let Some(it) = self.warn(service, Rule::PublishedPortInside, span, title) {
            it.set_help(format!("write `{name}:{inside}`"));
        }
    }

    fn unreachable(&mut self, service: &Service<'_>, other: &Service<'_>, span: Span) {
        let here = networks(service);
        let there = networks(other);
        if here.intersection(&there).next().is_some() || self.is_alias(service, other.name) {
            return;
        }
        let quoted: Vec<_> = there.iter().map(|it| format!("`{it}`")).collect();
        let title = format!(
            "service `{}` cannot reach `{}`: they share no network",
            service.name, other.name
        );
        let help = format!("`{}` is on {}", other.name, quoted.join(", "));
        if let Some(it) = self.warn(service, Rule::UnreachableService, span, title) {
            it.set_help(help);
        }
    }

    /// Whether another service answers to the name on a network of the service.
    fn is_alias(&self, service: &Service<'_>, name: &str) -> bool {
        let here = networks(service);
        self.services.values().any(|other| {
            let attachments = other
                .node
                .get("networks")
                .into_iter()
                .flat_map(Node::entries);
            attachments
                .filter(|(network, _)| here.contains(network))
                .filter_map(|(_, entry)| entry.node.get("aliases"))
                .flat_map(Node::items)
                .any(|it| it.as_str() == Some(name))
        })
    }
}

/// Whether the service is known to listen on the port, as its users on the same network see it.
fn listens(service: &Service<'_>, port: u16) -> bool {
    let image = service.image().and_then(Node::as_str).unwrap_or_default();
    let targets = service
        .items("ports")
        .iter()
        .filter_map(|it| it.get_int("target"));
    let exposed = service.items("expose").iter().filter_map(Node::as_str);
    known::database(image).is_some_and(|it| it.port == port)
        || targets.into_iter().any(|it| it == i64::from(port))
        || exposed
            .map(|it| it.split('/').next().unwrap_or(it))
            .any(|it| it == port.to_string())
}

/// The port in the container behind a published one.
fn publishes(service: &Service<'_>, port: u16) -> Option<u16> {
    let mut ports = service.items("ports").iter();
    let item = ports.find(|it| it.get_str("published") == Some(&port.to_string()))?;
    u16::try_from(item.get_int("target")?).ok()
}

fn networks<'a>(service: &Service<'a>) -> BTreeSet<&'a str> {
    let named = service
        .node
        .get("networks")
        .into_iter()
        .flat_map(Node::entries);
    let mut networks: BTreeSet<&str> = named.map(|(name, _)| name).collect();
    if networks.is_empty() {
        networks.insert("default");
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown: Vec<_> = Url::all(text)
            .map(|it| format!("{} {:?} {} {:?}", it.scheme, it.password, it.host, it.port))
            .collect();
        assert_eq!(shown.join("; "), expected);
    }

    #[test]
    fn finds_urls_in_text() {
        check(
            "postgres://u:p@db:5432/x",
            r#"postgres Some("p") db Some(5432)"#,
        );
        check("postgresql+psycopg://db", "postgresql None db None");
        check("jdbc:mysql://db:3306/a?b=c", "mysql None db Some(3306)");
        check("redis://[::1]:6379", "redis None ::1 Some(6379)");
        check("redis://[::1]", "redis None ::1 None");
        check(
            "http://a:1,http://b",
            "http None a Some(1); http None b None",
        );
        check("no url", "");
        check("://", "");
        check("ü://ö:ä", "");
    }
}
