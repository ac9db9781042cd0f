//! One connection of an agent, with what has yet to be sent on it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;
use nix::unistd::Pid;
use serde::Serialize;

use super::would_block;
use crate::container::protocol::{self, Packet};

// What a client may be behind before the container has to wait for it.
const PATIENCE: usize = 1024 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Has not said yet, or asks one thing after another.
    Asking,
    Watching,
    Attached,
    /// The exec it has started.
    Exec(Pid),
}

pub(super) struct Client {
    socket: OwnedFd,
    pub(super) role: Role,
    waiting: VecDeque<Vec<u8>>,
    behind: usize,
    pub(super) gone: bool,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, role: Role) -> Self {
        protocol::widen(&socket);
        Self {
            socket,
            role,
            waiting: VecDeque::new(),
            behind: 0,
            gone: false,
        }
    }

    pub(super) fn tell(&mut self, message: &impl Serialize) {
        match protocol::encode(message) {
            Ok(bytes) => self.send(bytes),
            Err(_) => self.gone = true,
        }
    }

    /// A message with a descriptor; only at the beginning of a conversation, when there is room.
    pub(super) fn tell_with(&mut self, message: &impl Serialize, descriptor: BorrowedFd<'_>) {
        let sent = protocol::encode(message).and_then(|bytes| {
            protocol::send(&self.socket, &bytes, &[descriptor], MsgFlags::MSG_DONTWAIT)
        });
        self.gone |= sent.is_err();
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        if self.gone {
            return;
        }
        self.behind += bytes.len();
        self.waiting.push_back(bytes);
        self.flush();
    }

    /// Sends as much as the other side takes.
    pub(super) fn flush(&mut self) {
        while let Some(bytes) = self.waiting.front() {
            match protocol::send(&self.socket, bytes, &[], MsgFlags::MSG_DONTWAIT) {
                Ok(()) => {
                    self.behind -= bytes.len();
                    self.waiting.pop_front();
                }
                Err(errno) if would_block(errno) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    /// The next message; `None` when there is none now (or never: then it is `gone`).
    pub(super) fn receive(&mut self) -> Option<Packet> {
        match protocol::receive(&self.socket, MsgFlags::MSG_DONTWAIT) {
            Ok(Some(packet)) => Some(packet),
            Err(errno) if would_block(errno) => None,
            Ok(None) | Err(_) => {
                self.gone = true;
                None
            }
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() && !self.gone
    }

    /// Bytes that it has yet to take.
    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    /// So far behind that nothing more must be read for it.
    pub(super) fn is_full(&self) -> bool {
        self.behind > PATIENCE && !self.gone
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Accepts one connection, if one waits.
pub(super) fn accept(listener: &OwnedFd) -> Option<Client> {
    use std::os::fd::{AsRawFd, FromRawFd};
    let flags = nix::sys::socket::SockFlag::SOCK_CLOEXEC;
    match nix::sys::socket::accept4(listener.as_raw_fd(), flags) {
        Ok(number) => {
            #[allow(unsafe_code)]
            // SAFETY: accept4 returned a new descriptor.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            Some(Client::new(socket, Role::Asking))
        }
        Err(_) => None,
    }
}
