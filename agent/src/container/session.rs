//! What the agent holds while a program runs on somebody's behalf, or somebody is attached.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use scheduler::model::id::ContainerId;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::link::Link;
use super::log::Stream;
use super::protocol::{CHUNK, Reply, Request, Tag};
use super::{ContainerError, ExecRequest, kernel};

/// A program that runs in a container on somebody's behalf.
pub struct ExecSession {
    /// As the host numbers it.
    pub pid: u32,
    /// Dropping it closes the program's standard input (not with a terminal).
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// With a terminal, everything it shows.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// May be cloned and used from anywhere.
    pub control: ExecControl,
}

/// Waits for an exec, resizes its terminal, kills it.
#[derive(Clone)]
pub struct ExecControl {
    container: ContainerId,
    link: Arc<Link>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
    /// `Some` once it has ended; closed without one when the shim has gone.
    ended: watch::Receiver<Option<i32>>,
}

impl ExecSession {
    /// Starts a program through a new connection to the container's shim.
    pub(super) async fn start(
        container: &ContainerId,
        link: Link,
        request: ExecRequest,
    ) -> Result<Self, ContainerError> {
        let lost = |error: io::Error| ContainerError::Shim {
            id: container.clone(),
            reason: error.to_string(),
        };
        let tty = request.tty;
        let request = Request::Exec(Box::new(request));
        let pipes = if tty {
            link.request(&request, &[]).await.map_err(lost)?;
            None
        } else {
            let pipes = Pipes::open().map_err(lost)?;
            let theirs = [
                pipes.stdin.0.as_fd(),
                pipes.stdout.1.as_fd(),
                pipes.stderr.1.as_fd(),
            ];
            link.request(&request, &theirs).await.map_err(lost)?;
            Some(pipes)
        };
        let mut terminal = None;
        let pid = loop {
            match link.reply().await.map_err(lost)? {
                (Reply::Terminal, master) => terminal = master,
                (Reply::ExecStarted { pid }, _) => break pid,
                (Reply::Failed(failure), _) => return Err(failure.into()),
                (other, _) => return Err(unexpected(container, &other)),
            }
        };
        let terminal = terminal
            .map(asynchronous)
            .transpose()
            .map_err(lost)?
            .map(Arc::new);
        let link = Arc::new(link);
        let session = Self {
            pid,
            stdin: None,
            stdout: None,
            stderr: None,
            control: ExecControl {
                container: container.clone(),
                link: link.clone(),
                terminal: terminal.clone(),
                ended: watch_exit(link),
            },
        };
        session.connect(pipes, terminal).map_err(lost)
    }

    fn connect(
        mut self,
        pipes: Option<Pipes>,
        terminal: Option<Arc<AsyncFd<OwnedFd>>>,
    ) -> io::Result<Self> {
        if let Some(terminal) = terminal {
            self.stdin = Some(Box::new(Terminal(terminal.clone())));
            self.stdout = Some(Box::new(Terminal(terminal)));
        }
        if let Some(pipes) = pipes {
            self.stdin = Some(Box::new(pipe::Sender::from_owned_fd(pipes.stdin.1)?));
            self.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(pipes.stdout.0)?));
            self.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(pipes.stderr.0)?));
        }
        Ok(self)
    }
}

/// Three pipes, each with its reading end first.
struct Pipes {
    stdin: (OwnedFd, OwnedFd),
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
}

impl Pipes {
    fn open() -> io::Result<Self> {
        let open = || pipe2(OFlag::O_CLOEXEC);
        Ok(Self {
            stdin: open()?,
            stdout: open()?,
            stderr: open()?,
        })
    }
}

fn asynchronous(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    kernel::watched(fd, Interest::READABLE | Interest::WRITABLE)
}

fn watch_exit(link: Arc<Link>) -> watch::Receiver<Option<i32>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while let Ok(Some(packet)) = link.receive().await {
            if let Ok(Reply::ExecExited { code }) = packet.parse() {
                let _ = sender.send(Some(code));
                return;
            }
        }
    });
    receiver
}

fn unexpected(container: &ContainerId, reply: &Reply) -> ContainerError {
    ContainerError::Shim {
        id: container.clone(),
        reason: format!("unexpected answer {reply:?}"),
    }
}

impl ExecControl {
    /// The exit code, once it has ended; 128 + n for signal n. May be called more than once.
    pub async fn wait(&self) -> Result<i32, ContainerError> {
        let mut ended = self.ended.clone();
        let code = ended.wait_for(Option::is_some).await.map(|code| *code);
        code.ok().flatten().ok_or_else(|| ContainerError::Shim {
            id: self.container.clone(),
            reason: "it has gone before the program ended".to_owned(),
        })
    }

    /// Waits at most this long, then kills it; `None` when it had to be killed.
    pub async fn wait_or_kill(&self, patience: Duration) -> Result<Option<i32>, ContainerError> {
        match tokio::time::timeout(patience, self.wait()).await {
            Ok(code) => code.map(Some),
            Err(_) => {
                self.signal(libc::SIGKILL).await?;
                Ok(None)
            }
        }
    }

    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), ContainerError> {
        let Some(terminal) = &self.terminal else {
            return Err(ContainerError::NoTerminal);
        };
        kernel::set_terminal_size(terminal.as_fd(), rows, columns)
            .map_err(|errno| self.lost(errno.into()))
    }

    /// Signals the program and its process group.
    pub async fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        let request = Request::Signal { signal };
        self.link
            .request(&request, &[])
            .await
            .map_err(|error| self.lost(error))
    }

    fn lost(&self, error: io::Error) -> ContainerError {
        ContainerError::Shim {
            id: self.container.clone(),
            reason: error.to_string(),
        }
    }
}

/// The engine's end of a terminal.
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let attempt = guard.try_io(|fd| Ok(read(fd.get_ref(), buffer.initialize_unfilled())?));
            match attempt {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // Every process that had it open is gone: the end.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::EIO as i32) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| Ok(write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a container says while somebody is attached.
pub struct AttachOutput {
    link: Arc<Link>,
}

/// A container's standard input, for somebody who is attached.
pub struct AttachInput {
    container: ContainerId,
    link: Arc<Link>,
}

/// Turns a connection that was asked to attach into its two directions.
pub(super) fn attached(container: &ContainerId, link: Link) -> (AttachOutput, AttachInput) {
    let link = Arc::new(link);
    let input = AttachInput {
        container: container.clone(),
        link: link.clone(),
    };
    (AttachOutput { link }, input)
}

impl AttachOutput {
    /// The next piece; `None` when the container has ended.
    pub async fn next(&mut self) -> Option<(Stream, Vec<u8>)> {
        loop {
            let mut bytes = self.link.receive().await.ok()??.bytes;
            let stream = match bytes.first().copied().and_then(Tag::of) {
                Some(Tag::Stdout) => Stream::Stdout,
                Some(Tag::Stderr) => Stream::Stderr,
                Some(Tag::Stdin | Tag::StdinEnd) | None => continue,
            };
            bytes.remove(0);
            return Some((stream, bytes));
        }
    }
}

impl AttachInput {
    pub async fn write(&mut self, data: &[u8]) -> Result<(), ContainerError> {
        for chunk in data.chunks(CHUNK) {
            let mut packet = Vec::with_capacity(chunk.len() + 1);
            packet.push(Tag::Stdin.byte());
            packet.extend_from_slice(chunk);
            self.send(&packet).await?;
        }
        Ok(())
    }

    /// Ends the container's standard input, if it is open only once; else only leaves.
    pub async fn close(&mut self) -> Result<(), ContainerError> {
        self.send(&[Tag::StdinEnd.byte()]).await
    }

    async fn send(&self, packet: &[u8]) -> Result<(), ContainerError> {
        self.link
            .send(packet, &[])
            .await
            .map_err(|error| ContainerError::Shim {
                id: self.container.clone(),
                reason: error.to_string(),
            })
    }
}
