//! Published TCP ports on `::1`: passed on by this process, connection by connection.
//!
//! To `127.0.0.1` the kernel can be told to redirect packets (`route_localnet`). For IPv6 there is
//! no such switch: the answers to `::1` would be dropped, as they come from another interface. So
//! the socket that holds the port listens after all; only connections to `::1` ever reach it.
//!
//!     program ── [::1]:8080 ──► relay ──► [fd00::2]:80 container

use std::io;
use std::net::{SocketAddr, TcpListener as BlockingListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Connections of one port at a time; more wait.
const CONNECTIONS: usize = 1024;
const WAITING: i32 = 128;
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);
/// When the process is out of file descriptors: not at once again.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Passes on the connections of one port until it is dropped.
pub(super) struct Relay {
    targets: watch::Sender<Vec<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a socket that is bound.
    pub(super) fn start(socket: &OwnedFd, targets: Vec<SocketAddr>) -> io::Result<Self> {
        listen(socket, Backlog::new(WAITING)?)?;
        let listener = BlockingListener::from(socket.try_clone()?);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (targets, choices) = watch::channel(targets);
        let task = tokio::spawn(serve(listener, choices));
        Ok(Self { targets, task })
    }

    /// Says where connections go from now on, one after the other.
    pub(super) fn aim(&self, targets: Vec<SocketAddr>) {
        self.targets.send_if_modified(|current| {
            let is_news = *current != targets;
            *current = targets;
            is_news
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, targets: watch::Receiver<Vec<SocketAddr>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut turn: usize = 0;
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((client, _)) = listener.accept().await else {
            sleep(AFTER_FAILURE).await;
            continue;
        };
        let target = {
            let targets = targets.borrow();
            let count = targets.len().max(1);
            targets.get(turn % count).copied()
        };
        turn = turn.wrapping_add(1);
        if let Some(target) = target {
            tokio::spawn(async move {
                let _place = place;
                pass(client, target).await;
            });
        }
    }
}

/// Ends when both sides have, or one of them breaks.
async fn pass(mut client: TcpStream, target: SocketAddr) {
    match timeout(CONNECT_TIME_LIMIT, TcpStream::connect(target)).await {
        Ok(Ok(mut server)) => {
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        Ok(Err(error)) => tracing::debug!(%target, %error, "cannot pass a connection on"),
        Err(_) => tracing::debug!(%target, "the container takes no connection"),
    }
}
