//! Deletes interfaces, many at a time, where waiting does no harm.
//!
//! The kernel takes some 40 ms to delete an interface: it waits until no processor can still see
//! it. It waits as long for a thousand, if they are deleted with one request. So what is to go is
//! put into a group of its own (`IFLA_GROUP`) and the group is deleted. The waiting is done on a
//! thread of its own, as the kernel does it inside the system call.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use tokio::sync::{mpsc, oneshot};

// As many as may wait at once before callers wait for a place; they are deleted together.
const QUEUE_LEN: usize = 1024;

struct Deletion {
    name: String,
    done: oneshot::Sender<io::Result<()>>,
}

/// The way to the task that deletes.
pub(super) struct Sweeper(mpsc::Sender<Deletion>);

impl Sweeper {
    /// Starts the task; it ends when this is dropped.
    pub(super) fn start() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(sweep(receiver));
        Self(sender)
    }

    /// Returns when there is no such interface any more.
    pub(super) async fn delete(&self, name: &str) -> io::Result<()> {
        let (done, deleted) = oneshot::channel();
        let ended = || io::Error::other("the task that deletes interfaces has ended");
        let deletion = Deletion {
            name: name.to_owned(),
            done,
        };
        self.0.send(deletion).await.map_err(|_| ended())?;
        deleted.await.unwrap_or_else(|_| Err(ended()))
    }
}

async fn sweep(mut queue: mpsc::Receiver<Deletion>) {
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        let names: Vec<String> = batch.iter().map(|deletion| deletion.name.clone()).collect();
        let group = rand::random::<u32>() | 1 << 30;
        let result = tokio::task::spawn_blocking(move || delete_all(&names, group)).await;
        let result = result.unwrap_or_else(|error| Err(io::Error::other(error)));
        for deletion in batch {
            // An error is of the whole batch; copies keep its number.
            let copy = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(match error.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => io::Error::other(error.to_string()),
                }),
            };
            let _ = deletion.done.send(copy);
        }
    }
}

/// `group` must not be 0, in which every interface is born.
fn delete_all(names: &[String], group: u32) -> io::Result<()> {
    let socket = route_socket()?;
    if let [name] = names {
        return delete(&socket, LinkAttribute::IfName(name.clone()));
    }
    for name in names {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.clone()));
        link.attributes.push(LinkAttribute::Group(group));
        unless_gone(request(&socket, RouteNetlinkMessage::SetLink(link), 0))?;
    }
    delete(&socket, LinkAttribute::Group(group))
}

fn delete(socket: &OwnedFd, which: LinkAttribute) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.attributes.push(which);
    unless_gone(request(socket, RouteNetlinkMessage::DelLink(link), 0))
}

/// Interfaces go by themselves too, with the namespace of their other end.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// A socket in the network namespace of the calling thread.
pub(super) fn route_socket() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    // The kernel answers inside the call that asks; this only bounds the wait if it should not.
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
    Ok(socket)
}

/// Sends one request and waits for the kernel's word on it.
pub(super) fn request(
    socket: &OwnedFd,
    message: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    send(socket.as_raw_fd(), &buffer, MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer)
        .map_err(io::Error::other)?
        .payload
    {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Error(_) => Ok(()),
        _ => Err(io::Error::other("the kernel answered something else")),
    }
}
