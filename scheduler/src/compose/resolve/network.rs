//! Networks, volumes, and how a service is connected.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::deploy::mode;
use super::{Resolver, count, flag, text, text_map, texts};
use crate::assignment::build::COMPOSE_VERSION;
use crate::compose::document::Node;
use crate::compose::lint::Rule;
use crate::model::container::{NetworkAttachment, NetworkMode};
use crate::model::network::{NetworkDriver, NetworkSpec};
use crate::model::service::ServiceMode;
use crate::model::volume::VolumeSpec;

impl Resolver<'_> {
    pub(super) fn networks(&mut self) -> BTreeMap<String, NetworkSpec> {
        let networks = self.section("networks");
        networks
            .into_iter()
            .map(|(key, node)| {
                let mut spec = self.network(&node);
                if !spec.external {
                    spec.labels.extend(self.labels("network", &key));
                }
                (key, spec)
            })
            .collect()
    }

    /// By which tools find what belongs to a project.
    fn labels(&self, kind: &str, key: &str) -> [(String, String); 3] {
        let label =
            |name: &str, value: &str| (format!("com.docker.compose.{name}"), value.to_owned());
        [
            label("project", self.context.name),
            label(kind, key),
            label("version", COMPOSE_VERSION),
        ]
    }

    fn network(&mut self, node: &Node) -> NetworkSpec {
        let mut spec = NetworkSpec {
            name: text(node, "name").unwrap_or_default(),
            driver: match node.get_str("driver") {
                Some("overlay") => NetworkDriver::Overlay,
                _ => NetworkDriver::Bridge,
            },
            driver_opts: text_map(node, "driver_opts"),
            labels: text_map(node, "labels"),
            internal: flag(node, "internal"),
            attachable: flag(node, "attachable"),
            enable_ipv6: flag(node, "enable_ipv6"),
            external: flag(node, "external"),
            ..NetworkSpec::default()
        };
        if spec.enable_ipv6 {
            let flag = node.get("enable_ipv6").map_or(node.span, |it| it.span);
            self.problems.warn(
                Rule::NoEffect,
                flag,
                "`enable_ipv6` is not supported yet: the network is IPv4 only",
            );
        }
        for pool in node
            .get("ipam")
            .and_then(|it| it.get("config"))
            .map(Node::items)
            .unwrap_or_default()
        {
            self.pool(pool, &mut spec);
        }
        spec
    }

    fn pool(&mut self, pool: &Node, spec: &mut NetworkSpec) {
        if pool.get_str("subnet").is_some_and(|it| it.contains(':')) {
            let subnet = pool.get("subnet").map_or(pool.span, |it| it.span);
            self.problems.warn(
                Rule::NoEffect,
                subnet,
                "IPv6 subnets are not supported yet; this one has no effect",
            );
            return;
        }
        if spec.subnet.is_some() {
            self.problems.unsupported(
                pool.span,
                "a network has one IPv4 subnet; this is a second one",
            );
            return;
        }
        let what = "an IPv4 subnet such as `10.5.0.0/24`";
        spec.subnet = self
            .parsed::<Ipv4Net>(pool.get("subnet"), what)
            .map(|it| it.trunc());
        spec.gateway = self.parsed(pool.get("gateway"), "an IPv4 address");
        spec.ip_range = self.parsed(pool.get("ip_range"), what);
        for (name, entry) in pool
            .get("aux_addresses")
            .into_iter()
            .flat_map(Node::entries)
        {
            if let Some(address) = self.parsed(Some(&entry.node), "an IPv4 address") {
                spec.aux_addresses.insert(name.to_owned(), address);
            }
        }
        let Some(subnet) = spec.subnet else { return };
        for key in ["gateway", "ip_range"] {
            let inside = match key {
                "gateway" => spec.gateway.is_none_or(|it| subnet.contains(&it)),
                _ => spec.ip_range.is_none_or(|it| subnet.contains(&it)),
            };
            if let (false, Some(node)) = (inside, pool.get(key)) {
                self.problems.error(
                    node.span,
                    format!("`{key}` lies outside of the subnet {subnet}"),
                );
            }
        }
    }

    pub(super) fn volumes(&mut self) -> BTreeMap<String, VolumeSpec> {
        let mut volumes = BTreeMap::new();
        for (key, node) in self.section("volumes") {
            let driver = text(&node, "driver").unwrap_or_else(|| "local".to_owned());
            if driver != "local"
                && let Some(driver_node) = node.get("driver")
            {
                let title = format!(
                    "the volume driver `{driver}` is not supported; `local` is the only one"
                );
                self.problems.unsupported(driver_node.span, title);
            }
            let mut spec = VolumeSpec {
                name: text(&node, "name").unwrap_or_else(|| key.clone()),
                driver,
                driver_opts: text_map(&node, "driver_opts"),
                labels: text_map(&node, "labels"),
                external: flag(&node, "external"),
            };
            if !spec.external {
                spec.labels.extend(self.labels("volume", &key));
            }
            volumes.insert(key, spec);
        }
        volumes
    }

    pub(super) fn network_mode(&mut self, name: &str, service: &Node) -> NetworkMode {
        let Some(mode) = service.get("network_mode") else {
            return NetworkMode::Attached(self.attachments(name, service));
        };
        match mode.as_str().unwrap_or_default() {
            "bridge" | "default" => NetworkMode::Attached(vec![NetworkAttachment {
                network: self.final_name("networks", "default"),
                ..NetworkAttachment::default()
            }]),
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            other => match other.split_once(':') {
                Some(("service", name)) => NetworkMode::Service(name.to_owned()),
                Some(("container", name)) => NetworkMode::Container(name.to_owned()),
                _ => {
                    let title = format!("the network mode `{other}` is not supported");
                    let help = "write `host`, `none`, `bridge`, `service:NAME` or `container:NAME`, or use `networks`";
                    self.problems.unsupported(mode.span, title).set_help(help);
                    NetworkMode::None
                }
            },
        }
    }

    fn attachments(&mut self, name: &str, service: &Node) -> Vec<NetworkAttachment> {
        let mac = text(service, "mac_address");
        let aliases = self.link_aliases.get(name).cloned().unwrap_or_default();
        let networks: BTreeMap<_, _> = service
            .get("networks")
            .into_iter()
            .flat_map(Node::entries)
            .collect();
        let mut attachments = Vec::new();
        for (key, entry) in networks {
            let node = &entry.node;
            let mut attachment = NetworkAttachment {
                network: self.final_name("networks", key),
                aliases: texts(node, "aliases"),
                ipv4_address: self.parsed(node.get("ipv4_address"), "an IPv4 address"),
                mac_address: text(node, "mac_address"),
                priority: count(node, "priority").unwrap_or(0),
                gateway_priority: count(node, "gw_priority").unwrap_or(0),
                interface_name: text(node, "interface_name"),
            };
            attachment.aliases.extend(aliases.iter().cloned());
            self.check_fixed_address(key, node, &attachment);
            self.check_single(service, node);
            attachments.push(attachment);
        }
        // Equal ones in the order of their names, as in Docker Compose.
        attachments.sort_by_key(|it| std::cmp::Reverse(it.priority));
        // The old attribute means the first network.
        if let (Some(mac), Some(first)) = (mac, attachments.first_mut()) {
            first.mac_address.get_or_insert(mac);
        }
        for attachment in &attachments {
            self.check_mac(service, attachment.mac_address.as_deref());
        }
        attachments
    }

    /// A fixed address needs a subnet that somebody fixed, too.
    fn check_fixed_address(&mut self, key: &str, node: &Node, attachment: &NetworkAttachment) {
        let (Some(address), Some(place)) = (attachment.ipv4_address, node.get("ipv4_address"))
        else {
            return;
        };
        let Some(network) = self.model.get("networks").and_then(|it| it.get(key)) else {
            return;
        };
        if flag(network, "external") {
            return;
        }
        let pools = network
            .get("ipam")
            .and_then(|it| it.get("config"))
            .map(Node::items)
            .unwrap_or_default();
        let subnets: Vec<Ipv4Net> = pools
            .iter()
            .filter_map(|it| it.get_str("subnet")?.parse().ok())
            .collect();
        if subnets.is_empty() {
            let title = format!("a fixed address needs a subnet, and network `{key}` has none");
            let help = format!(
                "declare one: `networks: {{{key}: {{ipam: {{config: [{{subnet: 10.5.0.0/24}}]}}}}}}`"
            );
            self.problems.error(place.span, title).set_help(help);
        } else if !subnets.iter().any(|it| it.contains(&address)) {
            self.problems.error(
                place.span,
                format!("{address} lies outside of the subnet of network `{key}`"),
            );
        }
    }

    /// An address belongs to one container.
    fn check_single(&mut self, service: &Node, node: &Node) {
        let ServiceMode::Replicated { replicas: 2.. } = mode(service) else {
            return;
        };
        for key in ["ipv4_address", "mac_address"] {
            if let Some(address) = node.get(key) {
                let title =
                    format!("`{key}` belongs to one container, but the service has several");
                self.problems.error(address.span, title);
            }
        }
    }

    fn check_mac(&mut self, service: &Node, mac: Option<&str>) {
        let Some(mac) = mac else { return };
        let pairs: Vec<_> = mac.split([':', '-']).collect();
        let hex = |it: &&str| it.len() == 2 && it.bytes().all(|it| it.is_ascii_hexdigit());
        if pairs.len() != 6 || !pairs.iter().all(hex) {
            self.problems.error(
                service.span,
                format!("`{mac}` is not a MAC address such as `02:42:ac:11:00:02`"),
            );
        }
    }
}

/// What other services call each service, by the services' names.
pub(super) fn link_aliases(model: &Node) -> BTreeMap<String, BTreeSet<String>> {
    let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, service) in model.get("services").into_iter().flat_map(Node::entries) {
        for link in texts(&service.node, "links") {
            if let Some((name, alias)) = link.split_once(':') {
                aliases
                    .entry(name.to_owned())
                    .or_default()
                    .insert(alias.to_owned());
            }
        }
    }
    aliases
}
