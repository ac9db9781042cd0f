//! The sockets in one container's namespace, and who reads them.
//!
//! Known names are answered where they are read, without waiting for anything. Questions for
//! upstream, and connections by TCP, are tasks of their own, so many at most: a container that
//! opens a thousand connections and says nothing delays nobody, itself included.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::answer::{Transport, Verdict, answer, refuse};
use super::{Dns, Upstream, View, upstream};

/// Where Docker's clients expect it.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

/// Questions of one container that wait for upstream; more are refused at once.
const MAX_FORWARDED: usize = 128;

/// Connections of one container; more are closed at once.
const MAX_CONNECTIONS: usize = 64;

/// Bytes of a question by UDP: a name, and a few options. What is longer is cut off, and not understood.
const LONGEST: usize = 4096;

/// How long a connection may say nothing, or take to say something.
const CONNECTION_TIME_LIMIT: Duration = Duration::from_secs(3);

/// Questions on one connection.
const MAX_PIPELINED: usize = 100;

/// Made in the container's namespace.
pub(super) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds in the namespace of the calling thread, for the runtime that it has entered.
    pub(super) fn bind() -> io::Result<Self> {
        let udp = std::net::UdpSocket::bind(ADDRESS)?;
        let tcp = std::net::TcpListener::bind(ADDRESS)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self {
            udp: UdpSocket::from_std(udp)?,
            tcp: TcpListener::from_std(tcp)?,
        })
    }
}

/// One container's name server, running.
pub(super) struct Server {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    dns: Arc<Dns>,
    view: RwLock<Arc<View>>,
    turn: AtomicUsize,
    forwarded: Semaphore,
}

impl Server {
    pub(super) fn start(sockets: Sockets, view: View, dns: Arc<Dns>) -> Self {
        let shared = Arc::new(Shared {
            dns,
            view: RwLock::new(Arc::new(view)),
            turn: AtomicUsize::new(0),
            forwarded: Semaphore::new(MAX_FORWARDED),
        });
        let tasks = [
            tokio::spawn(serve_udp(Arc::clone(&shared), sockets.udp)),
            tokio::spawn(serve_tcp(Arc::clone(&shared), sockets.tcp)),
        ];
        Self { shared, tasks }
    }

    pub(super) fn set_view(&self, view: View) {
        *self
            .shared
            .view
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Returns when the sockets are closed.
    pub(super) async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // An error says that it was aborted.
            let _ = task.await;
        }
    }
}

impl Shared {
    fn answer(&self, question: &[u8], transport: Transport) -> Verdict {
        let view = self.view();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        answer(question, transport, &self.dns.table(), &view.networks, turn)
    }

    /// What upstream says, or that there is no answer.
    async fn forward(&self, question: &[u8], transport: Transport) -> Verdict {
        let view = self.view();
        let servers = match &view.upstream {
            // No such name, for good: a client that is told "try again" tries for seconds.
            Upstream::Nowhere => return refuse(question, ResponseCode::NXDomain),
            Upstream::Host => self.dns.host.servers(),
            Upstream::Servers(servers) => servers.as_slice().into(),
        };
        let Ok(_place) = self.forwarded.try_acquire() else {
            return refuse(question, ResponseCode::ServFail);
        };
        match upstream::ask(question, transport, &servers).await {
            Some(answer) => Verdict::Answer(answer),
            None => refuse(question, ResponseCode::ServFail),
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve_udp(shared: Arc<Shared>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    // Ends with this task, so that no question keeps the socket alive.
    let mut forwarded = JoinSet::new();
    loop {
        tokio::select! {
            received = receive(&socket) => match received {
                Ok((question, client)) => {
                    match shared.answer(&question, Transport::Udp) {
                        Verdict::Answer(answer) => send(&socket, &answer, client).await,
                        Verdict::Ignore => {}
                        Verdict::Forward => {
                            let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
                            forwarded.spawn(async move {
                                if let Verdict::Answer(answer) = shared.forward(&question, Transport::Udp).await {
                                    send(&socket, &answer, client).await;
                                }
                            });
                        }
                    }
                }
                // An earlier answer was refused by the client's port; later ones are not concerned.
                Err(error) => pause_after(&error).await,
            },
            Some(_) = forwarded.join_next() => {}
        }
    }
}

/// The next datagram. Nothing is kept ready for those that are not: most containers ask
/// nothing for most of the time.
async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    loop {
        socket.readable().await?;
        match take(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

fn take(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; LONGEST];
    let (length, client) = socket.try_recv_from(&mut buffer)?;
    Ok((buffer.get(..length).unwrap_or_default().to_vec(), client))
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::debug!(%error, "an answer was not sent");
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        // An error is the client's: it left, or said nothing.
                        let _ = serve_connection(&shared, stream).await;
                    });
                }
                Ok((stream, _)) => drop(stream),
                Err(error) => pause_after(&error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Keeps a lasting error (no more files) from filling a processor.
async fn pause_after(error: &io::Error) {
    tracing::debug!(%error, "the name server cannot read");
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn serve_connection(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    for _ in 0..MAX_PIPELINED {
        let question = timeout(CONNECTION_TIME_LIMIT, read_question(&mut stream)).await??;
        let verdict = match shared.answer(&question, Transport::Tcp) {
            Verdict::Forward => shared.forward(&question, Transport::Tcp).await,
            verdict => verdict,
        };
        let Verdict::Answer(answer) = verdict else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let message = [&length.to_be_bytes()[..], &answer].concat();
        timeout(CONNECTION_TIME_LIMIT, stream.write_all(&message)).await??;
    }
    Ok(())
}

async fn read_question(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut question = vec![0; usize::from(length)];
    stream.read_exact(&mut question).await?;
    Ok(question)
}
