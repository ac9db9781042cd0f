//! Messages to the other members of the group: one bounded queue for each, and never any waiting.
//!
//!     loop ─► Send ─► [ queue of member 7 ] ─► link to 7 ─► wire
//!       ▲                 full: dropped           │
//!       └──────── unreachable, state arrived ─────┘
//!
//! The group lives with lost messages, but not with a loop that waits: what does not fit is dropped,
//! and the group is told that the member cannot be reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::control_plane::Input;
use scheduler::raft::{Delivery, Message, wire};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A few rounds of replication: what waits longer than this is out of date.
const QUEUE: usize = 256;

/// Takes messages to members of the group, by number.
pub trait Links: Send + Sync + 'static {
    /// Begins to carry what comes out of the queue to the member, until the queue ends. It must
    /// not block, reports through `notices` what does not arrive, and what becomes of each state.
    fn open(&self, member: u64, queue: mpsc::Receiver<Message>, notices: Notices);
}

/// The way back to the group. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notices {
    member: u64,
    sender: mpsc::UnboundedSender<Input>,
}

impl Notices {
    /// Messages to the member are lost.
    pub fn unreachable(&self) {
        // A manager that has stopped need not know.
        let _ = self.sender.send(Input::Unreachable {
            member: self.member,
        });
    }

    /// What has become of a message that [carries the state](wire::carries_state).
    pub fn state_sent(&self, delivery: Delivery) {
        let _ = self.sender.send(Input::StateSent {
            member: self.member,
            delivery,
        });
    }

    /// The message is lost.
    pub fn lost(&self, message: &Message) {
        if wire::carries_state(message) {
            self.state_sent(Delivery::Failed);
        }
        self.unreachable();
    }
}

/// The queues, opened as members are first written to.
pub(super) struct Outbox {
    links: Option<Arc<dyn Links>>,
    queues: BTreeMap<u64, mpsc::Sender<Message>>,
    notices: mpsc::UnboundedSender<Input>,
}

impl Outbox {
    /// Also returns what the links report, to be given to the control plane.
    pub(super) fn new(links: Option<Arc<dyn Links>>) -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (notices, reported) = mpsc::unbounded_channel();
        let outbox = Self {
            links,
            queues: BTreeMap::new(),
            notices,
        };
        (outbox, reported)
    }

    pub(super) fn send(&mut self, message: Message) {
        let member = message.to;
        let notices = Notices {
            member,
            sender: self.notices.clone(),
        };
        let Some(links) = &self.links else {
            return notices.lost(&message);
        };
        let queue = self.queues.entry(member).or_insert_with(|| {
            let (queue, messages) = mpsc::channel(QUEUE);
            links.open(member, messages, notices.clone());
            queue
        });
        match queue.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => notices.lost(&message),
            Err(TrySendError::Closed(message)) => {
                // The next message opens another link.
                self.queues.remove(&member);
                notices.lost(&message);
            }
        }
    }

    /// Closes the links to those who take no part any more.
    pub(super) fn retain(&mut self, is_member: impl Fn(u64) -> bool) {
        self.queues.retain(|member, _| is_member(*member));
    }
}

#[cfg(test)]
mod tests;
