//! A connection that can be taken away from whoever holds it, however deep it is wrapped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// Reads and writes until it is revoked; then every call fails.
pub(super) struct Revocable {
    stream: TcpStream,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    _closed: DropGuard,
}

/// The other end: revokes, and knows when there is nothing left to revoke.
pub(super) struct Handle {
    pub(super) revoke: CancellationToken,
    pub(super) closed: CancellationToken,
}

impl Revocable {
    pub(super) fn new(stream: TcpStream) -> (Self, Handle) {
        let (revoke, closed) = (CancellationToken::new(), CancellationToken::new());
        let this = Self {
            stream,
            revoked: Box::pin(revoke.clone().cancelled_owned()),
            _closed: closed.clone().drop_guard(),
        };
        (this, Handle { revoke, closed })
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.revoked.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Revocable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Revocable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
