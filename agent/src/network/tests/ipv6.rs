//! The same host, where networks have IPv6 addresses too.
//!
//!     outside 2001:db8::2 ── 2001:db8::1 host ── bridges ── containers fd00:99:N::/64

use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt,
};
use scheduler::model::network::Ipv6Subnet;

use super::*;

fn dual(number: u8) -> AssignedNetwork {
    AssignedNetwork {
        ipv6: Some(Ipv6Subnet {
            subnet: format!("fd00:99:{number}::/64").parse().unwrap(),
            gateway: format!("fd00:99:{number}::1").parse().unwrap(),
        }),
        ..network(number)
    }
}

pub(super) fn inside(process: &Process, command: &str) {
    let status = Command::new("nsenter")
        .args(["-t", &process.pid().to_string(), "-n"])
        .args(command.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "{command}");
}

/// A machine beside the host, which has an IPv6 address too.
pub(super) fn world() -> Process {
    let machine = outside();
    ip("addr add 2001:db8::1/64 dev uplink nodad");
    inside(&machine, "ip addr add 2001:db8::2/64 dev eth0 nodad");
    inside(&machine, "ip -6 route add default via 2001:db8::1");
    machine
}

#[test]
fn containers_reach_each_other_and_the_world_by_ipv6_and_nobody_gets_in() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = world();
        let (front, back) = (dual(1), dual(2));
        networks.ensure(&front).await.unwrap();
        networks.ensure(&back).await.unwrap();
        let a = connected(&networks, &front, 2, &[]).await;
        let b = connected(&networks, &front, 3, &[]).await;
        let stranger = connected(&networks, &back, 2, &[]).await;
        let _server = b.serve("b", 80).await;
        let _world = world.serve("world", 80).await;
        answers(a.ask("[fd00:99:1::3]:80").await, "b sees fd00:99:1::2");
        answers(a.ask("[2001:db8::2]:80").await, "world sees 2001:db8::1");
        answers(
            ask_from_host("[fd00:99:1::3]:80").await,
            "b sees fd00:99:1::1",
        );
        no_answer(world.ask_in_vain("[fd00:99:1::3]:80").await);
        no_answer(stranger.ask_in_vain("[fd00:99:1::3]:80").await);
    });
}

#[test]
fn a_network_without_ipv6_has_none_whatever_its_containers_do() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let (plain, six) = (network(1), dual(2));
        networks.ensure(&plain).await.unwrap();
        networks.ensure(&six).await.unwrap();
        let rebel = connected(&networks, &plain, 2, &[]).await;
        let other = connected(&networks, &six, 2, &[]).await;
        let _server = other.serve("other", 80).await;
        answers(
            ask_from_host("[fd00:99:2::2]:80").await,
            "other sees fd00:99:2::1",
        );
        inside(&rebel, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
        inside(&rebel, "ip addr add fd00:99:1::2/64 dev eth0 nodad");
        inside(&rebel, "ip -6 route add default dev eth0");
        no_answer(rebel.ask_in_vain("[fd00:99:2::2]:80").await);
        no_answer(rebel.ask_in_vain("[2001:db8::1]:80").await);
    });
}

#[test]
fn a_published_port_answers_on_both_kinds_of_addresses() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = world();
        let net = dual(1);
        networks.ensure(&net).await.unwrap();
        let local = port(Some("::1"), 8081);
        let web = connected(&networks, &net, 2, &[port(None, 8080), local]).await;
        let neighbour = connected(&networks, &net, 3, &[]).await;
        let _server = web.serve("web", 80).await;
        answers(world.ask("192.0.2.1:8080").await, "web sees 192.0.2.2");
        answers(
            world.ask("[2001:db8::1]:8080").await,
            "web sees 2001:db8::2",
        );
        answers(
            neighbour.ask("[2001:db8::1]:8080").await,
            "web sees fd00:99:1::1",
        );
        answers(
            ask_from_host("[2001:db8::1]:8080").await,
            "web sees 2001:db8::1",
        );
        // What is passed on by hand.
        answers(ask_from_host("[::1]:8080").await, "web sees fd00:99:1::1");
        answers(ask_from_host("[::1]:8081").await, "web sees fd00:99:1::1");
        no_answer(world.ask_in_vain("[2001:db8::1]:8081").await);
        no_answer(neighbour.ask_in_vain("[fd00:99:1::1]:8081").await);
        networks.disconnect(&web.id).await.unwrap();
        no_answer(ask_from_host_in_vain("[::1]:8080").await);
    });
}

#[test]
fn a_network_may_have_ipv6_alone() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = world();
        let both = dual(1);
        let beside = both.ipv6.unwrap();
        let only = AssignedNetwork {
            subnet: beside.subnet.into(),
            gateway: beside.gateway.into(),
            ipv6: None,
            ..both
        };
        networks.ensure(&only).await.unwrap();
        let container = Container {
            id: ContainerId::new(format!("{:064x}", 7)),
            process: Process::start(),
        };
        let interface = AssignedInterface {
            network: only.id.clone(),
            name: "eth0".to_owned(),
            address: "fd00:99:1::7".parse().unwrap(),
            prefix_len: 64,
            mac: "02:42:00:00:00:07".to_owned(),
            default_gateway: Some(only.gateway),
            ipv6: None,
            link_local: vec!["fe80::77".parse().unwrap()],
        };
        let endpoint = Endpoint {
            interface: &interface,
            network: &only,
        };
        let connected = networks
            .connect(
                &container.id,
                container.pid(),
                &[endpoint],
                &[port(None, 8080)],
            )
            .await
            .unwrap();
        assert_eq!(connected.ports.len(), 1);
        let _server = container.serve("six", 80).await;
        answers(
            world.ask("[2001:db8::1]:8080").await,
            "six sees 2001:db8::2",
        );
        no_answer(world.ask_in_vain("192.0.2.1:8080").await);
    });
}

#[test]
fn a_virtual_address_stands_for_its_backends_by_ipv6() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let mut net = dual(1);
        networks.ensure(&net).await.unwrap();
        let a = connected(&networks, &net, 2, &[]).await;
        let b = connected(&networks, &net, 3, &[]).await;
        let client = connected(&networks, &net, 4, &[]).await;
        let (_a, _b) = (a.serve("a", 80).await, b.serve("b", 80).await);
        let service = |backends: &[&str]| VirtualAddress {
            service: "web".to_owned(),
            address: "fd00:99:1::c8".parse().unwrap(),
            backends: backends.iter().map(|it| it.parse().unwrap()).collect(),
        };
        net.virtual_addresses = vec![service(&["fd00:99:1::2", "fd00:99:1::3"])];
        networks
            .balance(&client.id, client.pid(), &[&net])
            .await
            .unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(client.ask("[fd00:99:1::c8]:80").await.unwrap());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a sees fd00:99:1::4", "b sees fd00:99:1::4"]);
        net.virtual_addresses = vec![service(&[])];
        networks
            .balance(&client.id, client.pid(), &[&net])
            .await
            .unwrap();
        no_answer(client.ask_in_vain("[fd00:99:1::c8]:80").await);
    });
}

/// Tells a neighbour that an address is at this interface (RFC 4861, 4.4): unasked, and to
/// replace what it knew.
fn advertise(to: Ipv6Addr, address: Ipv6Addr, mac: [u8; 6]) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet6,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::IcmpV6,
    )?;
    // The kernel adds the checksum; a message that was routed does not count.
    setsockopt(&socket, sockopt::Ipv6Ttl, &255)?;
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac);
    let to = SockaddrIn6::from(std::net::SocketAddrV6::new(to, 0, 0, 0));
    sendto(socket.as_raw_fd(), &message, &to, MsgFlags::empty())?;
    Ok(())
}

#[test]
fn nobody_advertises_a_neighbours_address() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = dual(1);
        networks.ensure(&net).await.unwrap();
        let victim = connected(&networks, &net, 2, &[]).await;
        let liar = connected(&networks, &net, 3, &[]).await;
        let client = connected(&networks, &net, 4, &[]).await;
        let _victim = victim.serve("victim", 80).await;
        inside(&liar, "ip addr add fd00:99:1::2/64 dev eth0 nodad");
        let _liar = liar.serve("liar", 80).await;
        let at = "[fd00:99:1::2]:80";
        answers(client.ask(at).await, "victim sees fd00:99:1::4");
        let lie = |to: &'static str, address: &'static str| {
            let told = liar.run(move || {
                let mac = [0x02, 0x42, 10, 99, 1, 3];
                let address = address.parse().map_err(io::Error::other)?;
                advertise(to.parse().map_err(io::Error::other)?, address, mac)
            });
            async { told.await.unwrap() }
        };
        lie("fd00:99:1::4", "fd00:99:1::2").await;
        lie("fd00:99:1::4", "fd00:99:1::1").await;
        for _ in 0..5 {
            answers(client.ask(at).await, "victim sees fd00:99:1::4");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Its own it may.
        lie("fd00:99:1::4", "fd00:99:1::3").await;
        answers(
            client.ask("[fd00:99:1::3]:80").await,
            "liar sees fd00:99:1::4",
        );
    });
}
