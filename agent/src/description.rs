//! What this node says of itself when it registers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use scheduler::model::node::NodeDescription;
use thiserror::Error;

use crate::network;

/// What people say a machine has, which services may reserve: `--node-generic-resource`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub counted: BTreeMap<String, u64>,
    pub named: BTreeMap<String, BTreeSet<String>>,
}

/// Why some text says nothing about what a machine has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResourcesError {
    #[error("`{text}` is not KIND=COUNT or KIND=NAME")]
    Form { text: String },
    #[error("`{kind}` is given with a count and with names, or twice with a count")]
    Mixed { kind: String },
}

impl Resources {
    /// Reads `gpu=2`, or `gpu=UUID1,gpu=UUID2`, as dockerd's option has it.
    ///
    /// # Errors
    ///
    /// Returns [`ResourcesError`] for anything else, and for a kind with both.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ResourcesError> {
        let mut found = Self::default();
        for text in texts.into_iter().flat_map(|text| text.split(',')) {
            let form = || ResourcesError::Form { text: text.into() };
            let (kind, value) = text.trim().split_once('=').ok_or_else(form)?;
            if kind.is_empty() || value.is_empty() {
                return Err(form());
            }
            let is_new = match value.parse::<u64>() {
                Ok(count) => {
                    let before = found.counted.insert(kind.to_owned(), count);
                    before.is_none() && !found.named.contains_key(kind)
                }
                Err(_) => {
                    let names = found.named.entry(kind.to_owned()).or_default();
                    names.insert(value.to_owned());
                    !found.counted.contains_key(kind)
                }
            };
            if !is_new {
                return Err(ResourcesError::Mixed { kind: kind.into() });
            }
        }
        Ok(found)
    }
}

/// Looks at this machine, and adds what people say of it: labels, and countable things by kind.
/// What cannot be found out is left at its default.
pub(crate) fn of_this_machine(
    engine_labels: &BTreeMap<String, String>,
    resources: &Resources,
) -> NodeDescription {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    NodeDescription {
        hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
        cpu_millis: std::thread::available_parallelism().map_or(1, usize::from) as u64 * 1000,
        memory: memory(&read("/proc/meminfo")),
        engine_labels: engine_labels.clone(),
        generic_resources: resources.counted.clone(),
        named_resources: resources.named.clone(),
        host_routes: routes(&read("/proc/net/route")),
        authority: String::new(),
        keeps_clients: network::keeps_clients(),
    }
}

/// Go's names, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Bytes, from the text of `/proc/meminfo`; proc_meminfo(5).
fn memory(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes =
        total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Destinations from the text of `/proc/net/route`, without the default route and without our own
/// bridges. Addresses are in hexadecimal as the machine stores them.
fn routes(text: &str) -> Vec<Ipv4Net> {
    let mut routes = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(interface), Some(destination), Some(mask)) =
            (fields.first(), fields.get(1), fields.get(7))
        else {
            continue;
        };
        let address = |hex: &str| {
            u32::from_str_radix(hex, 16)
                .ok()
                .map(|n| Ipv4Addr::from(n.to_ne_bytes()))
        };
        let (Some(destination), Some(mask)) = (address(destination), address(mask)) else {
            continue;
        };
        let ours = interface.starts_with("wh-") && is_bridge(interface);
        if let Ok(route) = Ipv4Net::with_netmask(destination, mask)
            && route.prefix_len() > 0
            && !ours
        {
            routes.push(route);
        }
    }
    routes
}

fn is_bridge(interface: &str) -> bool {
    Path::new("/sys/class/net")
        .join(interface)
        .join("bridge")
        .exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_without_the_default_one() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(table), ["192.168.0.0/16".parse().unwrap()]);
    }

    #[test]
    fn a_kind_is_counted_or_has_names() {
        let check = |texts: &[&str], expected: &str| {
            let text = match Resources::parse(texts.iter().copied()) {
                Ok(found) => format!("{:?} {:?}", found.counted, found.named),
                Err(error) => error.to_string(),
            };
            assert_eq!(text, expected);
        };
        check(&[], "{} {}");
        check(&["gpu=2", "fpga=1"], r#"{"fpga": 1, "gpu": 2} {}"#);
        check(&["gpu=b,gpu=a"], r#"{} {"gpu": {"a", "b"}}"#);
        check(&["gpu=b", "gpu=a"], r#"{} {"gpu": {"a", "b"}}"#);
        let mixed = "`gpu` is given with a count and with names, or twice with a count";
        check(&["gpu=2,gpu=a"], mixed);
        check(&["gpu=a,gpu=2"], mixed);
        check(&["gpu=1,gpu=2"], mixed);
        check(&["gpu"], "`gpu` is not KIND=COUNT or KIND=NAME");
        check(&["=1"], "`=1` is not KIND=COUNT or KIND=NAME");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            memory("MemTotal:       24500000 kB\nMemFree: 1 kB\n"),
            24_500_000 * 1024
        );
        assert_eq!(memory("nonsense"), 0);
    }
}
