//! Virtual addresses: rule text for the namespace of a container that uses them. Pure.
//!
//! The client's own namespace decides, on the first packet of a connection, which of the service's
//! containers gets it; connection tracking keeps to it. So the server sees the client's true
//! address, and no other host has to answer for the virtual one.
//!
//!     client ── connect 10.1.0.9 ──► output: 10.1.0.9 → one of {10.1.0.2, 10.1.0.3} ──► eth0
//!
//! There is a table for IPv4 and one for IPv6, each only while there is something for it to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use scheduler::assignment::AssignedNetwork;

/// The name of our tables inside containers' namespaces.
const TABLE: &str = "wharfie";

type Services = BTreeMap<IpAddr, Vec<IpAddr>>;

/// Rules that make the virtual addresses of these networks work; empty text when there are none.
pub(super) fn rules(networks: &[&AssignedNetwork]) -> String {
    let (mut four, mut six) = (Services::new(), Services::new());
    for service in networks.iter().flat_map(|it| &it.virtual_addresses) {
        let alike = match service.address {
            IpAddr::V4(_) => &mut four,
            IpAddr::V6(_) => &mut six,
        };
        alike.insert(service.address, service.backends.clone());
    }
    family("ip", "icmp", &four) + &family("ip6", "icmpv6", &six)
}

/// The table of one family: its word in rule text, and that of its control messages.
fn family(word: &str, icmp: &str, services: &Services) -> String {
    let mut text = String::new();
    if services.is_empty() {
        return text;
    }
    let (mut refused, mut jumps, mut chains) = (Vec::new(), Vec::new(), String::new());
    for (address, backends) in services {
        let target = match backends.as_slice() {
            [] => {
                refused.push(address.to_string());
                continue;
            }
            [only] => only.to_string(),
            several => spread(several),
        };
        let chain = format!("to_{}", address.to_string().replace(['.', ':'], "_"));
        let _ = writeln!(chains, "\tchain {chain} {{\n\t\tdnat to {target}\n\t}}");
        jumps.push(format!("{address} : goto {chain}"));
    }
    let _ = writeln!(text, "table {word} {TABLE} {{");
    text.push_str(&chains);
    if !jumps.is_empty() {
        let _ = writeln!(
            text,
            "\tchain balance {{\n\t\ttype nat hook output priority -100; policy accept;\n\t\t{word} daddr vmap {{ {} }}\n\t}}",
            jumps.join(", ")
        );
        // A container that is sent to itself must not see its own address as the client's.
        let _ = writeln!(
            text,
            "\tchain hairpin {{\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tct status dnat oifname \"lo\" masquerade\n\t}}",
        );
    }
    if !refused.is_empty() {
        let addresses = refused.join(", ");
        let _ = writeln!(
            text,
            "\tchain refuse {{\n\t\ttype filter hook output priority filter; policy accept;\n\
             \t\t{word} daddr {{ {addresses} }} meta l4proto tcp reject with tcp reset\n\
             \t\t{word} daddr {{ {addresses} }} reject with {icmp} type port-unreachable\n\t}}",
        );
    }
    text.push_str("}\n");
    text
}

/// The text that puts these rules in place of those before, and of whatever else there was for IPv4.
pub(super) fn replace(before: &str, rules: &str) -> String {
    let mut text = String::new();
    for word in ["ip", "ip6"] {
        let table = format!("table {word} {TABLE}");
        // A kernel without IPv6 does not know its tables.
        if word == "ip" || before.contains(&table) || rules.contains(&table) {
            let _ = writeln!(text, "add {table}\ndelete {table}");
        }
    }
    text + rules
}

/// The addresses that stood in the rules and do not any more: what goes on sending there
/// (datagrams without end) is to be forgotten.
pub(super) fn gone(before: &str, rules: &str) -> Vec<IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let addresses = |text: &str| -> BTreeSet<IpAddr> {
        text.split(|c: char| !is_part(c))
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    addresses(before)
        .difference(&addresses(rules))
        .copied()
        .collect()
}

/// One after the other, from the first on.
fn spread(backends: &[IpAddr]) -> String {
    let choices: Vec<String> = backends
        .iter()
        .enumerate()
        .map(|(i, backend)| format!("{i} : {backend}"))
        .collect();
    // The newline before the brace: nft 1.0.6 takes the last element and the brace for one word.
    format!(
        "numgen inc mod {} map {{ {}\n\t\t}}",
        backends.len(),
        choices.join(", ")
    )
}

#[cfg(test)]
mod tests;
