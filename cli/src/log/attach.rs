//! Follows the output of every container of a stack, those that are yet to come included.
//!
//!     StackStatus ─notice─► a reader for each new run ─► one channel ─► Message
//!
//! A run is read once: the task's id says whether it is a new one. A reader whose container still
//! runs when its stream ends (the node was restarted) is opened again where it ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::task::TaskState;
use scheduler::status::{ContainerStatus, StackStatus};
use tokio::sync::mpsc;

use super::{Follow, Line, Query, Reader};
use crate::connect::Client;

/// Lines that wait to be printed: a slow terminal slows the readers down, not the memory up.
const CHANNEL_LEN: usize = 256;

/// What a followed container has to say.
pub(crate) enum Message {
    Line {
        container: ContainerId,
        line: Line,
    },
    /// Its stream has ended.
    Ended {
        container: ContainerId,
    },
}

pub(crate) struct Attachments {
    client: Client,
    /// Output before this time is old.
    since: BTreeMap<ContainerId, Timestamp>,
    default_since: Option<Timestamp>,
    followed: BTreeMap<ContainerId, TaskId>,
    open: BTreeSet<ContainerId>,
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
}

impl Attachments {
    pub(crate) fn new(client: Client, default_since: Option<Timestamp>) -> Self {
        let (sender, receiver) = mpsc::channel(CHANNEL_LEN);
        Self {
            client,
            since: BTreeMap::new(),
            default_since,
            followed: BTreeMap::new(),
            open: BTreeSet::new(),
            sender,
            receiver,
        }
    }

    /// Lines up to this time have been printed already.
    pub(crate) fn printed_until(&mut self, container: ContainerId, at: Timestamp) {
        self.since.insert(container, at);
    }

    /// Follows the containers that have begun a new run, if they are wanted.
    pub(crate) fn notice(
        &mut self,
        stack: &StackStatus,
        wanted: impl Fn(&str, &ContainerStatus) -> bool,
    ) {
        for service in &stack.services {
            for container in &service.containers {
                let has_run =
                    container.state >= TaskState::Running && container.state != TaskState::Rejected;
                let is_new = self.followed.get(&container.id) != Some(&container.task);
                let is_cut = !container.state.is_terminal() && !self.open.contains(&container.id);
                if has_run && wanted(&service.name, container) && (is_new || is_cut) {
                    self.follow(container);
                }
            }
        }
    }

    /// The next thing that is said. Never ends: the caller knows when nothing is left to wait for.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.receiver.recv().await?;
        match &message {
            Message::Line { container, line } => {
                self.since.insert(container.clone(), line.at);
            }
            Message::Ended { container } => {
                self.open.remove(container);
            }
        }
        Some(message)
    }

    /// Everything that the container has said has been handed out.
    pub(crate) fn is_drained(&self, container: &ContainerId) -> bool {
        !self.open.contains(container)
    }

    fn follow(&mut self, container: &ContainerStatus) {
        // The reader of the run before is still at it; the next picture asks again.
        if !self.open.insert(container.id.clone()) {
            return;
        }
        self.followed
            .insert(container.id.clone(), container.task.clone());
        let last = self.since.get(&container.id).copied();
        let query = Query {
            since: last.or(self.default_since),
            follow: Follow::Yes,
            ..Query::default()
        };
        let (client, sender, id) = (
            self.client.clone(),
            self.sender.clone(),
            container.id.clone(),
        );
        tokio::spawn(async move {
            // A log that cannot be read must not end the command: the status still says what happens.
            if let Ok(mut reader) = Reader::open(&client, id.as_str(), &query).await {
                while let Ok(Some(line)) = reader.next().await {
                    let is_old = last.is_some_and(|last| line.at <= last);
                    let message = Message::Line {
                        container: id.clone(),
                        line,
                    };
                    if !is_old && sender.send(message).await.is_err() {
                        return;
                    }
                }
            }
            // The receiver is gone only when the command has ended.
            let _ = sender.send(Message::Ended { container: id }).await;
        });
    }
}
