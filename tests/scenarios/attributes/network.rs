//! How a container is connected.

use super::Look::{Host as OnHost, Inside, Inspect};
use super::{Case, PROJECT, check};
use crate::resolver;
use crate::support::Host;

const SECTIONS: &str = "
networks:
  front:
    name: chosen
    driver: bridge
    driver_opts: {com.docker.network.driver.mtu: '1400'}
    labels: {a: b}
    attachable: true
    ipam:
      driver: default
      config: [{subnet: 10.71.0.0/24, gateway: 10.71.0.200, ip_range: 10.71.0.128/26, aux_addresses: {router: 10.71.0.129}}]
  back: {internal: true}
  six: {enable_ipv4: false, enable_ipv6: true, ipam: {config: [{subnet: 'fd00:71:6::/64'}]}}
  both: {enable_ipv6: true, ipam: {config: [{subnet: 10.73.0.0/24}, {subnet: 'fd00:71::/64', gateway: 'fd00:71::c8'}]}}
  kept: {external: true}
";

pub(super) const CASES: &[Case] = &[
    Case {
        proves: &[
            "networks",
            "/networks",
            "networks.*.ipv4_address",
            "networks.*.ipam",
            "networks.*.ipam.config",
            "networks.*.ipam.config.subnet",
            "networks.*.ipam.driver",
        ],
        yaml: "networks: {front: {ipv4_address: 10.71.0.9}}",
        look: Inside("ip -4 -o addr show eth0 | awk '{print $4}'"),
        expected: "10.71.0.9/24",
    },
    Case {
        proves: &["networks.*.ipam.config.gateway"],
        yaml: "networks: [front]",
        look: Inside("ip route | awk '/default/ {print $3}'"),
        expected: "10.71.0.200",
    },
    Case {
        proves: &[
            "networks.*.ipam.config.ip_range",
            "networks.*.ipam.config.aux_addresses",
        ],
        yaml: "networks: [front]",
        look: Inside(
            "ip -4 -o addr show eth0 | awk '{print $4}' | cut -d. -f4 | cut -d/ -f1 | awk '{print ($1 > 129 && $1 < 192)}'",
        ),
        expected: "1",
    },
    Case {
        proves: &["networks.*.driver_opts", "networks.*.driver"],
        yaml: "networks: [front]",
        look: Inside("cat /sys/class/net/eth0/mtu"),
        expected: "1400",
    },
    Case {
        proves: &["networks.*.name"],
        yaml: "networks: [front]",
        look: Inspect("/NetworkSettings/Networks/chosen/Gateway"),
        expected: "10.71.0.200",
    },
    Case {
        proves: &["networks.*.labels", "networks.*.attachable"],
        yaml: "networks: [front]",
        look: OnHost("docker -H $SOCKET network inspect -f '{{.Labels.a}} {{.Attachable}}' chosen"),
        expected: "b true",
    },
    Case {
        proves: &["networks.*.mac_address", "networks.*.interface_name"],
        yaml: "networks: {front: {mac_address: '02:42:0a:47:00:63', interface_name: web0}}",
        look: Inside("cat /sys/class/net/web0/address"),
        expected: "02:42:0a:47:00:63",
    },
    Case {
        proves: &["mac_address"],
        yaml: "mac_address: '02:42:0a:47:00:64'",
        look: Inside("cat /sys/class/net/eth0/address"),
        expected: "02:42:0a:47:00:64",
    },
    Case {
        proves: &["networks.*.gw_priority", "networks.*.priority"],
        yaml: "networks: {front: {gw_priority: 9}, default: {priority: 100}}",
        look: Inside("ip route | awk '/default/ {print $3, $5}'"),
        expected: "10.71.0.200 eth1",
    },
    Case {
        proves: &["networks.*.internal"],
        yaml: "networks: [back]",
        look: Inside("ip route | grep -c default"),
        expected: "0",
    },
    Case {
        proves: &["networks.*.external"],
        yaml: "networks: [kept]",
        look: Inspect("/NetworkSettings/Networks/kept/IPPrefixLen"),
        expected: "24",
    },
    Case {
        proves: &["networks.*.aliases"],
        yaml: "networks: {front: {aliases: [also]}}",
        look: Inside("ping -c1 -W9 also >/dev/null && echo found"),
        expected: "found",
    },
    Case {
        proves: &["links"],
        yaml: "links: ['s7:friend']",
        look: Inside("ping -c1 -W9 friend >/dev/null && echo found"),
        expected: "found",
    },
    Case {
        proves: &["network_mode"],
        yaml: "network_mode: none",
        look: Inside("ls /sys/class/net"),
        expected: "lo",
    },
    Case {
        proves: &["network_mode"],
        yaml: "network_mode: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/net) = $(readlink /proc/self/ns/net) ] && echo same",
        ),
        expected: "same",
    },
    Case {
        proves: &["network_mode"],
        yaml: "network_mode: service:s0",
        look: Inside("ip -4 -o addr show eth0 | awk '{print $4}'"),
        expected: "10.71.0.9/24",
    },
    Case {
        proves: &["dns_search", "dns_opt"],
        yaml: "dns_search: [example.org]\ndns_opt: ['timeout:3']",
        look: Inside("grep -cE '^search example.org|^options.* timeout:3' /etc/resolv.conf"),
        expected: "2",
    },
    Case {
        proves: &["dns"],
        yaml: "dns: 192.0.2.53",
        look: Inside(
            "nslookup -type=a far.example | awk '/^Name/ {n=1} n && /^Address/ {print $2}'",
        ),
        expected: "203.0.113.7",
    },
    Case {
        proves: &[
            "ports",
            "ports.target",
            "ports.published",
            "ports.host_ip",
            "ports.protocol",
            "ports.mode",
        ],
        yaml: "command: nc -ll -p 80 -e echo hello\n\
               ports: [{target: 80, published: '8071', host_ip: 127.0.0.1, protocol: tcp, mode: host, name: web, app_protocol: http}]",
        look: OnHost("busybox nc -w 9 127.0.0.1 8071 </dev/null"),
        expected: "hello",
    },
    Case {
        proves: &["deploy.endpoint_mode"],
        yaml: "deploy: {endpoint_mode: dnsrr, replicas: 2}",
        look: Inside(
            "nslookup -type=a s19 | awk '/^Name/ {n=1} n && /^Address/' | sort -u | wc -l",
        ),
        expected: "2",
    },
    Case {
        proves: &["expose"],
        yaml: "expose: ['90', '91/udp']",
        look: Inspect("/Config/ExposedPorts"),
        expected: r#"{"90/tcp":{},"91/udp":{}}"#,
    },
    Case {
        proves: &["networks.*.enable_ipv6", "networks.*.ipv6_address"],
        yaml: "networks: {both: {ipv6_address: 'fd00:71::9'}}",
        look: Inside(
            "ip -o addr show eth0 scope global | awk '{print $3}' | sort; ip -6 -o addr show eth0 scope global | awk '{print $4}'; ip -6 route | awk '/default/ {print $3}'",
        ),
        expected: "inet\ninet6\nfd00:71::9/64\nfd00:71::c8",
    },
    Case {
        proves: &["networks.*.enable_ipv6"],
        yaml: "networks: {both: {ipv6_address: 'fd00:71::a'}}",
        look: Inspect("/NetworkSettings/Networks/attr_both/GlobalIPv6Address"),
        expected: "fd00:71::a",
    },
    Case {
        proves: &["networks.*.enable_ipv4"],
        yaml: "networks: [six]",
        look: Inside(
            "ip -4 -o addr show eth0 | wc -l; ip -6 -o addr show eth0 scope global | wc -l",
        ),
        expected: "0\n1",
    },
    Case {
        proves: &["networks.*.link_local_ips"],
        yaml: "networks: {both: {link_local_ips: [169.254.7.7, 'fe80::77']}}",
        look: Inside("ip -o addr show eth0 | awk '{print $4}' | grep -E '^(169.254|fe80::77)'"),
        expected: "169.254.7.7/16\nfe80::77/64",
    },
];

pub(super) const READ: &[&str] = &["ports.name", "ports.app_protocol"];

/// They are for people and other programs, who read them in the file.
#[test]
fn what_a_port_is_for_is_kept() {
    let host = Host::bare();
    let text = "services: {web: {image: 'busybox:1.35', ports: [{target: 80, name: web, app_protocol: http}]}}";
    let shown = host.compose(PROJECT, text, "config --format json");
    let file: serde_json::Value = serde_json::from_str(&shown.succeeds().stdout).unwrap();
    let port = &file["services"]["web"]["ports"][0];
    assert_eq!(
        (&port["name"], &port["app_protocol"]),
        (&"web".into(), &"http".into())
    );
}

#[test]
fn how_a_container_is_connected() {
    let host = Host::new();
    // A server of names that only the one container asks.
    host.shell("ip addr add 192.0.2.53/32 dev lo").succeeds();
    resolver::answer_on(&host, "192.0.2.53:53", [203, 0, 113, 7]);
    host.wharfie("network create --subnet 10.72.0.0/24 kept")
        .succeeds();
    check(&host, SECTIONS, CASES);
    host.shell(&format!("docker -H {} network rm kept", host.socket()))
        .succeeds();
    host.leaves_nothing();
}
