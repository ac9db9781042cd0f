//! Rule text from services in a drawing.

use std::net::IpAddr;

use scheduler::assignment::{AssignedNetwork, VirtualAddress};
use scheduler::model::id::NetworkId;

fn network(services: &[(&str, &[&str])]) -> AssignedNetwork {
    AssignedNetwork {
        overlay: None,
        id: NetworkId::new("front"),
        name: "front".to_owned(),
        subnet: "10.1.0.0/24".parse().unwrap(),
        gateway: [10, 1, 0, 1].into(),
        ipv6: None,
        internal: false,
        mtu: None,
        bridge_name: None,
        inter_container: true,
        masquerade: true,
        names: Default::default(),
        virtual_addresses: services
            .iter()
            .map(|(address, backends)| VirtualAddress {
                service: String::new(),
                address: address.parse().unwrap(),
                backends: backends
                    .iter()
                    .map(|backend| backend.parse().unwrap())
                    .collect(),
            })
            .collect(),
    }
}

#[track_caller]
fn check(services: &[(&str, &[&str])], expected: &str) {
    assert_eq!(
        super::rules(&[&network(services)])
            .replace('\t', " ")
            .trim(),
        expected.trim()
    );
}

#[test]
fn without_virtual_addresses_there_are_no_rules() {
    check(&[], "");
}

#[test]
fn connections_go_to_one_backend_after_the_other() {
    check(
        &[
            ("10.1.0.9", &["10.1.0.2", "10.1.0.3"]),
            ("10.1.0.10", &["10.1.0.4"]),
        ],
        r#"
table ip wharfie {
 chain to_10_1_0_9 {
  dnat to numgen inc mod 2 map { 0 : 10.1.0.2, 1 : 10.1.0.3
  }
 }
 chain to_10_1_0_10 {
  dnat to 10.1.0.4
 }
 chain balance {
  type nat hook output priority -100; policy accept;
  ip daddr vmap { 10.1.0.9 : goto to_10_1_0_9, 10.1.0.10 : goto to_10_1_0_10 }
 }
 chain hairpin {
  type nat hook postrouting priority srcnat; policy accept;
  ct status dnat oifname "lo" masquerade
 }
}
"#,
    );
}

#[test]
fn a_service_without_backends_refuses() {
    check(
        &[("10.1.0.9", &[])],
        r#"
table ip wharfie {
 chain refuse {
  type filter hook output priority filter; policy accept;
  ip daddr { 10.1.0.9 } meta l4proto tcp reject with tcp reset
  ip daddr { 10.1.0.9 } reject with icmp type port-unreachable
 }
}
"#,
    );
}

#[test]
fn a_backend_that_left_is_named() {
    let before = super::rules(&[&network(&[("10.1.0.9", &["10.1.0.2", "10.1.0.3"])])]);
    let after = super::rules(&[&network(&[("10.1.0.9", &["10.1.0.3"])])]);
    assert_eq!(super::gone(&before, &after), [IpAddr::from([10, 1, 0, 2])]);
    assert!(super::gone(&after, &before).is_empty());
}

#[test]
fn ipv6_has_a_table_of_its_own() {
    let services: &[(&str, &[&str])] = &[("fd00:1::9", &["fd00:1::2"]), ("fd00:1::a", &[])];
    check(
        services,
        r#"
table ip6 wharfie {
 chain to_fd00_1__9 {
  dnat to fd00:1::2
 }
 chain balance {
  type nat hook output priority -100; policy accept;
  ip6 daddr vmap { fd00:1::9 : goto to_fd00_1__9 }
 }
 chain hairpin {
  type nat hook postrouting priority srcnat; policy accept;
  ct status dnat oifname "lo" masquerade
 }
 chain refuse {
  type filter hook output priority filter; policy accept;
  ip6 daddr { fd00:1::a } meta l4proto tcp reject with tcp reset
  ip6 daddr { fd00:1::a } reject with icmpv6 type port-unreachable
 }
}
"#,
    );
    let rules = super::rules(&[&network(services)]);
    let replaced = super::replace(&rules, "");
    assert!(replaced.contains("delete table ip6 wharfie"));
    assert!(!super::replace("", "").contains("ip6"));
    let address: IpAddr = "fd00:1::2".parse().unwrap();
    assert!(super::gone(&rules, "").contains(&address));
}
