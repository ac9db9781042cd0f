//! A container's namespace, and a name server on the host's loopback, both of the test's own.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sched::{CloneFlags, unshare};

use super::*;
use table::tests::networks;

/// Nothing here takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let host = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert!(
            Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .unwrap()
                .success()
        );
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

/// A sleeping process in a namespace with loopback up.
struct Container(Child, ContainerId);

impl Container {
    fn start() -> Self {
        let spawn = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert!(
                Command::new("ip")
                    .args(["link", "set", "lo", "up"])
                    .status()
                    .unwrap()
                    .success()
            );
            Command::new("sleep").arg("600").spawn().unwrap()
        };
        Self(
            std::thread::spawn(spawn).join().unwrap(),
            ContainerId::new("c"),
        )
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        NetworkNamespace::of(self.0.id()).unwrap().run(work).await
    }

    /// As [`Self::ask`], again while upstream takes longer than the server waits for it.
    async fn ask_the_world(&self, name: &str) -> String {
        for _ in 0..40 {
            match self.ask(name).await {
                answer if answer == "ServFail" => {}
                answer => return answer,
            }
        }
        "ServFail".to_owned()
    }

    /// Code and first address of the answer.
    async fn ask(&self, name: &str) -> String {
        let question = question(name);
        let answer = self.run(move || exchange(&question)).await;
        answer.map_or_else(|error| error.kind().to_string(), |bytes| show(&bytes))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_utf8(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn exchange(question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(question, "127.0.0.11:53")?;
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

fn show(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    assert_eq!(message.metadata.id, 7);
    let addresses = message
        .answers
        .iter()
        .map(|record| format!(" {}", record.data));
    format!(
        "{:?}{}",
        message.metadata.response_code,
        addresses.collect::<String>()
    )
}

fn view(upstream: Upstream) -> View {
    View {
        networks: vec![NetworkId::new("front")],
        upstream,
    }
}

/// A name server on the host's 127.0.0.1 that knows every name; counts what it is asked.
fn other_server() -> Arc<std::sync::atomic::AtomicUsize> {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let mut response = Message::response(request.metadata.id, OpCode::Query);
            let name = request.queries[0].name().clone();
            response.metadata.response_code = ResponseCode::NoError;
            response.add_queries(request.queries);
            response.add_answer(Record::from_rdata(
                name,
                60,
                RData::A(A(Ipv4Addr::new(192, 0, 2, 7))),
            ));
            // A forger's answer comes first, under the wrong number.
            let mut forged = response.to_vec().unwrap();
            forged[0] ^= 0xff;
            socket.send_to(&forged, client).unwrap();
            socket.send_to(&response.to_vec().unwrap(), client).unwrap();
        }
    });
    asked
}

#[test]
fn a_container_finds_names_of_its_networks_and_of_the_world() {
    on_a_host(|| async {
        other_server();
        let dns = Dns::new();
        dns.update(&networks(&["front: web=10.1.1.2", "back: db=10.1.2.2"]));
        let container = Container::start();
        let upstream = Upstream::Servers(vec![Ipv4Addr::LOCALHOST.into()]);
        dns.serve(&container.1, container.0.id(), view(upstream))
            .await
            .unwrap();
        assert_eq!(container.ask("web.").await, "NoError 10.1.1.2");
        assert_eq!(
            container.ask_the_world("example.com.").await,
            "NoError 192.0.2.7"
        );
        dns.update(&networks(&["front: web=10.1.1.9"]));
        assert_eq!(container.ask("web.").await, "NoError 10.1.1.9");
    });
}

#[test]
fn nothing_leaves_an_internal_network() {
    on_a_host(|| async {
        let asked = other_server();
        let dns = Dns::new();
        dns.update(&networks(&["front: web=10.1.1.2", "back: db=10.1.2.2"]));
        let container = Container::start();
        dns.serve(&container.1, container.0.id(), view(Upstream::Nowhere))
            .await
            .unwrap();
        assert_eq!(container.ask("example.com.").await, "NXDomain");
        assert_eq!(container.ask("db.").await, "NXDomain");
        assert_eq!(container.ask("web.").await, "NoError 10.1.1.2");
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
        // A network that is not internal was connected.
        let both = View {
            networks: vec![NetworkId::new("back")],
            upstream: Upstream::Servers(vec![Ipv4Addr::LOCALHOST.into()]),
        };
        dns.serve(&container.1, container.0.id(), both)
            .await
            .unwrap();
        assert_eq!(container.ask("db.").await, "NoError 10.1.2.2");
        assert_eq!(
            container.ask_the_world("example.com.").await,
            "NoError 192.0.2.7"
        );
    });
}

#[test]
fn without_an_upstream_that_answers_the_server_says_so() {
    on_a_host(|| async {
        let dns = Dns::new();
        let container = Container::start();
        let upstream = Upstream::Servers(vec![Ipv4Addr::LOCALHOST.into()]);
        dns.serve(&container.1, container.0.id(), view(upstream))
            .await
            .unwrap();
        assert_eq!(container.ask("example.com.").await, "ServFail");
    });
}

/// Another test may be forking, with copies of our sockets, until its child is another program.
fn patiently(bind: impl Fn() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..1000 {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
    bind()
}

#[test]
fn a_stopped_server_leaves_the_namespace() {
    on_a_host(|| async {
        let dns = Dns::new();
        let container = Container::start();
        for _ in 0..3 {
            dns.serve(&container.1, container.0.id(), view(Upstream::Nowhere))
                .await
                .unwrap();
            dns.stop(&container.1).await;
            // The address is free again: nothing of ours is left there.
            container
                .run(|| patiently(|| UdpSocket::bind("127.0.0.11:53").map(drop)))
                .await
                .unwrap();
            let listen = || std::net::TcpListener::bind("127.0.0.11:53").map(drop);
            container.run(move || patiently(listen)).await.unwrap();
        }
    });
}

#[test]
fn a_thousand_silent_connections_delay_nobody() {
    on_a_host(|| async {
        let dns = Dns::new();
        dns.update(&networks(&["front: web=10.1.1.2"]));
        let container = Container::start();
        dns.serve(&container.1, container.0.id(), view(Upstream::Nowhere))
            .await
            .unwrap();
        let _silent = container
            .run(|| {
                let server: SocketAddr = "127.0.0.11:53".parse().map_err(io::Error::other)?;
                Ok((0..1000)
                    .map(|_| TcpStream::connect_timeout(&server, Duration::from_secs(1)))
                    .collect::<Vec<_>>())
            })
            .await
            .unwrap();
        // One after the other they would take the server's time for fifty minutes.
        for _ in 0..50 {
            assert_eq!(container.ask("web.").await, "NoError 10.1.1.2");
        }
    });
}

#[test]
fn long_answers_come_by_tcp() {
    on_a_host(|| async {
        let many: Vec<String> = (2..=101).map(|last| format!("10.1.1.{last}")).collect();
        let dns = Dns::new();
        dns.update(&networks(&[&format!("front: web={}", many.join(","))]));
        let container = Container::start();
        dns.serve(&container.1, container.0.id(), view(Upstream::Nowhere))
            .await
            .unwrap();
        let question = question("web.");
        let answer = container.run(move || {
            use std::io::{Read, Write};
            let mut stream = TcpStream::connect("127.0.0.11:53")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            // At once, as the server has a limit for how long a question may take.
            let length = (question.len() as u16).to_be_bytes();
            stream.write_all(&[&length[..], &question].concat())?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        });
        assert_eq!(
            Message::from_vec(&answer.await.unwrap())
                .unwrap()
                .answers
                .len(),
            100
        );
    });
}
