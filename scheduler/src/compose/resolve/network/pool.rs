//! `ipam.config`: which addresses a network has, one subnet of each kind.

use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::{Resolver, flag};
use crate::compose::document::Node;
use crate::compose::lint::Rule;
use crate::model::network::{Ipv6Pool, NetworkSpec};

impl Resolver<'_> {
    /// The kinds of addresses, and where they come from.
    pub(super) fn pools(&mut self, node: &Node, spec: &mut NetworkSpec) {
        spec.enable_ipv6 = flag(node, "enable_ipv6");
        spec.ipv6_only = node.get_bool("enable_ipv4") == Some(false);
        if spec.ipv6_only && !spec.enable_ipv6 {
            let place = node.get("enable_ipv4").map_or(node.span, |it| it.span);
            let title = "a network without IPv4 needs `enable_ipv6: true`";
            self.problems.error(place, title);
            spec.enable_ipv6 = true;
        }
        for pool in declared(node) {
            self.pool(pool, spec);
        }
    }

    fn pool(&mut self, pool: &Node, spec: &mut NetworkSpec) {
        let is_ipv6 = pool.get_str("subnet").is_some_and(|it| it.contains(':'));
        let known = match is_ipv6 {
            true => spec.ipv6.subnet.is_some(),
            false => spec.subnet.is_some(),
        };
        if known {
            let kind = if is_ipv6 { "IPv6" } else { "IPv4" };
            let title = format!("a network has one {kind} subnet; this is a second one");
            self.problems.unsupported(pool.span, title);
            return;
        }
        let unused = match is_ipv6 {
            true => (!spec.enable_ipv6).then_some("`enable_ipv6: true`"),
            false => spec.ipv6_only.then_some("IPv4, and `enable_ipv4` is false"),
        };
        if let Some(missing) = unused {
            let place = pool.get("subnet").map_or(pool.span, |it| it.span);
            let title = format!("this subnet has no effect without {missing}");
            self.problems.warn(Rule::NoEffect, place, title);
            return;
        }
        if is_ipv6 {
            let what = ["an IPv6 subnet such as `fd00:1::/64`", "an IPv6 address"];
            let (subnet, gateway, ip_range) = self.range::<Ipv6Net, _>(pool, what);
            spec.ipv6 = Ipv6Pool {
                subnet: subnet.map(|it| it.trunc()),
                gateway,
                ip_range,
            };
        } else {
            let what = ["an IPv4 subnet such as `10.5.0.0/24`", "an IPv4 address"];
            let (subnet, gateway, ip_range) = self.range::<Ipv4Net, _>(pool, what);
            spec.subnet = subnet.map(|it| it.trunc());
            spec.gateway = gateway;
            spec.ip_range = ip_range;
        }
        let reserved = pool.get("aux_addresses").into_iter();
        for (name, entry) in reserved.flat_map(Node::entries) {
            if let Some(address) = self.parsed(Some(&entry.node), "an IP address") {
                spec.aux_addresses.insert(name.to_owned(), address);
            }
        }
        self.check_inside(pool);
    }

    fn range<N: FromStr, A: FromStr>(
        &mut self,
        pool: &Node,
        [subnet, address]: [&str; 2],
    ) -> (Option<N>, Option<A>, Option<N>) {
        (
            self.parsed(pool.get("subnet"), subnet),
            self.parsed(pool.get("gateway"), address),
            self.parsed(pool.get("ip_range"), subnet),
        )
    }

    fn check_inside(&mut self, pool: &Node) {
        let parsed = |key: &str| pool.get_str(key)?.parse::<IpNet>().ok();
        let Some(subnet) = parsed("subnet").map(|it| it.trunc()) else {
            return;
        };
        let gateway = pool.get_str("gateway").and_then(|it| it.parse().ok());
        let outside = [
            (
                "gateway",
                gateway.is_some_and(|it: std::net::IpAddr| !subnet.contains(&it)),
            ),
            (
                "ip_range",
                parsed("ip_range").is_some_and(|it| !subnet.contains(&it)),
            ),
        ];
        for (key, is_outside) in outside {
            if let (true, Some(node)) = (is_outside, pool.get(key)) {
                let title = format!("`{key}` lies outside of the subnet {subnet}");
                self.problems.error(node.span, title);
            }
        }
    }
}

/// What a network's definition lists.
pub(super) fn declared(network: &Node) -> &[Node] {
    let config = network.get("ipam").and_then(|it| it.get("config"));
    config.map(Node::items).unwrap_or_default()
}
