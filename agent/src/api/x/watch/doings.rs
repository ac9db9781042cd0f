//! What a node is doing for a stack at this moment: only the node itself knows it.
//!
//!     own node ────────────────────────────────────────────┐
//!     other nodes ══ `GET /x/host/stacks/{name}` ══► [`Others`] ─► one picture of the stack

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeStatus;
use scheduler::state::State;
use scheduler::status::{PullStatus, ServicePhase, StackStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::api::relay::{self, Inquiry, Said};
use crate::api::{Context, reply};
use crate::host::Subject;

/// How often it is looked whether there is something to tell.
const INTERVAL: Duration = Duration::from_millis(100);

/// See the module; the fields are those of [`StackStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Doings {
    pulls: Vec<PullStatus>,
    leaving_networks: Vec<String>,
    troubles: Vec<String>,
}

impl Doings {
    /// What this node does.
    pub(super) async fn here(context: &Context, state: &State, stack: &str) -> Self {
        Self {
            pulls: context.fetcher.status().await,
            leaving_networks: context
                .networks
                .others(|id| state.networks.contains_key(id)),
            troubles: troubles(context, state, stack),
        }
    }

    /// Adds it to what others do.
    pub(super) fn add_to(self, picture: &mut StackStatus) {
        for pull in self.pulls {
            let same = picture.pulls.iter_mut().find(|it| it.image == pull.image);
            match same {
                // Several nodes fetch it: together they have so much of so much.
                Some(same) => {
                    same.current += pull.current;
                    same.total += pull.total;
                    same.layers.extend(pull.layers);
                }
                None => picture.pulls.push(pull),
            }
        }
        picture.leaving_networks.extend(self.leaving_networks);
        picture.leaving_networks.sort();
        picture.leaving_networks.dedup();
        picture.troubles.extend(self.troubles);
    }
}

/// What a node cannot do for the stack, and for networks that nobody has any more.
fn troubles(context: &Context, state: &State, stack: &str) -> Vec<String> {
    let of = |subject: &Subject| match subject {
        Subject::Container(id) => {
            let task = state.container(id)?;
            let service = state.services.get(&task.service)?;
            let is_ours = service.stack.as_deref() == Some(stack);
            is_ours.then(|| format!("container {}", task.name))
        }
        Subject::Volume(name) => {
            let volume = state.volumes.get(name)?;
            let is_ours = volume.stack.as_deref() == Some(stack);
            is_ours.then(|| format!("volume {name}"))
        }
        Subject::Network(id) => match state.networks.get(id) {
            Some(network) if network.stack.as_deref() != Some(stack) => None,
            Some(network) => Some(format!("network {}", network.spec.name)),
            None => Some("a network that is removed".to_owned()),
        },
    };
    let told = context.troubles.borrow();
    let told = told
        .iter()
        .filter_map(|(subject, error)| Some((of(subject)?, error)));
    told.map(|(subject, error)| format!("{subject}: {error}"))
        .collect()
}

/// What the other nodes with containers of a stack do for it; heard until it is dropped.
pub(super) struct Others {
    told: mpsc::Receiver<(NodeId, Said)>,
    doings: BTreeMap<NodeId, Doings>,
    /// Those that did not answer when they were asked last.
    silent: BTreeSet<NodeId>,
}

impl Others {
    pub(super) fn of(context: &Arc<Context>, stack: &str) -> Self {
        let inquiry = Inquiry {
            path: format!("/x/host/stacks/{stack}"),
            concerns: |state, stack| {
                let services = state.stack_services(stack);
                let tasks = services.flat_map(|it| state.service_tasks(&it.id));
                tasks.filter_map(|task| task.node.clone()).collect()
            },
            subject: stack.to_owned(),
        };
        Self {
            told: relay::listen(context, inquiry),
            doings: BTreeMap::new(),
            silent: BTreeSet::new(),
        }
    }

    /// Returns when one of them does something else.
    pub(super) async fn changed(&mut self) {
        match self.told.recv().await {
            Some((node, Said::First(line) | Said::Next(line))) => {
                let doings = serde_json::from_str(&line);
                let doings = doings.inspect_err(|error| {
                    tracing::debug!(%node, %error, "what a node does cannot be read");
                });
                self.silent.remove(&node);
                self.doings.insert(node, doings.unwrap_or_default());
            }
            Some((node, Said::Ended)) => {
                self.doings.remove(&node);
                self.silent.insert(node);
            }
            None => std::future::pending().await,
        }
    }

    /// Adds what they do; each trouble with the name of its node.
    pub(super) fn add_to(&self, state: &State, picture: &mut StackStatus) {
        for (node, doings) in &self.doings {
            let mut doings = doings.clone();
            let hostname = state.nodes.get(node).map(|it| &it.description.hostname);
            let hostname = hostname.map_or(node.as_str(), String::as_str);
            for trouble in &mut doings.troubles {
                *trouble = format!("node {hostname}: {trouble}");
            }
            doings.add_to(picture);
        }
    }
}

impl Others {
    /// Says of containers that are not as they are wanted that their nodes do not answer: it takes
    /// seconds until such a node counts as down, and until then nothing else happens.
    pub(super) fn say_who_is_silent(
        &self,
        state: &State,
        suspects: &BTreeSet<NodeId>,
        picture: &mut StackStatus,
    ) {
        let silent = self.silent.union(suspects);
        let rows = silent.filter_map(|node| state.nodes.get(node));
        let rows = rows.filter(|row| row.status == NodeStatus::Ready);
        let names: BTreeSet<&str> = rows.map(|row| row.description.hostname.as_str()).collect();
        let services = picture.services.iter_mut();
        let unsettled = services.filter(|it| it.phase != ServicePhase::Settled);
        for container in unsettled.flat_map(|it| &mut it.containers) {
            let node = container.node.as_deref();
            if let Some(node) = node.filter(|node| names.contains(node))
                && !container.state.is_terminal()
            {
                container.awaits = Some(format!("for node {node}, which does not answer"));
            }
        }
    }
}

/// `GET /x/host/stacks/{name}`: for managers, what this node does for a stack, now and whenever
/// that has changed, a line each.
pub(in crate::api::x) fn host(context: Arc<Context>, stack: &str) -> Response<Body> {
    let (sender, response) = reply::stream("application/x-ndjson");
    let stack = stack.to_owned();
    tokio::spawn(async move {
        let mut told = None;
        let mut times = interval(INTERVAL);
        loop {
            tokio::select! {
                _ = times.tick() => {}
                () = sender.closed() => return,
            }
            let state = context.state();
            let doings = Doings::here(&context, &state, &stack).await;
            if told.as_ref() == Some(&doings) {
                continue;
            }
            if sender.send(reply::line(&doings)).await.is_err() {
                return;
            }
            told = Some(doings);
        }
    });
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use scheduler::state::{Batch, Change};
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let row = |id: &str, status: &str| {
            let row = json!({
                "id": id, "role": "worker", "status": status, "labels": {},
                "availability": "active", "description": { "hostname": format!("host-{id}") },
            });
            Change::SetNode(Arc::new(serde_json::from_value(row).unwrap()))
        };
        let mut state = State::default();
        let batch = Batch {
            changes: vec![row("a", "ready"), row("b", "ready"), row("c", "down")],
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
        state
    }

    /// What a container on a host is said to wait for, when `a` broke off, `b` is suspected, and `c`
    /// is down.
    #[track_caller]
    fn check(host: &str, task: &str, phase: &str, expected: Option<&str>) {
        let mut picture: StackStatus = serde_json::from_value(json!({"services": [{
            "name": "web", "image": "i", "wanted": 1, "phase": phase, "reason": "",
            "depends_on": [], "has_healthcheck": false, "attach": true, "containers": [{
                "id": "1", "task": "1", "name": "shop-web-1", "slot": 1, "node": host,
                "state": task, "desired": "running", "at": 0, "reason": "", "exit_code": null,
                "health": null, "current": true, "one_off": false, "restarts": 0,
            }],
        }]}))
        .unwrap();
        let others = Others {
            told: mpsc::channel(1).1,
            doings: BTreeMap::new(),
            silent: ["a", "c"].map(NodeId::new).into(),
        };
        let suspects = BTreeSet::from([NodeId::new("b")]);
        others.say_who_is_silent(&state(), &suspects, &mut picture);
        let awaits = picture.services[0].containers[0].awaits.as_deref();
        assert_eq!(awaits, expected);
    }

    #[test]
    fn a_container_that_is_not_as_it_is_wanted_waits_for_its_node_to_answer() {
        let silent = |host: &str| format!("for node {host}, which does not answer");
        check("host-a", "assigned", "progressing", Some(&silent("host-a")));
        check("host-b", "running", "progressing", Some(&silent("host-b")));
        check("host-a", "running", "settled", None);
        check("host-a", "failed", "progressing", None);
        // The state says so itself.
        check("host-c", "running", "progressing", None);
        check("host-d", "assigned", "progressing", None);
    }
}
