//! Networks, volumes, and how a service is connected.

mod address;
mod pool;

use std::collections::{BTreeMap, BTreeSet};

use super::{Resolver, count, flag, text, text_map, texts};
use crate::assignment::build::COMPOSE_VERSION;
use crate::compose::document::Node;
use crate::model::container::{NetworkAttachment, NetworkMode};
use crate::model::network::{NetworkDriver, NetworkSpec};
use crate::model::volume::VolumeSpec;

impl Resolver<'_> {
    pub(super) fn networks(&mut self) -> BTreeMap<String, NetworkSpec> {
        let networks = self.section("networks");
        networks
            .map(|(key, node)| {
                let mut spec = self.network(node);
                if !spec.external {
                    spec.labels.extend(self.labels("network", key));
                }
                (key.to_owned(), spec)
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
            external: flag(node, "external"),
            ..NetworkSpec::default()
        };
        self.pools(node, &mut spec);
        spec
    }

    pub(super) fn volumes(&mut self) -> BTreeMap<String, VolumeSpec> {
        let mut volumes = BTreeMap::new();
        for (key, node) in self.section("volumes") {
            let driver = text(node, "driver").unwrap_or_else(|| "local".to_owned());
            if driver != "local"
                && let Some(driver_node) = node.get("driver")
            {
                let title = format!(
                    "the volume driver `{driver}` is not supported; `local` is the only one"
                );
                self.problems.unsupported(driver_node.span, title);
            }
            let mut spec = VolumeSpec {
                name: text(node, "name").unwrap_or_else(|| key.to_owned()),
                driver,
                driver_opts: text_map(node, "driver_opts"),
                labels: text_map(node, "labels"),
                external: flag(node, "external"),
            };
            if !spec.external {
                spec.labels.extend(self.labels("volume", key));
            }
            volumes.insert(key.to_owned(), spec);
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
                ipv6_address: self.parsed(node.get("ipv6_address"), "an IPv6 address"),
                link_local_ips: self.link_local(node),
                mac_address: text(node, "mac_address"),
                priority: count(node, "priority").unwrap_or(0),
                gateway_priority: count(node, "gw_priority").unwrap_or(0),
                interface_name: text(node, "interface_name"),
            };
            attachment.aliases.extend(aliases.iter().cloned());
            self.check_fixed(key, node, &attachment);
            self.check_single(service, node);
            attachments.push(attachment);
        }
        // Equal ones in the order of their names, as in Docker Compose.
        attachments.sort_by_key(|it| std::cmp::Reverse(it.priority));
        // The old attribute means the first network.
        if let (Some(mac), Some(first)) = (mac, attachments.first_mut()) {
            first.mac_address.get_or_insert(mac);
        }
        self.check_ports(service);
        for attachment in &attachments {
            self.check_mac(service, attachment.mac_address.as_deref());
        }
        attachments
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
