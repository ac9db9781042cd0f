//! Whoever asks from outside is seen under its own address, whichever host it asked.
//!
//!     client ──► any host ══ tunnel ══► host with the container, which says who asked
//!     10.77.0.254, 2001:db8:77::fe

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::support::cluster::{Cluster, secs};
use crate::support::in_network_of;

const STACK: &str = r#"
services:
  who:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    ports: ["8080:80", "8081:81/udp"]
    networks: [front]
    deploy: {placement: {constraints: ["node.hostname == node1"]}}
  neighbour:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    networks: [front]
    deploy: {placement: {constraints: ["node.hostname == node0"]}}
networks:
  front: {enable_ipv6: true}
"#;

const PATIENCE: Duration = Duration::from_secs(5);

/// Says in the container who asks, by TCP on 80 and by UDP on 81, for as long as the test runs.
fn serve(pid: u64) {
    let (tcp, udp) = in_network_of(pid, || {
        let tcp = TcpListener::bind("[::]:80").expect("nobody listens");
        (tcp, UdpSocket::bind("[::]:81").expect("nobody listens"))
    });
    std::thread::spawn(move || {
        for mut client in tcp.incoming().flatten() {
            std::thread::spawn(move || {
                let who = client
                    .peer_addr()
                    .map(|it| it.ip().to_canonical().to_string());
                let _ = client.write_all(who.unwrap_or_default().as_bytes());
                let _ = client.shutdown(Shutdown::Write);
                // Until the client has enough.
                let _ = client.read(&mut [0; 1]);
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((_, client)) = udp.recv_from(&mut buffer) {
            let who = client.ip().to_canonical().to_string();
            let _ = udp.send_to(who.as_bytes(), client);
        }
    });
}

/// A connection from this port of the client; several may have the same.
fn connected(from: u16, to: SocketAddr) -> io::Result<TcpStream> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], from).into(),
        SocketAddr::V6(_) => ([0u16; 8], from).into(),
    };
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let limit = nix::sys::time::TimeVal::new(5, 0);
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(any))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(socket.into())
}

fn ask_tcp(to: SocketAddr) -> io::Result<String> {
    let mut answer = String::new();
    connected(0, to)?.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(to: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"?", to)?;
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Asks from the machine between the hosts until the answer is the expected one.
#[track_caller]
fn check(cluster: &Cluster, ask: fn(SocketAddr) -> io::Result<String>, to: &str, expected: &str) {
    let address: SocketAddr = to.parse().expect("an address");
    cluster.within(secs(60), to, || {
        let answer = cluster.switch().inside(move || ask(address));
        match answer {
            Ok(answer) if answer == expected => Ok(()),
            other => Err(format!("{other:?} instead of {expected}")),
        }
    });
}

/// Gives the hosts, and the machine between them, an IPv6 address beside the IPv4 one.
fn give_ipv6(cluster: &Cluster) {
    let line = |last: &str, towards: &str| {
        format!(
            "ip addr add 2001:db8:77::{last}/64 nodad dev $(ip -o route get {towards} | grep -o 'dev [^ ]*' | cut -c5-)"
        )
    };
    for index in 0..cluster.count() {
        let own = line(&(index + 1).to_string(), "10.77.0.254");
        cluster.host(index).shell(&own).succeeds();
    }
    cluster.switch().shell(&line("fe", "10.77.0.1")).succeeds();
}

#[test]
fn a_container_sees_who_asks_for_it_on_another_host() {
    let mut cluster = Cluster::of(1, 2);
    give_ipv6(&cluster);
    let up = cluster.host(0).compose("app", STACK, "up -d --wait");
    up.succeeds();
    let pid = &cluster.host(1).inspect("app-who-1")["State"]["Pid"];
    serve(pid.as_u64().expect("it runs"));

    // The second host has the container; the others send on.
    for index in [1, 0, 2] {
        let (four, six) = (
            cluster.address(index),
            format!("[2001:db8:77::{}]", index + 1),
        );
        check(&cluster, ask_tcp, &format!("{four}:8080"), "10.77.0.254");
        check(&cluster, ask_udp, &format!("{four}:8081"), "10.77.0.254");
        check(&cluster, ask_tcp, &format!("{six}:8080"), "2001:db8:77::fe");
        check(&cluster, ask_udp, &format!("{six}:8081"), "2001:db8:77::fe");
    }

    // One client with one port on two hosts at once is two connections.
    let hosts = [0, 2].map(|index| format!("{}:8080", cluster.address(index)));
    let answers = cluster.switch().inside(move || {
        let streams = hosts.map(|host| connected(5555, host.parse().expect("an address")));
        streams.map(|stream| {
            let mut answer = String::new();
            let read = stream.and_then(|mut it| it.read_to_string(&mut answer));
            read.map(|_| answer)
                .unwrap_or_else(|error| error.to_string())
        })
    });
    assert_eq!(answers, ["10.77.0.254", "10.77.0.254"]);

    // A neighbour on the network finds it by both kinds of addresses, without a detour.
    let own =
        &cluster.host(0).inspect("app-neighbour-1")["NetworkSettings"]["Networks"]["app_front"];
    for (kind, field) in [("a", "IPAddress"), ("aaaa", "GlobalIPv6Address")] {
        let line = format!(
            "timeout 10 nc $(nslookup -type={kind} who | awk '/^Address/ {{a=$2}} END {{print a}}') 80 </dev/null"
        );
        let said = cluster.host(0).exec("app", "neighbour", &line).stdout;
        assert_eq!(Some(said.trim()), own[field].as_str());
    }

    // One host less to come by does not disturb the others.
    cluster.power_off(2);
    let four = format!("{}:8080", cluster.address(0));
    check(&cluster, ask_tcp, &four, "10.77.0.254");
    cluster.power_on(2);
    cluster.wait_until_ready();

    cluster.host(0).wharfie("-p app down").succeeds();
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}
