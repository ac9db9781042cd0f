//! Two services that publish one port of the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::at;
use crate::compose::diagnostic::{Problems, Span};
use crate::compose::document::{Entry, Node};

struct Published<'a> {
    service: &'a str,
    span: Span,
    port: &'a str,
    protocol: &'a str,
    /// `None` is every address.
    address: Option<IpAddr>,
}

/// Reports services that could not run at the same time. Ports of `mode: host` may be on different
/// hosts, and ranges leave a choice: they are left to the scheduler.
pub(super) fn collisions(services: &BTreeMap<&str, &Entry>, problems: &mut Problems) {
    let mut seen: BTreeMap<(&str, &str), Vec<Published<'_>>> = BTreeMap::new();
    for (service, entry) in services {
        let node = &entry.node;
        let replicas = at(node, "deploy.replicas").or_else(|| node.get("scale"));
        if replicas.and_then(Node::as_float) == Some(0.0)
            || node.get_str("network_mode") == Some("host")
        {
            continue;
        }
        let items = node.get("ports").map(Node::items).unwrap_or_default();
        for port in items.iter().filter_map(|it| published(service, it)) {
            let seen = seen.entry((port.port, port.protocol)).or_default();
            let other = seen
                .iter()
                .find(|it| it.service != *service && it.shares_address(&port));
            if let Some(other) = other {
                let title = format!(
                    "services `{}` and `{service}` publish the same port {}/{}",
                    other.service, port.port, port.protocol
                );
                problems
                    .error(port.span, title)
                    .set_code("conflict")
                    .set_help("publish one of them on another port of the host");
                problems.relate(other.span, format!("`{}` publishes it here", other.service));
            }
            seen.push(port);
        }
    }
}

fn published<'a>(service: &'a str, item: &'a Node) -> Option<Published<'a>> {
    let port = item.get_str("published")?;
    if port.is_empty() || port.contains(['-', '$']) || item.get_str("mode") == Some("host") {
        return None;
    }
    let address = item.get_str("host_ip").and_then(|it| it.parse().ok());
    Some(Published {
        service,
        span: item.span,
        port,
        protocol: item.get_str("protocol").unwrap_or("tcp"),
        address: address.filter(|it: &IpAddr| !it.is_unspecified()),
    })
}

impl Published<'_> {
    fn shares_address(&self, other: &Self) -> bool {
        match (self.address, other.address) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}
