//! A host without a kernel: operations succeed at once, unless a test says otherwise.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use scheduler::assignment::Assignment;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use tokio::sync::mpsc;

use super::{Done, Host, HostEvent, Observed, Op, OpError};
use crate::container::Exit;

pub struct SimulatedHost {
    found: Observed,
    script: Mutex<Script>,
    events: mpsc::Sender<HostEvent>,
}

#[derive(Default)]
struct Script {
    /// By image: why a container cannot be prepared.
    missing_images: BTreeMap<String, String>,
    /// Images that are being fetched for ever.
    endless_images: Vec<String>,
    /// By name: how often an operation fails before it succeeds.
    failing: BTreeMap<&'static str, u32>,
    done: Vec<String>,
}

impl SimulatedHost {
    pub fn new(found: Observed) -> (Self, mpsc::Receiver<HostEvent>) {
        let (events, receiver) = mpsc::channel(64);
        (
            Self {
                found,
                script: Mutex::default(),
                events,
            },
            receiver,
        )
    }

    pub fn refuse_image(&self, image: &str, reason: &str) {
        self.script()
            .missing_images
            .insert(image.to_owned(), reason.to_owned());
    }

    pub fn never_finish_image(&self, image: &str) {
        self.script().endless_images.push(image.to_owned());
    }

    /// So often the operation of this name fails.
    pub fn fail(&self, operation: &'static str, times: u32) {
        self.script().failing.insert(operation, times);
    }

    /// What has been done so far, a word each.
    pub fn log(&self) -> Vec<String> {
        self.script().done.clone()
    }

    /// A container's process ends by itself.
    pub async fn crash(&self, container: &str, task: &str, finished_at: Timestamp) {
        let event = HostEvent::Ended {
            container: ContainerId::new(container),
            task: TaskId::new(task),
            exit: Exit {
                code: 1,
                oom_killed: false,
                started_at: Some(finished_at),
                finished_at,
                error: None,
            },
        };
        let _ = self.events.send(event).await;
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for SimulatedHost {
    async fn observe(&self) -> Result<Observed, OpError> {
        Ok(self.found.clone())
    }

    async fn execute(&self, op: &Op) -> Result<Done, OpError> {
        if let Some(left) = self.script().failing.get_mut(op.name())
            && *left > 0
        {
            *left -= 1;
            return Err(OpError {
                reason: "it is a bad day".to_owned(),
                exit_code: None,
            });
        }
        let done = match op {
            Op::Prepare(run) => {
                let image = &run.task.spec.image;
                if let Some(reason) = self.script().missing_images.get(image) {
                    return Err(OpError {
                        reason: reason.clone(),
                        exit_code: None,
                    });
                }
                let endless = self.script().endless_images.contains(image);
                if endless {
                    std::future::pending::<()>().await;
                }
                Done::Prepared {
                    image_id: format!("sha256:{image}"),
                }
            }
            Op::Start(_) | Op::Adopt(_) => Done::Started {
                pid: 1,
                started_at: Timestamp::EPOCH,
                ports: BTreeMap::new(),
                health: None,
                hooks: super::Hooks::Idle,
            },
            Op::Signal { container, .. } | Op::Kill(container) => {
                let exit = Exit {
                    code: 143,
                    oom_killed: false,
                    started_at: Some(Timestamp::EPOCH),
                    finished_at: Timestamp::EPOCH,
                    error: None,
                };
                // The simulated process runs under the task whose number is in its container's name.
                let task = TaskId::new(format!("{container}:1"));
                let event = HostEvent::Ended {
                    container: container.clone(),
                    task,
                    exit,
                };
                let _ = self.events.send(event).await;
                Done::Plainly
            }
            _ => Done::Plainly,
        };
        self.script()
            .done
            .push(format!("{:?}", op.subject()) + " " + op.name());
        Ok(done)
    }

    async fn announce(&self, _assignment: &Assignment) {}
}
