//! Elements as text, from networks and containers in a drawing.

use scheduler::model::network::Ipv6Subnet;

use super::*;
use crate::network::BoundPort;
use crate::network::record::InterfaceRecord;

fn network(id: &str, subnet: &str, options: &str) -> NetworkRecord {
    let subnet: ipnet::IpNet = subnet.parse().unwrap();
    NetworkRecord {
        id: NetworkId::new(id),
        name: id.to_owned(),
        bridge: format!("wh-{id}"),
        subnet,
        gateway: subnet.hosts().next().unwrap(),
        ipv6: None,
        internal: options.contains("internal"),
        inter_container: !options.contains("isolated"),
        masquerade: !options.contains("routed"),
        mtu: None,
        overlay: None,
        tunnel: None,
        tunnel_mtu: None,
    }
}

fn container(id: &str, address: &str, ports: &[(&str, u16, u16, Protocol)]) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::new(id),
        interfaces: vec![InterfaceRecord {
            network: NetworkId::new("front"),
            veth: format!("whv{id}"),
            name: "eth0".to_owned(),
            address: address.parse().unwrap(),
            ipv6: None,
            link_local: Vec::new(),
            mac: "02:42:0a:01:00:02".to_owned(),
        }],
        forward_to: Some(address.parse().unwrap()),
        forward_to_ipv6: None,
        ports: ports
            .iter()
            .map(|(host_ip, port, target, protocol)| BoundPort {
                host_ip: host_ip.parse().unwrap(),
                port: *port,
                target: *target,
                protocol: *protocol,
            })
            .collect(),
    }
}

fn firewall(networks: &[NetworkRecord], containers: &[ContainerRecord]) -> Firewall {
    with_shared(networks, containers, &[])
}

fn with_shared(
    networks: &[NetworkRecord],
    containers: &[ContainerRecord],
    shared: &[SharedPort],
) -> Firewall {
    Firewall::of(
        &networks
            .iter()
            .map(|network| (network.id.clone(), network.clone()))
            .collect(),
        &containers
            .iter()
            .map(|container| (container.id.clone(), container.clone()))
            .collect(),
        shared.iter(),
        Ways::Kept,
    )
}

fn shared(host_ip: Option<&str>, backends: &[&str]) -> SharedPort {
    SharedPort {
        service: "shop_web".into(),
        host_ip: host_ip.map(|it| it.parse().unwrap()),
        port: 80,
        protocol: Protocol::Tcp,
        target: 8080,
        network: NetworkId::new("front"),
        backends: backends.iter().map(|it| it.parse().unwrap()).collect(),
    }
}

#[test]
fn a_shared_port_is_a_chain_that_changes_with_its_containers() {
    let none = firewall(&[], &[]);
    let one = with_shared(&[], &[], &[shared(None, &["10.1.0.2"])]);
    check(
        &none,
        &one,
        "
add chain inet wharfie to_tcp_80
flush chain inet wharfie to_tcp_80
add rule inet wharfie to_tcp_80 meta l4proto tcp dnat ip to 10.1.0.2:8080
add element inet wharfie published { 10.1.0.2 . tcp . 8080 }
add element inet wharfie tcp_shared { 80 : goto to_tcp_80 }
",
    );
    let two = with_shared(&[], &[], &[shared(None, &["10.1.0.2", "10.1.0.3"])]);
    check(
        &one,
        &two,
        "
add chain inet wharfie to_tcp_80
flush chain inet wharfie to_tcp_80
add rule inet wharfie to_tcp_80 meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.0.3 . 8080
}
add element inet wharfie published { 10.1.0.3 . tcp . 8080 }
",
    );
    // Without containers there is no rule, and the host itself refuses the connection.
    check(
        &one,
        &with_shared(&[], &[], &[shared(None, &[])]),
        "
delete element inet wharfie published { 10.1.0.2 . tcp . 8080 }
delete element inet wharfie tcp_shared { 80 : goto to_tcp_80 }
flush chain inet wharfie to_tcp_80
delete chain inet wharfie to_tcp_80
",
    );
    check(
        &none,
        &with_shared(&[], &[], &[shared(Some("127.0.0.1"), &["10.1.0.2"])]),
        "
add chain inet wharfie to_tcp_80_127_0_0_1
flush chain inet wharfie to_tcp_80_127_0_0_1
add rule inet wharfie to_tcp_80_127_0_0_1 meta l4proto tcp dnat ip to 10.1.0.2:8080
add element inet wharfie published { 10.1.0.2 . tcp . 8080 }
add element inet wharfie tcp_shared_on { 127.0.0.1 . 80 : goto to_tcp_80_127_0_0_1 }
",
    );
}

#[test]
fn tunnels_are_open_to_nodes_alone_and_forwarded_packets_leave_under_the_nodes_address() {
    let mut spread = network("front", "10.1.0.0/24", "internal");
    let before = firewall(&[spread.clone()], &[]);
    spread.overlay = Some(AssignedOverlay {
        vni: 4097,
        local: "192.0.2.1".parse().unwrap(),
        address: "10.1.0.9".parse().ok(),
        ipv6: None,
        remote: vec![scheduler::assignment::RemoteEndpoint {
            address: "10.1.0.3".parse().unwrap(),
            mac: "02:42:0a:01:00:03".into(),
            node: "192.0.2.2".parse().unwrap(),
            keeps_clients: false,
        }],
        entries: Vec::new(),
    });
    check(
        &before,
        &firewall(&[spread], &[]),
        "
add element inet wharfie beyond { 10.1.0.3 : 10.1.0.9 }
add element inet wharfie guarded { 4789 }
add element inet wharfie nodes { 192.0.2.2 }
add element bridge wharfie own { 02:42:0a:01:00:09 }
",
    );
}

#[track_caller]
fn check(from: &Firewall, to: &Firewall, expected: &str) {
    assert_eq!(
        from.change(to, "wharfie").unwrap_or_default().trim(),
        expected.trim()
    );
}

#[test]
fn a_network_is_a_few_elements() {
    check(
        &Firewall::default(),
        &firewall(&[network("front", "10.1.0.0/24", "")], &[]),
        r#"
add element inet wharfie bridges { "wh-front" }
add element inet wharfie same { "wh-front" . "wh-front" }
add element inet wharfie open { "wh-front" . "wh-front" }
add element inet wharfie masquerade_from { 10.1.0.0/24 }
add element inet wharfie inside { 10.1.0.0/24 }
add element bridge wharfie inside { 10.1.0.0/24 }
"#,
    );
}

#[test]
fn an_internal_network_has_no_way_out() {
    check(
        &Firewall::default(),
        &firewall(&[network("back", "10.2.0.0/24", "internal isolated")], &[]),
        r#"
add element inet wharfie bridges { "wh-back" }
add element inet wharfie internal { "wh-back" }
add element inet wharfie same { "wh-back" . "wh-back" }
add element inet wharfie inside { 10.2.0.0/24 }
add element bridge wharfie inside { 10.2.0.0/24 }
"#,
    );
}

#[test]
fn a_published_port_is_an_element() {
    let networks = [network("front", "10.1.0.0/24", "routed")];
    let before = firewall(&networks, &[]);
    let ports = [
        ("0.0.0.0", 8080, 80, Protocol::Tcp),
        ("127.0.0.1", 53, 5353, Protocol::Udp),
    ];
    let after = firewall(&networks, &[container("a", "10.1.0.2", &ports)]);
    check(
        &before,
        &after,
        r#"
add element inet wharfie published { 10.1.0.2 . tcp . 80, 10.1.0.2 . udp . 5353 }
add element inet wharfie tcp_any { 8080 : 10.1.0.2 . 80 }
add element inet wharfie udp_on { 127.0.0.1 . 53 : 10.1.0.2 . 5353 }
add element bridge wharfie veths { "whva" }
add element bridge wharfie pinned { "whva" . 02:42:0a:01:00:02 . 10.1.0.2 }
"#,
    );
}

#[test]
fn a_port_that_moves_to_another_container_is_deleted_first() {
    let ports = [("0.0.0.0", 8080, 80, Protocol::Tcp)];
    let before = firewall(&[], &[container("a", "10.1.0.2", &ports)]);
    let after = firewall(&[], &[container("a", "10.1.0.3", &ports)]);
    check(
        &before,
        &after,
        r#"
delete element inet wharfie published { 10.1.0.2 . tcp . 80 }
delete element inet wharfie tcp_any { 8080 : 10.1.0.2 . 80 }
delete element bridge wharfie pinned { "whva" . 02:42:0a:01:00:02 . 10.1.0.2 }
add element inet wharfie published { 10.1.0.3 . tcp . 80 }
add element inet wharfie tcp_any { 8080 : 10.1.0.3 . 80 }
add element bridge wharfie pinned { "whva" . 02:42:0a:01:00:02 . 10.1.0.3 }
"#,
    );
}

#[test]
fn nothing_changed_is_no_transaction() {
    let same = firewall(&[network("front", "10.1.0.0/24", "")], &[]);
    assert_eq!(same.change(&same, "wharfie"), None);
}

#[test]
fn making_anew_deletes_what_was_there_in_the_same_transaction() {
    let text = firewall(&[network("front", "10.1.0.0/24", "")], &[]).create("wharfie_abc");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "add table inet wharfie_abc",
            "delete table inet wharfie_abc",
            "add table bridge wharfie_abc",
            "delete table bridge wharfie_abc",
            "add table ip wharfie_abc",
        ]
    );
    assert!(!text.contains("TABLE"));
    assert!(text.ends_with("add element bridge wharfie_abc inside { 10.1.0.0/24 }\n"));
}

#[test]
fn a_network_of_both_kinds_is_in_the_sets_of_both() {
    let mut network = network("front", "10.1.0.0/24", "isolated");
    network.ipv6 = Some(Ipv6Subnet {
        subnet: "fd00:1::/64".parse().unwrap(),
        gateway: "fd00:1::1".parse().unwrap(),
    });
    let ports = [
        ("0.0.0.0", 8080, 80, Protocol::Tcp),
        ("::", 8080, 80, Protocol::Tcp),
        ("2001:db8::1", 53, 5353, Protocol::Udp),
    ];
    let mut container = container("a", "10.1.0.2", &ports);
    container.forward_to_ipv6 = "fd00:1::2".parse().ok();
    container.interfaces[0].ipv6 = "fd00:1::2".parse().ok();
    check(
        &Firewall::default(),
        &firewall(&[network], &[container]),
        r#"
add element inet wharfie bridges { "wh-front" }
add element inet wharfie bridges6 { "wh-front" }
add element inet wharfie same { "wh-front" . "wh-front" }
add element inet wharfie masquerade_from { 10.1.0.0/24 }
add element inet wharfie masquerade_from6 { fd00:1::/64 }
add element inet wharfie published { 10.1.0.2 . tcp . 80 }
add element inet wharfie published6 { fd00:1::2 . tcp . 80, fd00:1::2 . udp . 5353 }
add element inet wharfie tcp_any { 8080 : 10.1.0.2 . 80 }
add element inet wharfie tcp_any6 { 8080 : fd00:1::2 . 80 }
add element inet wharfie udp_on6 { 2001:db8::1 . 53 : fd00:1::2 . 5353 }
add element inet wharfie inside { 10.1.0.0/24 }
add element inet wharfie inside6 { fd00:1::/64 }
add element bridge wharfie veths { "whva" }
add element bridge wharfie pinned { "whva" . 02:42:0a:01:00:02 . 10.1.0.2 }
add element bridge wharfie pinned6 { "whva" . 02:42:0a:01:00:02 . fd00:1::2, "whva" . 02:42:0a:01:00:02 . fe80::42:aff:fe01:2 }
add element bridge wharfie told { "whva" . 02:42:0a:01:00:02 . 0xfd000001000000000000000000000002, "whva" . 02:42:0a:01:00:02 . 0xfe8000000000000000420afffe010002 }
add element bridge wharfie inside { 10.1.0.0/24 }
add element bridge wharfie inside6 { fd00:1::/64 }
"#,
    );
}

#[test]
fn a_shared_port_leads_to_containers_of_the_kind_that_was_asked_for() {
    let both = ["10.1.0.2", "fd00:1::2", "fd00:1::3"];
    check(
        &firewall(&[], &[]),
        &with_shared(&[], &[], &[shared(Some("::"), &both)]),
        "
add chain inet wharfie to6_tcp_80
flush chain inet wharfie to6_tcp_80
add rule inet wharfie to6_tcp_80 meta l4proto tcp dnat ip6 to numgen inc mod 2 map { 0 : fd00:1::2 . 8080, 1 : fd00:1::3 . 8080
}
add element inet wharfie published6 { fd00:1::2 . tcp . 8080, fd00:1::3 . tcp . 8080 }
add element inet wharfie tcp_shared6 { 80 : goto to6_tcp_80 }
",
    );
    let one = shared(Some("2001:db8::1"), &["fd00:1::2"]);
    check(
        &firewall(&[], &[]),
        &with_shared(&[], &[], &[one]),
        "
add chain inet wharfie to6_tcp_80_2001_db8__1
flush chain inet wharfie to6_tcp_80_2001_db8__1
add rule inet wharfie to6_tcp_80_2001_db8__1 meta l4proto tcp dnat ip6 to [fd00:1::2]:8080
add element inet wharfie published6 { fd00:1::2 . tcp . 8080 }
add element inet wharfie tcp_shared_on6 { 2001:db8::1 . 80 : goto to6_tcp_80_2001_db8__1 }
",
    );
}

/// `10.1.0.3` on node 192.0.2.2, which is 10.1.0.8 on the network; this one is 10.1.0.9.
fn spread_network() -> NetworkRecord {
    let mut spread = network("front", "10.1.0.0/24", "");
    spread.tunnel = Some("whx-front".to_owned());
    spread.overlay = Some(AssignedOverlay {
        vni: 4097,
        local: "192.0.2.1".parse().unwrap(),
        address: "10.1.0.9".parse().ok(),
        ipv6: None,
        remote: vec![scheduler::assignment::RemoteEndpoint {
            address: "10.1.0.3".parse().unwrap(),
            mac: "02:42:0a:01:00:03".into(),
            node: "2001:db8::2".parse().unwrap(),
            keeps_clients: true,
        }],
        entries: vec![scheduler::assignment::Entry {
            address: "10.1.0.8".parse().unwrap(),
            ipv6: "fd00:1::8".parse().ok(),
        }],
    });
    spread
}

#[test]
fn clients_of_other_nodes_are_answered_by_the_way_they_came() {
    let before = firewall(&[network("front", "10.1.0.0/24", "")], &[]);
    check(
        &before,
        &firewall(&[spread_network()], &[]),
        r#"
add element inet wharfie beyond { 10.1.0.3 : 10.1.0.9 }
add element inet wharfie direct { 10.1.0.3 }
add element inet wharfie marks { "wh-front" . 02:42:0a:01:00:08 : 0xe771ff8f }
add element inet wharfie zones { "wh-front" . 02:42:0a:01:00:08 : 26464 }
add element inet wharfie ways { 0xe771ff8f }
add element inet wharfie guarded { 4789 }
add element inet wharfie nodes6 { 2001:db8::2 }
add element bridge wharfie own { 02:42:0a:01:00:09 }
add element bridge wharfie own_of { "whx-front" : 02:42:0a:01:00:09 }
add element bridge wharfie gateways { "whx-front" : 02:42:0a:01:00:01 }
add element bridge wharfie entries { "whx-front" . 02:42:0a:01:00:08 }
add element ip wharfie ways { 0xe771ff8f }
add element ip6 wharfie ways { 0xe771ff8f }
add element ip wharfie back { 0xe771ff8f : 10.1.0.8 }
add element ip6 wharfie back { 0xe771ff8f : fd00:1::8 }
"#,
    );
}

#[test]
fn a_kernel_that_cannot_answer_so_is_told_nothing_of_it() {
    let network = spread_network();
    let networks = BTreeMap::from([(network.id.clone(), network)]);
    let none = std::iter::empty();
    let text = Firewall::of(&networks, &BTreeMap::new(), none, Ways::Lost).create("wharfie");
    for absent in ["table ip ", "table ip6 ", "marks {", "entries {"] {
        let lines = text
            .lines()
            .filter(|it| it.starts_with("add element") || !it.starts_with('\t'));
        assert_eq!(
            lines.filter(|it| it.contains(absent)).count(),
            0,
            "{absent}"
        );
    }
    // As an entry node it does its part.
    assert!(text.contains("add element inet wharfie direct { 10.1.0.3 }"));
}
