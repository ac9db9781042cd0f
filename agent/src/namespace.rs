//! Work inside another process's network namespace.
//!
//! A namespace belongs to a thread, so the work runs on a thread of its own that enters the
//! namespace first and ends afterwards: no thread of the runtime ever changes its namespace.
//! Sockets keep the namespace in which they were made, so they can be brought back and served by
//! the runtime; the thread enters the *caller's* runtime, because a socket registered with a
//! runtime that nobody drives never becomes ready.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A network namespace, kept alive by this value.
pub(crate) struct NetworkNamespace(File);

impl NetworkNamespace {
    /// The namespace of a running process.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/ns/net")).map(Self)
    }

    /// Whether it is the namespace of the calling thread.
    pub(crate) fn is_ours(&self) -> io::Result<bool> {
        let ours = std::fs::metadata("/proc/thread-self/ns/net")?;
        let this = self.0.metadata()?;
        Ok((ours.dev(), ours.ino()) == (this.dev(), this.ino()))
    }

    /// Runs `work` inside. It may block, and may make sockets for the caller's runtime.
    pub(crate) async fn run<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let namespace = self.0.try_clone()?;
        let runtime = Handle::current();
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                let result = setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    .and_then(|()| {
                        let _guard = runtime.enter();
                        work()
                    });
                // Nobody waits any more when the caller was cancelled.
                let _ = sender.send(result);
            })?;
        match receiver.await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the thread in the namespace ended early")),
        }
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
