//! `POST /containers/{id}/wait`: how a container ended, told when it has.
//!
//! The headers leave at once: the docker CLI starts the container only after it has seen them.

use std::sync::Arc;

use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::task::Task;
use scheduler::state::State;
use serde_json::json;

use super::lookup;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::bad;
use crate::api::reply::{self, Answer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    NotRunning,
    NextExit,
    Removed,
}

/// `POST /containers/{id}/wait?condition=`
pub(in crate::api) fn wait(context: Arc<Context>, call: &Call, id: &str) -> Answer {
    let condition = match call.params.get("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => return Err(bad(format!("invalid condition: \"{other}\""))),
    };
    // Subscribed before the headers leave: what happens after them is not missed.
    let mut states = context.watch();
    let state = states.borrow_and_update().clone();
    let found = lookup::container(&state, id)?;
    let mut watcher = Watcher::new(&state, &found.id, condition);
    let (sender, response) = reply::stream("application/json");
    tokio::spawn(async move {
        loop {
            let state = states.borrow_and_update().clone();
            if let Some(code) = watcher.look(&state) {
                let body = json!({ "StatusCode": code, "Error": null });
                let _ = sender.send(reply::line(&body)).await;
                return;
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    Ok(response)
}

/// Looks at one state after the other until the condition holds.
struct Watcher {
    container: ContainerId,
    condition: Condition,
    /// The last run that had ended when the wait began: the next exit is a later one.
    ended_before: Option<TaskId>,
    code: i32,
}

impl Watcher {
    fn new(state: &State, container: &ContainerId, condition: Condition) -> Self {
        let ended = |task: &&Arc<Task>| task.status.state.is_terminal();
        let last = state.container_tasks(container).rfind(ended);
        Self {
            container: container.clone(),
            condition,
            ended_before: last.map(|task| task.id.clone()),
            code: last.map_or(0, |task| code(task)),
        }
    }

    /// The exit code, once the condition holds.
    fn look(&mut self, state: &State) -> Option<i32> {
        let mut ended_since = false;
        for task in state.container_tasks(&self.container) {
            if task.status.state.is_terminal() {
                self.code = code(task);
                ended_since |= self
                    .ended_before
                    .as_ref()
                    .is_none_or(|before| task.id > *before);
            }
        }
        let last = state.container(&self.container);
        let holds = match self.condition {
            Condition::NotRunning => last.is_none_or(|task| {
                // A container that was only made, or has not come back yet, does not run.
                task.status.started_at.is_none() || task.status.state.is_terminal()
            }),
            Condition::NextExit => ended_since || last.is_none(),
            Condition::Removed => last.is_none(),
        };
        holds.then_some(self.code)
    }
}

/// What Docker reports: 125 to 127 for what could not be started are on the task already.
fn code(task: &Task) -> i32 {
    task.status
        .exit_code
        .unwrap_or(if task.status.started_at.is_some() {
            0
        } else {
            125
        })
}

#[cfg(test)]
mod tests;
