//! A host, its containers and a machine outside, all in network namespaces of the test's own.
//!
//!     outside 192.0.2.2 ── 192.0.2.1 host ── bridges ── containers
//!
//! The "host" is a thread in a fresh namespace with a runtime on that thread alone: whatever the
//! driver does, it does there. Containers are sleeping processes in namespaces of their own.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use scheduler::assignment::{AssignedIpv6, VirtualAddress};
use scheduler::model::container::PublishMode;

use super::*;

mod ipv6;
mod spread;
mod tunnel;

/// Nothing here takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long somebody waits who is not to be answered; who would be needs microseconds.
const IN_VAIN: Duration = Duration::from_millis(1500);

/// Runs the test on a host of its own.
fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let host = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        // As on a machine where nobody loaded br_netfilter.
        bridge_netfilter("0");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test());
    });
    if let Err(panic) = host.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Whether bridged packets go through the packet filter too, as Docker and Kubernetes have it.
fn bridge_netfilter(value: &str) {
    for family in ["iptables", "ip6tables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
        let _ = std::fs::write(path, value);
    }
}

/// A process in a namespace of its own.
struct Process(Child);

impl Process {
    fn start() -> Self {
        let spawn = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Command::new("sleep").arg("600").spawn().unwrap()
        };
        Self(std::thread::spawn(spawn).join().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        NetworkNamespace::of(self.pid()).unwrap().run(work).await
    }

    /// Connects from here, and gives what the server said.
    async fn ask(&self, address: &str) -> io::Result<String> {
        let address = address.parse().unwrap();
        self.run(move || ask(address, PATIENCE)).await
    }

    /// Connects from here, where no answer is expected.
    async fn ask_in_vain(&self, address: &str) -> io::Result<String> {
        let address = address.parse().unwrap();
        self.run(move || ask(address, IN_VAIN)).await
    }

    /// Serves in this namespace until dropped: says its name and whom it sees.
    async fn serve(&self, name: &'static str, port: u16) -> Server {
        self.run(move || Server::start(name, port)).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Connects from the host itself.
async fn ask_from_host(address: &str) -> io::Result<String> {
    let address = address.parse().unwrap();
    tokio::task::spawn_blocking(move || ask(address, PATIENCE))
        .await
        .unwrap()
}

/// Connects from the host itself, where no answer is expected.
async fn ask_from_host_in_vain(address: &str) -> io::Result<String> {
    let address = address.parse().unwrap();
    tokio::task::spawn_blocking(move || ask(address, IN_VAIN))
        .await
        .unwrap()
}

fn ask(address: SocketAddr, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

struct Server(
    std::sync::Arc<AtomicBool>,
    Option<std::thread::JoinHandle<()>>,
);

impl Server {
    fn start(name: &'static str, port: u16) -> io::Result<Self> {
        // Of both kinds, where the namespace has IPv6.
        let tcp = TcpListener::bind(("::", port))?;
        let udp = UdpSocket::bind(("::", port))?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((mut stream, peer)) = tcp.accept() {
                    let _ = write!(stream, "{name} sees {}", peer.ip().to_canonical());
                } else if let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    let answer = format!("{name} sees {}", peer.ip().to_canonical());
                    let _ = udp.send_to(answer.as_bytes(), peer);
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Ok(Self(stop, Some(thread)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// A machine beside the host, which routes to everything through it.
fn outside() -> Process {
    let machine = Process::start();
    ip(&format!(
        "link add uplink type veth peer name eth0 netns {}",
        machine.pid()
    ));
    ip("addr add 192.0.2.1/24 dev uplink");
    ip("link set uplink up");
    let enter = format!("-t {} -n ip", machine.pid());
    for arguments in [
        "addr add 192.0.2.2/24 dev eth0",
        "link set eth0 up",
        "link set lo up",
        "route add default via 192.0.2.1",
    ] {
        let status = Command::new("nsenter")
            .args(enter.split(' '))
            .args(arguments.split(' '))
            .status()
            .unwrap();
        assert!(status.success(), "{arguments}");
    }
    machine
}

/// The driver, and a directory for its records.
async fn driver() -> (std::sync::Arc<Networks>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path()).await, directory)
}

async fn open(directory: &std::path::Path) -> std::sync::Arc<Networks> {
    let config = NetworksConfig {
        instance: Instance::of_root(directory),
        state_dir: directory.to_owned(),
    };
    Networks::open(config).await.unwrap()
}

fn network(number: u8) -> AssignedNetwork {
    AssignedNetwork {
        overlay: None,
        id: NetworkId::new(format!("{number:064x}")),
        name: format!("net{number}"),
        subnet: format!("10.99.{number}.0/24").parse().unwrap(),
        gateway: [10, 99, number, 1].into(),
        ipv6: None,
        internal: false,
        mtu: None,
        bridge_name: None,
        inter_container: true,
        masquerade: true,
        names: BTreeMap::new(),
        virtual_addresses: Vec::new(),
    }
}

fn interface(network: &AssignedNetwork, last: u8) -> AssignedInterface {
    let IpAddr::V4(gateway) = network.gateway else {
        panic!("{} is not IPv4", network.gateway);
    };
    let [a, b, c, _] = gateway.octets();
    AssignedInterface {
        network: network.id.clone(),
        name: "eth0".to_owned(),
        address: [a, b, c, last].into(),
        prefix_len: 24,
        mac: format!("02:42:{a:02x}:{b:02x}:{c:02x}:{last:02x}"),
        default_gateway: (!network.internal).then_some(network.gateway),
        ipv6: network.ipv6.map(|it| AssignedIpv6 {
            address: (it.gateway.to_bits() - 1 + u128::from(last)).into(),
            prefix_len: it.subnet.prefix_len(),
            default_gateway: (!network.internal).then_some(it.gateway),
        }),
        link_local: Vec::new(),
    }
}

fn port(host_ip: Option<&str>, published: u16) -> PublishedPort {
    PublishedPort {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        published: Some((published, published)),
        target: 80,
        protocol: Protocol::Tcp,
        mode: PublishMode::Ingress,
    }
}

/// A container on one network.
struct Container {
    id: ContainerId,
    process: Process,
}

impl std::ops::Deref for Container {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

async fn connected(
    networks: &Arc<Networks>,
    network: &AssignedNetwork,
    last: u8,
    ports: &[PublishedPort],
) -> Container {
    let container = Container {
        id: ContainerId::new(format!("{}{last:064x}", network.name)),
        process: Process::start(),
    };
    let interface = interface(network, last);
    let endpoint = Endpoint {
        interface: &interface,
        network,
    };
    networks
        .connect(&container.id, container.pid(), &[endpoint], ports)
        .await
        .unwrap();
    container
}

#[track_caller]
fn answers(result: io::Result<String>, expected: &str) {
    assert_eq!(
        result.map_err(|error| error.to_string()).as_deref(),
        Ok(expected)
    );
}

#[track_caller]
fn no_answer(result: io::Result<String>) {
    assert!(result.is_err(), "{result:?}");
}

#[test]
fn containers_of_one_network_reach_each_other_and_the_world() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = outside();
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let a = connected(&networks, &net, 2, &[]).await;
        let b = connected(&networks, &net, 3, &[]).await;
        let _server = b.serve("b", 80).await;
        let _world = world.serve("world", 80).await;
        answers(a.ask("10.99.1.3:80").await, "b sees 10.99.1.2");
        answers(a.ask("192.0.2.2:80").await, "world sees 192.0.2.1");
        answers(ask_from_host("10.99.1.3:80").await, "b sees 10.99.1.1");
        // Nobody outside gets in by knowing the address.
        no_answer(world.ask_in_vain("10.99.1.3:80").await);
    });
}

#[test]
fn networks_are_isolated_from_each_other() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let (first, second) = (network(1), network(2));
        networks.ensure(&first).await.unwrap();
        networks.ensure(&second).await.unwrap();
        let a = connected(&networks, &first, 2, &[]).await;
        let b = connected(&networks, &second, 2, &[]).await;
        let _server = b.serve("b", 80).await;
        no_answer(a.ask_in_vain("10.99.2.2:80").await);
    });
}

#[test]
fn an_internal_network_has_no_way_in_or_out() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = outside();
        let mut net = network(1);
        net.internal = true;
        networks.ensure(&net).await.unwrap();
        let a = connected(&networks, &net, 2, &[]).await;
        let b = connected(&networks, &net, 3, &[port(None, 8080)]).await;
        let _world = world.serve("world", 80).await;
        let _server = b.serve("b", 80).await;
        answers(a.ask("10.99.1.3:80").await, "b sees 10.99.1.2");
        // Even with a route of its own making.
        let status = Command::new("nsenter")
            .args(format!("-t {} -n ip route add default via 10.99.1.1", a.pid()).split(' '))
            .status()
            .unwrap();
        assert!(status.success());
        no_answer(a.ask_in_vain("192.0.2.2:80").await);
        no_answer(ask_from_host_in_vain("127.0.0.1:8080").await);
        no_answer(world.ask_in_vain("192.0.2.1:8080").await);
    });
}

#[test]
fn without_inter_container_traffic_only_published_ports_are_reached() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let mut net = network(1);
        net.inter_container = false;
        networks.ensure(&net).await.unwrap();
        let a = connected(&networks, &net, 2, &[]).await;
        let b = connected(&networks, &net, 3, &[port(None, 8080)]).await;
        let _server = b.serve("b", 80).await;
        no_answer(a.ask_in_vain("10.99.1.3:80").await);
        answers(a.ask("10.99.1.1:8080").await, "b sees 10.99.1.1");
    });
}

#[test]
fn a_published_port_answers_from_everywhere() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = outside();
        let (front, back) = (network(1), network(2));
        networks.ensure(&front).await.unwrap();
        networks.ensure(&back).await.unwrap();
        let web = connected(&networks, &front, 2, &[port(None, 8080)]).await;
        let neighbour = connected(&networks, &front, 3, &[]).await;
        let stranger = connected(&networks, &back, 2, &[]).await;
        let _server = web.serve("web", 80).await;
        answers(world.ask("192.0.2.1:8080").await, "web sees 192.0.2.2");
        answers(ask_from_host("192.0.2.1:8080").await, "web sees 192.0.2.1");
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        answers(neighbour.ask("192.0.2.1:8080").await, "web sees 10.99.1.1");
        answers(web.ask("192.0.2.1:8080").await, "web sees 10.99.1.1");
        answers(stranger.ask("192.0.2.1:8080").await, "web sees 10.99.2.2");
        // What is not published stays closed on the way in.
        let _other = web.serve("other", 81).await;
        no_answer(world.ask_in_vain("10.99.1.2:81").await);
        no_answer(world.ask_in_vain("10.99.1.2:80").await);
    });
}

#[test]
fn published_ports_and_neighbours_answer_where_bridged_packets_are_filtered_too() {
    on_a_host(|| async {
        bridge_netfilter("1");
        let (networks, _directory) = driver().await;
        let world = outside();
        let front = network(1);
        networks.ensure(&front).await.unwrap();
        let web = connected(&networks, &front, 2, &[port(None, 8080)]).await;
        let neighbour = connected(&networks, &front, 3, &[]).await;
        let _server = web.serve("web", 80).await;
        answers(world.ask("192.0.2.1:8080").await, "web sees 192.0.2.2");
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        answers(neighbour.ask("10.99.1.2:80").await, "web sees 10.99.1.3");
        neighbour.ask("192.0.2.1:8080").await.unwrap();
    });
}

#[test]
fn a_port_published_on_loopback_is_reached_from_the_host_alone() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let world = outside();
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let web = connected(&networks, &net, 2, &[port(Some("127.0.0.1"), 8080)]).await;
        let neighbour = connected(&networks, &net, 3, &[]).await;
        let _server = web.serve("web", 80).await;
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        no_answer(world.ask_in_vain("192.0.2.1:8080").await);
        no_answer(neighbour.ask_in_vain("10.99.1.1:8080").await);
        // A neighbour that sends loopback's address to the host on purpose.
        for machine in [&world, &*neighbour] {
            let gateway = if machine.pid() == world.pid() {
                "192.0.2.1"
            } else {
                "10.99.1.1"
            };
            for command in [
                "sysctl -qw net.ipv4.conf.all.route_localnet=1".to_owned(),
                "ip route del local 127.0.0.0/8 dev lo table local".to_owned(),
                "ip route del local 127.0.0.1 dev lo table local".to_owned(),
                format!(
                    "ip route add 127.0.0.1 via {gateway} src {}",
                    if gateway == "192.0.2.1" {
                        "192.0.2.2"
                    } else {
                        "10.99.1.3"
                    }
                ),
            ] {
                let status = Command::new("nsenter")
                    .args(["-t", &machine.pid().to_string(), "-n"])
                    .args(command.split(' '))
                    .status()
                    .unwrap();
                assert!(status.success(), "{command}");
            }
            no_answer(machine.ask_in_vain("127.0.0.1:8080").await);
        }
    });
}

#[test]
fn ports_that_are_taken_are_named_before_and_at_connecting() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let web = connected(&networks, &net, 2, &[port(None, 8080)]).await;
        match networks.check_ports(&[port(Some("127.0.0.1"), 8080)]).await {
            Err(NetworkError::PortInUse {
                port: 8080,
                holder: PortHolder::Container(id),
                ..
            }) => assert_eq!(id, web.id),
            other => panic!("{other:?}"),
        }
        let late = Process::start();
        let (id, interface) = (ContainerId::new("late"), interface(&net, 3));
        let endpoint = Endpoint {
            interface: &interface,
            network: &net,
        };
        networks
            .connect(&id, late.pid(), &[endpoint], &[port(None, 8080)])
            .await
            .unwrap_err();
        // Nothing half made is left.
        assert_eq!(networks.containers(), std::slice::from_ref(&web.id));
        let links = networks.netlink.links().await.unwrap();
        assert_eq!(
            links
                .iter()
                .filter(|link| link.name.starts_with("whv"))
                .count(),
            1
        );
        networks.disconnect(&web.id).await.unwrap();
        networks.check_ports(&[port(None, 8080)]).await.unwrap();
    });
}

#[test]
fn an_agent_that_died_left_everything_working_and_the_next_one_takes_over() {
    on_a_host(|| async {
        let (networks, directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let web = connected(&networks, &net, 2, &[port(None, 8080)]).await;
        let _server = web.serve("web", 80).await;
        drop(networks);
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        let networks = open(directory.path()).await;
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        assert_eq!(networks.containers(), std::slice::from_ref(&web.id));
        let adopted = networks.adopt(&web.id).await.unwrap().unwrap();
        assert_eq!(
            adopted
                .ports
                .iter()
                .map(|port| port.port)
                .collect::<Vec<_>>(),
            [8080]
        );
        networks.check_ports(&[port(None, 8080)]).await.unwrap_err();
        assert_eq!(networks.observe().await.unwrap()[0].id, net.id);
    });
}

#[test]
fn a_container_that_is_run_again_is_connected_again() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let mut web = connected(&networks, &net, 2, &[port(None, 8080)]).await;
        // Its first run ended, and nobody said so; then it is connected twice.
        web.process = Process::start();
        let interface = interface(&net, 2);
        let endpoint = Endpoint {
            interface: &interface,
            network: &net,
        };
        for _ in 0..2 {
            let connected = networks
                .connect(&web.id, web.pid(), &[endpoint], &[port(None, 8080)])
                .await
                .unwrap();
            assert_eq!(connected.ports.len(), 1);
        }
        let _server = web.serve("web", 80).await;
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
    });
}

#[test]
fn a_port_of_a_container_that_ended_unseen_is_free() {
    on_a_host(|| async {
        let (networks, directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let old = connected(&networks, &net, 2, &[port(None, 8080)]).await;
        drop(networks);
        drop(old.process);
        let networks = open(directory.path()).await;
        let new = connected(&networks, &net, 3, &[port(None, 8080)]).await;
        let _server = new.serve("new", 80).await;
        answers(ask_from_host("127.0.0.1:8080").await, "new sees 10.99.1.1");
        networks.disconnect(&old.id).await.unwrap();
        answers(ask_from_host("127.0.0.1:8080").await, "new sees 10.99.1.1");
    });
}

#[test]
fn what_a_dead_agent_was_deleting_is_found_again() {
    on_a_host(|| async {
        let (networks, directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let web = connected(&networks, &net, 2, &[]).await;
        // As far as a disconnection gets before the agent is killed.
        networks.want(|known| known.containers.remove(&web.id));
        assert!(networks.containers().is_empty());
        drop(networks);
        let networks = open(directory.path()).await;
        assert_eq!(networks.containers(), std::slice::from_ref(&web.id));
        networks.disconnect(&web.id).await.unwrap();
        networks.leaving.container_left(&web.id).await;
        let links = networks.netlink.links().await.unwrap();
        assert!(links.iter().all(|link| !link.name.starts_with("whv")));
        drop(networks);
        assert!(open(directory.path()).await.containers().is_empty());
    });
}

#[test]
fn a_container_that_starts_again_at_once_meets_nothing_of_its_last_run() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        for _ in 0..10 {
            let web = connected(&networks, &net, 2, &[port(None, 8080)]).await;
            let _server = web.serve("web", 80).await;
            answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
            networks.disconnect(&web.id).await.unwrap();
            networks.check_ports(&[port(None, 8080)]).await.unwrap();
        }
    });
}

#[test]
fn a_running_container_changes_networks() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let (front, mut back) = (network(1), network(2));
        back.internal = true;
        networks.ensure(&front).await.unwrap();
        networks.ensure(&back).await.unwrap();
        let web = connected(&networks, &back, 2, &[port(None, 8080)]).await;
        let _server = web.serve("web", 80).await;
        no_answer(ask_from_host_in_vain("127.0.0.1:8080").await);
        let (first, mut second) = (interface(&back, 2), interface(&front, 2));
        second.name = "eth1".to_owned();
        let both = [
            Endpoint {
                interface: &first,
                network: &back,
            },
            Endpoint {
                interface: &second,
                network: &front,
            },
        ];
        networks
            .connect(&web.id, web.pid(), &both, &[port(None, 8080)])
            .await
            .unwrap();
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        networks
            .connect(&web.id, web.pid(), &both[1..], &[port(None, 8080)])
            .await
            .unwrap();
        answers(ask_from_host("127.0.0.1:8080").await, "web sees 10.99.1.1");
        let links = networks.netlink.links().await.unwrap();
        assert_eq!(
            links
                .iter()
                .filter(|link| link.name.starts_with("whv"))
                .count(),
            1
        );
    });
}

#[test]
fn many_containers_are_connected_at_once() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let containers: Vec<Container> = (10..60)
            .map(|last| Container {
                id: ContainerId::new(format!("many{last}")),
                process: Process::start(),
            })
            .collect();
        let connect = async |container: &Container, last: u8| {
            let interface = interface(&net, last);
            let endpoint = Endpoint {
                interface: &interface,
                network: &net,
            };
            let ports = [port(None, 9000 + u16::from(last))];
            networks
                .connect(&container.id, container.pid(), &[endpoint], &ports)
                .await
                .unwrap();
        };
        futures::future::join_all(
            containers
                .iter()
                .zip(10..)
                .map(|(container, last)| connect(container, last)),
        )
        .await;
        let _server = containers[49].serve("last", 80).await;
        answers(ask_from_host("127.0.0.1:9059").await, "last sees 10.99.1.1");
        futures::future::join_all(
            containers
                .iter()
                .map(|container| networks.disconnect(&container.id)),
        )
        .await;
        assert!(networks.containers().is_empty());
    });
}

#[test]
fn nothing_is_left_when_everything_was_removed() {
    on_a_host(|| async {
        let (networks, directory) = driver().await;
        let net = network(1);
        assert!(!networks.is_current(&net));
        networks.ensure(&net).await.unwrap();
        networks.ensure(&net).await.unwrap();
        assert!(networks.is_current(&net));
        assert_eq!(
            networks.observe().await.unwrap(),
            [ObservedNetwork {
                id: net.id.clone(),
                bridge: networks.instance.bridge(&net.id),
                address: Some("10.99.1.1/24".parse().unwrap()),
            }]
        );
        let web = connected(&networks, &net, 2, &[port(None, 8080)]).await;
        networks.disconnect(&web.id).await.unwrap();
        networks.disconnect(&web.id).await.unwrap();
        networks.remove(&net.id).await.unwrap();
        networks.remove(&net.id).await.unwrap();
        let links = networks.netlink.links().await.unwrap();
        assert_eq!(
            links
                .iter()
                .map(|link| link.name.as_str())
                .filter(|name| name.starts_with("wh"))
                .count(),
            0
        );
        let rules = Command::new("nft")
            .args(["list", "ruleset"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&rules.stdout), "");
        for name in ["networks", "containers"] {
            assert_eq!(
                std::fs::read_dir(directory.path().join(name))
                    .unwrap()
                    .count(),
                0
            );
        }
    });
}

#[test]
fn another_firewall_that_is_in_the_way_is_told() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        assert!(networks.warnings().await.is_empty());
        let rules = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
        assert!(Command::new("nft").arg(rules).status().unwrap().success());
        assert_eq!(networks.warnings().await.len(), 1);
    });
}

#[test]
#[ignore = "makes a thousand interfaces, which holds up every other network test on the machine"]
fn a_full_bridge_is_named() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let bridge = networks.instance.bridge(&net.id);
        let mut batch = String::new();
        for number in 0..1023 {
            batch += &format!(
                "link add p{number} type veth peer name q{number}\nlink set p{number} master {bridge}\n"
            );
        }
        let mut ip = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        ip.stdin
            .take()
            .unwrap()
            .write_all(batch.as_bytes())
            .unwrap();
        assert!(ip.wait().unwrap().success());
        let (late, interface) = (Process::start(), interface(&net, 2));
        let endpoint = Endpoint {
            interface: &interface,
            network: &net,
        };
        let id = ContainerId::new("late");
        let error = networks
            .connect(&id, late.pid(), &[endpoint], &[])
            .await
            .unwrap_err();
        assert!(
            matches!(error, NetworkError::BridgeFull { .. }),
            "{error:?}"
        );
        assert!(networks.containers().is_empty());
        assert_eq!(
            networks
                .netlink
                .link(&networks.instance.veth(&id, &net.id))
                .await
                .unwrap(),
            None
        );
    });
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let table = networks.instance.table();
        assert!(
            Command::new("nft")
                .args(["flush", "ruleset"])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        loop {
            let list = Command::new("nft")
                .args(["list", "chain", "inet", &table, "forward"])
                .output()
                .unwrap();
            if list.status.success() {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the rules did not come back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_virtual_address_stands_for_its_backends() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let mut net = network(1);
        networks.ensure(&net).await.unwrap();
        let a = connected(&networks, &net, 2, &[]).await;
        let b = connected(&networks, &net, 3, &[]).await;
        let client = connected(&networks, &net, 4, &[]).await;
        let (_a, _b) = (a.serve("a", 80).await, b.serve("b", 80).await);
        let service = |backends: &[u8]| VirtualAddress {
            service: "web".to_owned(),
            address: [10, 99, 1, 200].into(),
            backends: backends
                .iter()
                .map(|last| [10, 99, 1, *last].into())
                .collect(),
        };
        net.virtual_addresses = vec![service(&[2, 3])];
        networks
            .balance(&client.id, client.pid(), &[&net])
            .await
            .unwrap();
        networks.balance(&a.id, a.pid(), &[&net]).await.unwrap();
        let mut seen = BTreeMap::new();
        for _ in 0..6 {
            *seen
                .entry(client.ask("10.99.1.200:80").await.unwrap())
                .or_insert(0) += 1;
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [
                ("a sees 10.99.1.4".to_owned(), 3),
                ("b sees 10.99.1.4".to_owned(), 3)
            ]
        );
        // A backend that asks for its own service may be sent to itself.
        for _ in 0..2 {
            a.ask("10.99.1.200:80").await.unwrap();
        }
        net.virtual_addresses = vec![service(&[])];
        networks
            .balance(&client.id, client.pid(), &[&net])
            .await
            .unwrap();
        let error = client.ask("10.99.1.200:80").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn datagrams_follow_a_service_to_its_new_container() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let mut udp = port(None, 5353);
        udp.protocol = Protocol::Udp;
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ask = async || {
            let mut buffer = [0; 100];
            client.send_to(b"?", "127.0.0.1:5353").await.unwrap();
            let answer = tokio::time::timeout(PATIENCE, client.recv(&mut buffer)).await;
            answer.map(|length| String::from_utf8_lossy(&buffer[..length.unwrap()]).into_owned())
        };
        let old = connected(&networks, &net, 2, std::slice::from_ref(&udp)).await;
        let server = old.serve("old", 80).await;
        assert_eq!(ask().await.as_deref(), Ok("old sees 10.99.1.1"));
        drop(server);
        networks.disconnect(&old.id).await.unwrap();
        let new = connected(&networks, &net, 3, &[udp]).await;
        let _server = new.serve("new", 80).await;
        assert_eq!(ask().await.as_deref(), Ok("new sees 10.99.1.1"));
    });
}

#[test]
fn nobody_speaks_in_a_neighbours_name() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let net = network(1);
        networks.ensure(&net).await.unwrap();
        let victim = connected(&networks, &net, 2, &[]).await;
        let liar = connected(&networks, &net, 3, &[]).await;
        let _server = victim.serve("victim", 80).await;
        answers(liar.ask("10.99.1.2:80").await, "victim sees 10.99.1.3");
        let status = Command::new("nsenter")
            .args(format!("-t {} -n ip addr add 10.99.1.77/24 dev eth0", liar.pid()).split(' '))
            .status()
            .unwrap();
        assert!(status.success());
        let spoofed = liar.run(|| {
            use nix::sys::socket::*;
            use std::os::fd::AsRawFd;
            let socket = socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::empty(),
                None,
            )?;
            bind(
                socket.as_raw_fd(),
                &"10.99.1.77:0"
                    .parse::<SockaddrIn>()
                    .unwrap_or(SockaddrIn::new(10, 99, 1, 77, 0)),
            )?;
            setsockopt(
                &socket,
                sockopt::SendTimeout,
                &nix::sys::time::TimeVal::new(0, 400_000),
            )?;
            connect(socket.as_raw_fd(), &SockaddrIn::new(10, 99, 1, 2, 80))?;
            Ok(())
        });
        assert!(spoofed.await.is_err());
    });
}

#[test]
fn the_hosts_own_namespace_is_never_connected() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        let child = Process(Command::new("sleep").arg("600").spawn().unwrap());
        let error = networks
            .connect(&ContainerId::new("host"), child.pid(), &[], &[])
            .await
            .unwrap_err();
        assert!(
            matches!(error, NetworkError::HostNamespace { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    on_a_host(|| async {
        let (networks, _directory) = driver().await;
        networks.ensure(&network(1)).await.unwrap();
        let mut overlapping = network(2);
        overlapping.subnet = "10.99.0.0/16".parse().unwrap();
        assert!(matches!(
            networks.ensure(&overlapping).await,
            Err(NetworkError::Overlap { .. })
        ));
        let mut evil = network(3);
        evil.bridge_name = Some("x\" drop; #".to_owned());
        assert!(matches!(
            networks.ensure(&evil).await,
            Err(NetworkError::InvalidName { .. })
        ));
        let mut astray = network(4);
        astray.gateway = [10, 1, 1, 1].into();
        assert!(matches!(
            networks.ensure(&astray).await,
            Err(NetworkError::GatewayOutside { .. })
        ));
        ip("link add br0 type bridge");
        let mut foreign = network(5);
        foreign.bridge_name = Some("br0".to_owned());
        assert!(matches!(
            networks.ensure(&foreign).await,
            Err(NetworkError::BridgeTaken { .. })
        ));
        let mut chosen = network(6);
        chosen.bridge_name = Some("shop0".to_owned());
        networks.ensure(&chosen).await.unwrap();
        networks.remove(&chosen.id).await.unwrap();
        assert_eq!(networks.netlink.link("shop0").await.unwrap(), None);
        assert!(networks.netlink.link("br0").await.unwrap().is_some());
    });
}
