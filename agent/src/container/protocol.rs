//! What agent and shim say to each other, over a socket that keeps messages apart.
//!
//! One connection is for one matter: watching the run, being attached, one exec. A message is JSON
//! in one packet, with descriptors beside it; on an attached connection, after the answer, a packet
//! is one byte that says which stream, and the stream's bytes.
//!
//!     agent ── Create / Start / Watch / Attach / Resize / Exec / Signal ──► shim
//!     agent ◄── Created / Started / Ended / Terminal / ExecStarted / ExecExited / Done / Failed ── shim

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg, setsockopt, sockopt,
};
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::{ExecRequest, Exit};

/// Largest message. An exec with more arguments and environment than this is refused.
pub(super) const MAX_PACKET: usize = 256 * 1024;
/// Most bytes of a stream in one packet.
pub(super) const CHUNK: usize = 32 * 1024;
// A request brings at most the three standard streams.
const MAX_DESCRIPTORS: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Create(Box<CreateRequest>),
    Start,
    Watch,
    Attach,
    Resize {
        rows: u16,
        columns: u16,
    },
    /// With the program's standard streams, unless it has a terminal.
    Exec(Box<ExecRequest>),
    /// To the exec of this connection.
    Signal {
        signal: i32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CreateRequest {
    pub(super) id: ContainerId,
    pub(super) task: TaskId,
    /// The container's directory.
    pub(super) directory: PathBuf,
    /// The directory for its socket.
    pub(super) exec_directory: PathBuf,
    pub(super) init_layer: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Created {
        pid: u32,
    },
    Started {
        at: Timestamp,
    },
    /// Of the container's only run.
    Ended(Exit),
    /// With the engine's end of an exec's terminal.
    Terminal,
    ExecStarted {
        pid: u32,
    },
    ExecExited {
        code: i32,
    },
    Done,
    Failed(Failure),
}

/// What the container's process tells the shim before it becomes the program; the end of the
/// connection means that it did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Progress {
    /// With the engine's end of the terminal.
    Terminal,
    /// It waits at the gate.
    Ready {
        warnings: Vec<String>,
    },
    Failed(Failure),
}

/// First byte of the packets of an attached connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Stdin,
    Stdout,
    Stderr,
    /// No more input will come.
    StdinEnd,
}

impl Tag {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::StdinEnd => 3,
        }
    }

    pub(super) fn of(byte: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::StdinEnd]
            .into_iter()
            .find(|tag| tag.byte() == byte)
    }
}

/// One message as it arrived.
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Packet {
    /// # Errors
    ///
    /// `EBADMSG` for anything but a message of this type.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> nix::Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|_| Errno::EBADMSG)
    }
}

pub(super) fn encode(message: &impl Serialize) -> nix::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
    if bytes.len() > MAX_PACKET {
        return Err(Errno::E2BIG);
    }
    Ok(bytes)
}

pub(super) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> nix::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() {
        &[][..]
    } else {
        &rights[..]
    };
    sendmsg::<UnixAddr>(
        socket.as_fd().as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        flags | MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// The next message; `None` when the other side has closed.
pub(super) fn receive(socket: impl AsFd, flags: MsgFlags) -> nix::Result<Option<Packet>> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let (length, descriptors, truncated) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<UnixAddr>(
            socket.as_fd().as_raw_fd(),
            &mut slices,
            Some(&mut space),
            flags | MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        let mut descriptors = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                descriptors.extend(numbers.into_iter().map(own));
            }
        }
        let truncated = message
            .flags
            .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        (message.bytes, descriptors, truncated)
    };
    if truncated {
        return Err(Errno::EMSGSIZE);
    }
    if length == 0 {
        return Ok(None);
    }
    bytes.truncate(length);
    bytes.shrink_to_fit();
    Ok(Some(Packet { bytes, descriptors }))
}

#[allow(unsafe_code)]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: SCM_RIGHTS has just made this descriptor for us, and nobody else has seen its number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Makes room for one message of the largest size.
pub(super) fn widen(socket: &impl AsFd) {
    // What the system allows is enough for all but the largest messages.
    let _ = setsockopt(socket, sockopt::SndBufForce, &(2 * MAX_PACKET))
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &(2 * MAX_PACKET)));
}
