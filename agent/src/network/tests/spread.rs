//! Two hosts on one wire, with a network that spans both.
//!
//!     outside 192.0.2.2 ── 192.0.2.1 one 192.0.3.1 ══ 192.0.3.2 two
//!                              10.99.1.3                10.99.1.4

use std::sync::mpsc::{Receiver, Sender, channel};

use scheduler::assignment::{Entry, RemoteEndpoint, SharedPort};

use super::*;

fn spread(own: u8, remote: &[u8]) -> AssignedNetwork {
    let end = |last: u8| IpAddr::from([192, 0, 3, last]);
    let (here, there) = if own == 9 { (1, 2) } else { (2, 1) };
    let endpoint = |last: &u8| RemoteEndpoint {
        address: [10, 99, 1, *last].into(),
        mac: format!("02:42:0a:63:01:{last:02x}"),
        node: end(there),
        keeps_clients: true,
    };
    AssignedNetwork {
        overlay: Some(AssignedOverlay {
            vni: 4097,
            local: end(here),
            address: Some([10, 99, 1, own].into()),
            ipv6: None,
            remote: remote.iter().map(endpoint).collect(),
            entries: vec![Entry {
                address: [10, 99, 1, 19 - own].into(),
                ipv6: None,
            }],
        }),
        ..network(1)
    }
}

fn shared(backends: &[u8]) -> SharedPort {
    SharedPort {
        service: "shop_web".into(),
        host_ip: None,
        port: 8080,
        protocol: Protocol::Tcp,
        target: 80,
        network: network(1).id,
        backends: backends.iter().map(|it| [10, 99, 1, *it].into()).collect(),
    }
}

/// The second host: says the pid of a process in it, waits for the wire, says when its container
/// serves, and ends when told.
fn second_host(pid: Sender<u32>, wired: Receiver<()>, serving: Sender<()>, end: Receiver<()>) {
    on_a_host(move || async move {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process(process);
        pid.send(process.pid()).unwrap();
        wired.recv_timeout(PATIENCE).unwrap();
        let (networks, _directory) = driver().await;
        let network = spread(10, &[3, 9]);
        networks.ensure(&network).await.unwrap();
        let container = connected(&networks, &network, 4, &[]).await;
        networks.publish(&[shared(&[4])]).await.unwrap();
        let _server = container.serve("two", 80).await;
        serving.send(()).unwrap();
        tokio::task::spawn_blocking(move || end.recv_timeout(PATIENCE * 3))
            .await
            .unwrap()
            .unwrap();
        networks.publish(&[]).await.unwrap();
        networks.disconnect(&container.id).await.unwrap();
        networks.remove(&network.id).await.unwrap();
        assert_eq!(interfaces("whx"), "");
    });
}

fn interfaces(prefix: &str) -> String {
    let listed = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let lines = listed.lines().filter(|line| line.contains(prefix));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn containers_reach_each_other_between_hosts_and_every_host_answers_for_all() {
    on_a_host(|| async {
        let (pid, their_pid) = channel();
        let (wire, wired) = channel();
        let (serving, served) = channel();
        let (end, ended) = channel();
        let second = std::thread::spawn(move || second_host(pid, wired, serving, ended));
        let pid = their_pid.recv_timeout(PATIENCE).unwrap();
        ip(&format!(
            "link add wire type veth peer name wire netns {pid}"
        ));
        ip("addr add 192.0.3.1/24 dev wire");
        ip("link set wire up");
        for arguments in ["addr add 192.0.3.2/24 dev wire", "link set wire up"] {
            let status = Command::new("nsenter")
                .args(["-t", &pid.to_string(), "-n", "ip"])
                .args(arguments.split(' '))
                .status()
                .unwrap();
            assert!(status.success(), "{arguments}");
        }
        wire.send(()).unwrap();
        tokio::task::spawn_blocking(move || served.recv_timeout(PATIENCE))
            .await
            .unwrap()
            .unwrap();

        let outside = outside();
        let (networks, _directory) = driver().await;
        let alone = spread(9, &[]);
        networks.ensure(&alone).await.unwrap();
        let container = connected(&networks, &alone, 3, &[]).await;
        assert!(container.ask_in_vain("10.99.1.4:80").await.is_err());

        let both = spread(9, &[4, 10]);
        networks.ensure(&both).await.unwrap();
        assert_eq!(
            container.ask("10.99.1.4:80").await.unwrap(),
            "two sees 10.99.1.3"
        );

        networks.publish(&[shared(&[4])]).await.unwrap();
        // Whoever is outside is seen there as well, and the answer comes back this way.
        assert_eq!(
            outside.ask("192.0.2.1:8080").await.unwrap(),
            "two sees 192.0.2.2"
        );
        assert_eq!(
            ask_from_host("127.0.0.1:8080").await.unwrap(),
            "two sees 10.99.1.9"
        );
        assert_eq!(
            container.ask("192.0.2.1:8080").await.unwrap(),
            "two sees 10.99.1.9"
        );
        assert_eq!(
            ask_from_host("10.99.1.4:80").await.unwrap(),
            "two sees 10.99.1.9"
        );

        // Not where the other host's kernel could not send the answer back.
        let mut poor = both.clone();
        for remote in poor.overlay.iter_mut().flat_map(|it| &mut it.remote) {
            remote.keeps_clients = false;
        }
        networks.ensure(&poor).await.unwrap();
        assert_eq!(
            outside.ask("192.0.2.1:8080").await.unwrap(),
            "two sees 10.99.1.9"
        );
        networks.ensure(&both).await.unwrap();

        // A container of this host is nearer, and sees the client.
        let _server = container.serve("one", 80).await;
        networks.publish(&[shared(&[3])]).await.unwrap();
        assert_eq!(
            outside.ask("192.0.2.1:8080").await.unwrap(),
            "one sees 192.0.2.2"
        );
        networks.publish(&[shared(&[])]).await.unwrap();
        assert!(outside.ask("192.0.2.1:8080").await.is_err());

        // What has left is not reached any more.
        networks.ensure(&spread(9, &[10])).await.unwrap();
        assert!(container.ask_in_vain("10.99.1.4:80").await.is_err());

        end.send(()).unwrap();
        second.join().unwrap();
        networks.publish(&[]).await.unwrap();
        networks.disconnect(&container.id).await.unwrap();
        networks.remove(&both.id).await.unwrap();
        assert_eq!(interfaces("whx"), "");
    });
}
