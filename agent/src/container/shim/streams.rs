//! The container's standard streams, from the shim's side.
//!
//! Output goes to the log and to everybody who is attached. Nothing is read while somebody attached
//! is too far behind: then the pipe fills, and the container waits for its reader as it would in a
//! shell. The log never makes it wait longer than a write to the disk takes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

use super::would_block;
use crate::clock::wall_time;
use crate::container::Stdin;
use crate::container::failure::{During, Failure};
use crate::container::kernel;
use crate::container::log::{LogWriter, Stream};
use crate::container::protocol::{CHUNK, Tag};

// Input that the container has not taken yet; beyond it, clients have to wait.
const INPUT_PATIENCE: usize = 256 * 1024;

pub(super) struct Output {
    sources: Vec<Source>,
    log: Option<LogWriter>,
    stdin: Stdin,
    input: Option<OwnedFd>,
    /// Taken from clients, not yet by the container.
    pending: Vec<u8>,
    /// Closes the input once `pending` is empty.
    closing: bool,
    terminal: bool,
}

struct Source {
    fd: OwnedFd,
    stream: Stream,
}

/// What a read has brought.
pub(super) enum Piece {
    /// Ready to be sent: the tag and the bytes.
    Data(Vec<u8>),
    NothingNow,
    End,
}

impl Output {
    pub(super) fn new(log: Option<LogWriter>, stdin: Stdin) -> Self {
        Self {
            sources: Vec::new(),
            log,
            stdin,
            input: None,
            pending: Vec::new(),
            closing: false,
            terminal: false,
        }
    }

    pub(super) fn add_source(&mut self, fd: OwnedFd, stream: Stream) -> Result<(), Failure> {
        do_not_wait(&fd)?;
        self.sources.push(Source { fd, stream });
        Ok(())
    }

    pub(super) fn set_input(&mut self, fd: OwnedFd) -> Result<(), Failure> {
        do_not_wait(&fd)?;
        self.input = Some(fd);
        Ok(())
    }

    /// Takes the engine's end of the container's terminal: output, and input if that is open.
    pub(super) fn set_terminal(&mut self, master: OwnedFd) -> Result<(), Failure> {
        let input = master.try_clone().during("keep terminal", "")?;
        self.set_input(input)?;
        self.terminal = true;
        self.add_source(master, Stream::Stdout)
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        match self.input.as_ref().filter(|_| self.terminal) {
            Some(terminal) => {
                kernel::set_terminal_size(terminal, rows, columns).during("resize the terminal", "")
            }
            None => Err(Failure::refused(
                "resize",
                "",
                "the container has no terminal",
            )),
        }
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().map(|source| source.fd.as_fd())
    }

    /// Reads from the source of that index, into the log; the piece is for those attached.
    pub(super) fn read(&mut self, index: usize) -> Piece {
        let Some(source) = self.sources.get(index) else {
            return Piece::NothingNow;
        };
        let mut piece = vec![0; CHUNK + 1];
        let length = match read(&source.fd, &mut piece[1..]) {
            Ok(length) if length > 0 => length,
            Err(errno) if would_block(errno) => return Piece::NothingNow,
            // The end; for a terminal that is EIO, when nobody has it open any more.
            Ok(_) | Err(_) => {
                self.sources.remove(index);
                return Piece::End;
            }
        };
        piece.truncate(length + 1);
        piece[0] = match source.stream {
            Stream::Stdout => Tag::Stdout.byte(),
            Stream::Stderr => Tag::Stderr.byte(),
        };
        if let Some(log) = &mut self.log {
            // A full disk loses log lines, not the container.
            let _ = log.write(source.stream, &piece[1..], wall_time());
        }
        Piece::Data(piece)
    }

    pub(super) fn finish_log(&mut self) {
        if let Some(log) = &mut self.log {
            let _ = log.finish(wall_time());
        }
    }

    /// Where input waits to be taken.
    pub(super) fn blocked_input(&self) -> Option<BorrowedFd<'_>> {
        self.input
            .as_ref()
            .filter(|_| !self.pending.is_empty())
            .map(AsFd::as_fd)
    }

    /// Whether clients may send more.
    pub(super) fn takes_input(&self) -> bool {
        self.pending.len() < INPUT_PATIENCE
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        // Without an open standard input, what clients type has nowhere to go.
        if self.stdin == Stdin::Closed || self.input.is_none() || self.closing {
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.push();
    }

    /// Hands waiting input to the container.
    pub(super) fn push(&mut self) {
        let Some(input) = &self.input else {
            return;
        };
        while !self.pending.is_empty() {
            match write(input, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Nobody reads any more.
                Err(_) => self.pending.clear(),
            }
        }
        if self.closing && !self.terminal {
            self.input = None;
        }
    }

    /// A client that was attached to the input has left, or has nothing more to say.
    pub(super) fn client_is_done(&mut self) {
        if self.stdin == Stdin::OpenOnce {
            self.closing = true;
            self.push();
        }
    }
}

fn do_not_wait(fd: &OwnedFd) -> Result<(), Failure> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(drop)
        .during("configure stream", "")
}
