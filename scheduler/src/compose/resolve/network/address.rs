//! Addresses that a service asks for on its networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::deploy::mode;
use super::super::{Resolver, flag};
use super::pool;
use crate::compose::diagnostic::Span;
use crate::compose::document::Node;
use crate::model::container::NetworkAttachment;
use crate::model::service::ServiceMode;

impl Resolver<'_> {
    /// A fixed address needs a subnet that somebody fixed, too.
    pub(super) fn check_fixed(&mut self, key: &str, node: &Node, attachment: &NetworkAttachment) {
        let Some(network) = self.model.get("networks").and_then(|it| it.get(key)) else {
            return;
        };
        if flag(network, "external") {
            return;
        }
        let has_ipv6 = flag(network, "enable_ipv6");
        let has_ipv4 = network.get_bool("enable_ipv4") != Some(false);
        let pools = pool::declared(network).iter();
        let subnets: Vec<IpNet> = pools
            .filter_map(|it| it.get_str("subnet")?.parse().ok())
            .collect();
        for address in attachment.fixed_addresses() {
            let (attribute, has_kind, example) = match address {
                IpAddr::V4(_) => ("ipv4_address", has_ipv4, "10.5.0.0/24"),
                IpAddr::V6(_) => ("ipv6_address", has_ipv6, "fd00:5::/64"),
            };
            let place = node.get(attribute).map_or(node.span, |it| it.span);
            let is_alike = |it: &&IpNet| it.addr().is_ipv4() == address.is_ipv4();
            let mut alike = subnets.iter().filter(is_alike).peekable();
            if !has_kind {
                self.refuse_kind(key, place, address);
            } else if alike.peek().is_none() {
                let title = format!("a fixed address needs a subnet, and network `{key}` has none");
                let help = format!(
                    "declare one: `networks: {{{key}: {{ipam: {{config: [{{subnet: {example}}}]}}}}}}`"
                );
                self.problems.error(place, title).set_help(help);
            } else if !alike.any(|it| it.contains(&address)) {
                let title = format!("{address} lies outside of the subnet of network `{key}`");
                self.problems.error(place, title);
            }
        }
        for address in attachment.link_local_ips.iter().filter(|it| it.is_ipv6()) {
            if !has_ipv6 {
                let place = node.get("link_local_ips").map_or(node.span, |it| it.span);
                self.refuse_kind(key, place, *address);
            }
        }
    }

    /// A port on an IPv6 address of the host needs a container with one.
    pub(super) fn check_ports(&mut self, service: &Node) {
        let networks = service.get("networks").into_iter().flat_map(Node::entries);
        let declared = self.model.get("networks");
        let mut networks = networks.filter_map(|(key, _)| declared?.get(key));
        if networks.any(|it| flag(it, "external") || flag(it, "enable_ipv6")) {
            return;
        }
        for port in service.get("ports").map(Node::items).unwrap_or_default() {
            let address = port.get_str("host_ip").and_then(|it| it.parse().ok());
            if let Some(address @ IpAddr::V6(_)) = address {
                let title =
                    format!("the container has no IPv6 address that {address} could lead to");
                let help = "write `enable_ipv6: true` at one of its networks";
                self.problems.unsupported(port.span, title).set_help(help);
            }
        }
    }

    fn refuse_kind(&mut self, key: &str, place: Span, address: IpAddr) {
        let (kind, remedy) = match address {
            IpAddr::V4(_) => ("IPv4", "remove `enable_ipv4: false` from it"),
            IpAddr::V6(_) => ("IPv6", "write `enable_ipv6: true` there"),
        };
        let title = format!("network `{key}` has no {kind} addresses such as {address}");
        self.problems.unsupported(place, title).set_help(remedy);
    }

    /// Further addresses, mostly link-local ones; what cannot be a container's at all is refused.
    pub(super) fn link_local(&mut self, node: &Node) -> Vec<IpAddr> {
        let list = node.get("link_local_ips");
        let mut found = Vec::new();
        for item in list.map(Node::items).unwrap_or_default() {
            let Some(address): Option<IpAddr> = self.parsed(Some(item), "an IP address") else {
                continue;
            };
            if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
                let title = format!("{address} cannot be the address of a container");
                self.problems.error(item.span, title);
            } else {
                found.push(address);
            }
        }
        found
    }

    /// An address belongs to one container.
    pub(super) fn check_single(&mut self, service: &Node, node: &Node) {
        let ServiceMode::Replicated { replicas: 2.. } = mode(service) else {
            return;
        };
        for key in [
            "ipv4_address",
            "ipv6_address",
            "link_local_ips",
            "mac_address",
        ] {
            if let Some(address) = node.get(key) {
                let title =
                    format!("`{key}` belongs to one container, but the service has several");
                self.problems.error(address.span, title);
            }
        }
    }
}
