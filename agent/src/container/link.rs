//! The agent's end of a connection to a shim.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::kernel;
use super::protocol::{self, Packet, Reply, Request};

// A shim does nothing that takes long; one that does not answer is stuck or stopped.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Link {
    socket: AsyncFd<OwnedFd>,
}

impl Link {
    /// Takes over one end of a pair.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        protocol::widen(&socket);
        let socket = kernel::watched(socket, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket })
    }

    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // A full queue of waiting connections answers EAGAIN at once; it holds 128.
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Self::new(socket)
    }

    pub(super) async fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                protocol::send(socket.as_fd(), bytes, descriptors, MsgFlags::MSG_DONTWAIT)
                    .map_err(io::Error::from)
            })
            .await
    }

    /// The next message; `None` when the shim has closed.
    pub(super) async fn receive(&self) -> io::Result<Option<Packet>> {
        self.socket
            .async_io(Interest::READABLE, |socket| {
                match protocol::receive(socket.as_fd(), MsgFlags::MSG_DONTWAIT) {
                    // How a shim that was killed says goodbye.
                    Err(Errno::ECONNRESET) => Ok(None),
                    received => received.map_err(io::Error::from),
                }
            })
            .await
    }

    pub(super) async fn request(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send(&protocol::encode(request)?, descriptors).await
    }

    /// The next answer with what came beside it.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the shim leaves instead, `TimedOut` if it says nothing.
    pub(super) async fn reply(&self) -> io::Result<(Reply, Option<OwnedFd>)> {
        let mut packet = tokio::time::timeout(PATIENCE, self.receive())
            .await??
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((packet.parse()?, packet.descriptors.pop()))
    }

    pub(super) async fn ask(&self, request: &Request) -> io::Result<Reply> {
        self.request(request, &[]).await?;
        Ok(self.reply().await?.0)
    }
}
