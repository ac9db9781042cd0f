//! Asks other name servers, from the host's namespace.
//!
//! The question goes on as it came, but under a number of our own and from a port of its own, so
//! that forging an answer means guessing both.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;

/// How long one server is waited for before the next is asked.
const SERVER_TIME_LIMIT: Duration = Duration::from_millis(1500);

const PORT: u16 = 53;

/// The answer of the first server that gives one, under the question's own number.
pub(super) async fn ask(
    question: &[u8],
    transport: Transport,
    servers: &[IpAddr],
) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let mut forwarded = question.to_vec();
    let id = rand::random::<u16>();
    forwarded.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
    for server in servers {
        let server = SocketAddr::new(*server, PORT);
        let exchange = exchange(&forwarded, id, &asked, transport, server);
        match timeout(SERVER_TIME_LIMIT, exchange).await {
            Ok(Ok(mut answer)) => {
                answer
                    .get_mut(..2)?
                    .copy_from_slice(&asked.metadata.id.to_be_bytes());
                return Some(answer);
            }
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server did not answer"),
            Err(_) => tracing::debug!(%server, "a name server did not answer in time"),
        }
    }
    None
}

async fn exchange(
    question: &[u8],
    id: u16,
    asked: &Message,
    transport: Transport,
    server: SocketAddr,
) -> io::Result<Vec<u8>> {
    let answer = by_udp(question, id, asked, server).await?;
    let truncated = answer.get(2).is_some_and(|flags| flags & 0x02 != 0);
    // A client that came by UDP is told that it was cut, and comes again by TCP.
    if truncated && transport == Transport::Tcp {
        return by_tcp(question, id, asked, server).await;
    }
    Ok(answer)
}

async fn by_udp(
    question: &[u8],
    id: u16,
    asked: &Message,
    server: SocketAddr,
) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From now on only this server's packets come in.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answers(answer, id, asked) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_tcp(
    question: &[u8],
    id: u16,
    asked: &Message,
    server: SocketAddr,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], question].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    match answers(&answer, id, asked) {
        true => Ok(answer),
        false => Err(io::Error::other("an answer to another question")),
    }
}

/// Whether these bytes answer what was asked.
fn answers(bytes: &[u8], id: u16, asked: &Message) -> bool {
    // The rest is the client's to judge: only number, direction and question are looked at here.
    let Some(header) = bytes.get(..12) else {
        return false;
    };
    if header[..2] != id.to_be_bytes() || header[2] & 0x80 == 0 {
        return false;
    }
    match Message::from_vec(bytes) {
        Ok(answer) => {
            answer.metadata.message_type == MessageType::Response
                && (answer.queries.is_empty() || answer.queries == asked.queries)
        }
        // Record types that we cannot read may be known to the client.
        Err(_) => true,
    }
}
