//! Who may speak to a network's tunnel.
//!
//!     node 192.0.2.3, 2001:db8::3     ──┐
//!     stranger 192.0.2.2, 2001:db8::2 ──┴── 192.0.2.1, 2001:db8::1 host ── container 10.99.1.3

use std::net::IpAddr;

use scheduler::assignment::RemoteEndpoint;

use super::ipv6::{inside, world};
use super::*;

/// A frame for the container, as if from one at 10.99.1.4 (RFC 7348): a datagram to port 9999.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x08, 0, 0, 0, 0x00, 0x10, 0x01, 0];
    frame.extend([
        0x02, 0x42, 0x0a, 99, 1, 3, 0x02, 0x42, 0x0a, 99, 1, 4, 0x08, 0x00,
    ]);
    let mut ip = [
        0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 99, 1, 4, 10, 99, 1, 3,
    ];
    let words = ip
        .chunks(2)
        .map(|it| u32::from(it[0]) << 8 | u32::from(it[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    // Ports, length, no checksum, and a letter.
    frame.extend([0x27, 0x0f, 0x27, 0x0f, 0, 9, 0, 0, b'!']);
    frame
}

async fn check(local: &'static str, node: &'static str, stranger: &'static str) {
    let world = world();
    inside(&world, "ip addr add 192.0.2.3/24 dev eth0");
    inside(&world, "ip addr add 2001:db8::3/64 dev eth0 nodad");
    let (networks, _directory) = driver().await;
    let node: IpAddr = node.parse().unwrap();
    let net = AssignedNetwork {
        overlay: Some(AssignedOverlay {
            vni: 4097,
            local: local.parse().unwrap(),
            address: None,
            ipv6: None,
            remote: vec![RemoteEndpoint {
                address: [10, 99, 1, 4].into(),
                mac: "02:42:0a:63:01:04".to_owned(),
                node,
                keeps_clients: false,
            }],
            entries: Vec::new(),
        }),
        ..network(1)
    };
    networks.ensure(&net).await.unwrap();
    let container = connected(&networks, &net, 3, &[]).await;
    let heard = container
        .run(|| UdpSocket::bind("0.0.0.0:9999"))
        .await
        .unwrap();
    let arrives = async |from: IpAddr, patience: Duration| {
        let to = SocketAddr::new(local.parse().unwrap(), 4789);
        let send = move || UdpSocket::bind((from, 0))?.send_to(&frame(), to).map(drop);
        world.run(send).await.unwrap();
        heard.set_read_timeout(Some(patience)).unwrap();
        heard.recv(&mut [0; 10]).is_ok()
    };
    assert!(arrives(node, PATIENCE).await);
    assert!(!arrives(stranger.parse().unwrap(), IN_VAIN).await);
    assert!(arrives(node, PATIENCE).await);
}

#[test]
fn a_tunnel_hears_nodes_alone() {
    on_a_host(|| check("192.0.2.1", "192.0.2.3", "192.0.2.2"));
    on_a_host(|| check("2001:db8::1", "2001:db8::3", "2001:db8::2"));
}
