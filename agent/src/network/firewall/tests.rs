//! Elements as text, from networks and containers in a drawing.

use super::*;
use crate::network::BoundPort;
use crate::network::record::InterfaceRecord;

fn network(id: &str, subnet: &str, options: &str) -> NetworkRecord {
    let subnet: ipnet::Ipv4Net = subnet.parse().unwrap();
    NetworkRecord {
        id: NetworkId::new(id),
        name: id.to_owned(),
        bridge: format!("wh-{id}"),
        subnet,
        gateway: subnet.hosts().next().unwrap(),
        internal: options.contains("internal"),
        inter_container: !options.contains("isolated"),
        masquerade: !options.contains("routed"),
        mtu: None,
        overlay: None,
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
            mac: "02:42:0a:01:00:02".to_owned(),
        }],
        forward_to: Some(address.parse().unwrap()),
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
        remote: vec![scheduler::assignment::RemoteEndpoint {
            address: "10.1.0.3".parse().unwrap(),
            mac: "02:42:0a:01:00:03".into(),
            node: "192.0.2.2".parse().unwrap(),
        }],
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
            "table inet wharfie_abc {",
        ]
    );
    assert!(!text.contains("TABLE"));
    assert!(text.ends_with("add element inet wharfie_abc masquerade_from { 10.1.0.0/24 }\n"));
}
