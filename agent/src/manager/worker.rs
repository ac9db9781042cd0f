//! What stands in for a manager on a node that is none: it shows what concerns this node, and
//! refuses to decide.
//!
//!     assignment, statuses ─► [`view`] ─► state ─► API
//!     command ─► refused, with the names of the managers
//!
//! A worker knows no more of the cluster than what it runs, and its API shows no more.

mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::assignment::build::Announced;
use scheduler::control_plane::Refusal;
use scheduler::model::id::TaskId;
use scheduler::model::node::Node;
use scheduler::model::task::TaskStatus;
use scheduler::state::State;
use tokio::sync::{mpsc, watch};

use super::{ManagerHandle, QUEUE, Request};

/// What the node last saw of its tasks.
pub type Statuses = Arc<BTreeMap<TaskId, TaskStatus>>;

/// Starts one. `node` is this node's own row, as far as it knows.
///
/// Must be called within a tokio runtime.
pub fn start(
    node: Node,
    mut assignments: watch::Receiver<Arc<Assignment>>,
    mut statuses: watch::Receiver<Statuses>,
) -> ManagerHandle {
    let (requests, mut queue) = mpsc::channel(QUEUE);
    let first = assignments.borrow_and_update().clone();
    let (publish, state) = watch::channel(Arc::new(State::default()));
    let (_, nobodys) = watch::channel(Announced::default());
    let (_, standing) = watch::channel(Arc::default());
    let assignment = assignments.clone();
    tokio::spawn(async move {
        let mut shown = view::State::new(node);
        publish.send_replace(Arc::new(
            shown.of(&first, &statuses.borrow_and_update().clone()),
        ));
        loop {
            tokio::select! {
                request = queue.recv() => match request {
                    Some(request) => refuse(request, &assignments.borrow()),
                    None => return,
                },
                Ok(()) = assignments.changed() => {}
                Ok(()) = statuses.changed() => {}
            }
            let told = assignments.borrow_and_update().clone();
            let seen = statuses.borrow_and_update().clone();
            if shown.is_outdated(&told, &seen) {
                publish.send_replace(Arc::new(shown.of(&told, &seen)));
            }
        }
    });
    ManagerHandle {
        requests,
        state,
        announced: nobodys,
        assignment,
        standing,
        forward: None,
    }
}

fn refuse(request: Request, assignment: &Assignment) {
    match request {
        Request::Command { reply, .. } => {
            let managers = assignment.managers.iter();
            let managers = managers.map(|(_, address)| address.ip().to_string());
            // Whoever asked may have left.
            let _ = reply.send(Err(Refusal::NotAManager {
                managers: managers.collect(),
            }));
        }
        // Everything that a worker shows is as new as it can be.
        Request::Read { reply } => drop(reply.send(Ok(()))),
        // Said to the manager that leads, in a session.
        Request::Plain(_) => {}
    }
}
