//! Who may have an image and who may be given it: questions to managers. What a name means: theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::ready;
use futures::{StreamExt as _, stream};
use hyper::StatusCode;
use rand::seq::SliceRandom as _;
use scheduler::assignment::build::spec_of;
use scheduler::model::id::NodeId;
use scheduler::model::node::{NodeStatus, Role};
use scheduler::state::State;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{Named, Supply, SupplyError};
use crate::peer::{self, Caller, Handler, PeerAddress, Rank};

pub(super) const HOLDERS: &str = "/peer/images/holders";
pub(super) const ALLOWED: &str = "/peer/images/allowed";
pub(super) const NAMED: &str = "/peer/images/named";

/// So many are named at most: in a large cluster the hints are good, or it is nowhere.
const MOST_HOLDERS: usize = 64;
/// A manager that is behind hears of a task by then.
const CATCH_UP: Duration = Duration::from_secs(2);
/// What was allowed is not asked for again within this time.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// Whoever has not said what a name means by then is not waited for.
const NAME_LIMIT: Duration = Duration::from_secs(3);
/// So many are asked for a name at once.
const AT_A_TIME: usize = 64;

#[derive(Serialize, Deserialize)]
struct OfImage {
    /// The image's id.
    image: String,
}

/// That a node may be given an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Grant {
    node: NodeId,
    image: String,
}

#[derive(Serialize, Deserialize)]
struct OfName {
    name: String,
}

/// Who may have it, the likely ones first.
type Neighbours = Vec<(NodeId, SocketAddr)>;

/// Nodes whose containers run it, then managers, where images are brought in, then all others; each
/// kind in an order by chance, so that not everybody asks the same one.
fn neighbours(state: &State, image: &str, asker: &NodeId) -> Neighbours {
    let running: BTreeSet<&NodeId> = (state.tasks.values())
        .filter(|task| task.status.image_id.as_deref() == Some(image))
        .filter_map(|task| task.node.as_ref())
        .collect();
    let mut kinds: [Neighbours; 3] = Default::default();
    let others = state.nodes.values().filter(|node| node.id != *asker);
    for node in others.filter(|node| node.status == NodeStatus::Ready) {
        let kind = match (running.contains(&node.id), node.role) {
            (true, _) => 0,
            (false, Role::Manager) => 1,
            (false, Role::Worker) => 2,
        };
        if let (Some(kind), Some(address)) = (kinds.get_mut(kind), node.address) {
            kind.push((node.id.clone(), address));
        }
    }
    let mut rng = rand::rng();
    kinds.iter_mut().for_each(|kind| kind.shuffle(&mut rng));
    let mut all = kinds.concat();
    all.truncate(MOST_HOLDERS);
    all
}

/// Whether a node has something to run that needs this image.
fn may_have(state: &State, node: &NodeId, image: &str) -> bool {
    if (state.nodes.get(node)).is_some_and(|row| row.role == Role::Manager) {
        return true;
    }
    let tasks = state.node_tasks(node);
    tasks
        .filter(|task| !task.status.state.is_terminal())
        .filter_map(|task| spec_of(state, task))
        .any(|spec| (spec.container.pin.as_ref()).is_some_and(|pin| pin.id == image))
}

impl Supply {
    /// Who may have an image, as this manager, or another one, says.
    pub(super) async fn neighbours(&self, image: &str) -> Result<Vec<PeerAddress>, SupplyError> {
        let own = self.membership.node();
        let found = match self.states.get() {
            Some(states) => neighbours(&states.borrow(), image, own),
            None => self.ask_who(image).await?,
        };
        let found = found.into_iter();
        Ok(found
            .map(|(node, address)| PeerAddress { node, address })
            .collect())
    }

    async fn ask_who(&self, image: &str) -> Result<Neighbours, SupplyError> {
        let question = OfImage {
            image: image.to_owned(),
        };
        let answer = self.ask_managers(HOLDERS, &question).await;
        answer.map_err(|reason| SupplyError::NoManager {
            image: image.to_owned(),
            reason,
        })
    }

    /// Whether a node may be given an image. Nobody is, while no manager answers.
    pub(super) async fn allows(&self, caller: &Caller, image: &str) -> bool {
        if caller.rank == Rank::Manager {
            return true;
        }
        if let Some(states) = self.states.get() {
            return allowed_soon(states.clone(), &caller.node, image).await;
        }
        let grant = Grant {
            node: caller.node.clone(),
            image: image.to_owned(),
        };
        if self.is_known(&grant) {
            return true;
        }
        let allowed = self.ask_managers(ALLOWED, &grant).await;
        let allowed = allowed.unwrap_or(false);
        if allowed {
            self.grants().insert(grant, Instant::now());
        }
        allowed
    }

    fn is_known(&self, grant: &Grant) -> bool {
        let mut grants = self.grants();
        grants.retain(|_, since| since.elapsed() < ALLOWED_FOR);
        grants.contains_key(grant)
    }

    fn grants(&self) -> MutexGuard<'_, BTreeMap<Grant, Instant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a name means on the other managers: what was brought in last.
    pub async fn named_by_managers(&self, name: &str) -> Option<Named> {
        let managers = match self.states.get() {
            Some(states) => self.others(&states.borrow(), Role::Manager),
            None => self.membership.managers(),
        };
        Some(self.named_by(managers, name).await?.0)
    }

    /// The same on the workers, and which one says so.
    pub async fn named_by_workers(&self, name: &str) -> Option<(Named, NodeId)> {
        let states = self.states.get()?;
        let workers = self.others(&states.borrow(), Role::Worker);
        self.named_by(workers, name).await
    }

    /// What was brought in last, of what is said in time.
    async fn named_by(&self, nodes: Vec<PeerAddress>, name: &str) -> Option<(Named, NodeId)> {
        let question = OfName {
            name: name.to_owned(),
        };
        let ask = |node: PeerAddress| {
            let question = &question;
            async move {
                let answer =
                    (self.membership.peers()).call::<Option<Named>>(&node, NAMED, question);
                Some((answer.await.ok()??, node.node))
            }
        };
        let answers = stream::iter(nodes).map(ask).buffer_unordered(AT_A_TIME);
        let answers = answers.take_until(sleep(NAME_LIMIT));
        last_named(answers.filter_map(ready).collect().await)
    }

    /// Nodes with this role that are ready, without this one.
    fn others(&self, state: &State, role: Role) -> Vec<PeerAddress> {
        let others = state.nodes.values().filter(|node| {
            node.role == role
                && node.status == NodeStatus::Ready
                && node.id != *self.membership.node()
        });
        others
            .filter_map(|node| {
                Some(PeerAddress {
                    node: node.id.clone(),
                    address: node.address?,
                })
            })
            .collect()
    }

    /// The answer of the first manager that gives one, or why the last one gave none.
    async fn ask_managers<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, String> {
        let mut managers = self.membership.managers();
        managers.shuffle(&mut rand::rng());
        let mut reason = "none is known".to_owned();
        for manager in &managers {
            match self.membership.peers().call(manager, path, question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }
}

/// What was brought in last. Of what came in the same second, the same is chosen whoever asks.
fn last_named(answers: Vec<(Named, NodeId)>) -> Option<(Named, NodeId)> {
    answers
        .into_iter()
        .max_by(|(one, first), (other, second)| (one.updated, second).cmp(&(other.updated, first)))
}

/// Waits a moment for a manager that is behind.
async fn allowed_soon(
    mut states: tokio::sync::watch::Receiver<Arc<State>>,
    node: &NodeId,
    image: &str,
) -> bool {
    let heard = states.wait_for(|state| may_have(state, node, image));
    matches!(timeout(CATCH_UP, heard).await, Ok(Ok(_)))
}

pub(super) fn holders_handler(supply: &Arc<Supply>) -> Handler {
    let supply = supply.clone();
    Arc::new(move |caller, request| {
        let supply = supply.clone();
        Box::pin(async move {
            let Some(states) = supply.states.get() else {
                return no_manager();
            };
            match peer::read_json::<OfImage>(request.into_body()).await {
                Ok(asked) => {
                    let state = states.borrow().clone();
                    peer::answer(&neighbours(&state, &asked.image, &caller.node))
                }
                Err(why) => peer::refuse(StatusCode::BAD_REQUEST, why),
            }
        })
    })
}

pub(super) fn allowed_handler(supply: &Arc<Supply>) -> Handler {
    let supply = supply.clone();
    Arc::new(move |_caller, request| {
        let supply = supply.clone();
        Box::pin(async move {
            let Some(states) = supply.states.get() else {
                return no_manager();
            };
            match peer::read_json::<Grant>(request.into_body()).await {
                Ok(asked) => {
                    let states = states.clone();
                    peer::answer(&allowed_soon(states, &asked.node, &asked.image).await)
                }
                Err(why) => peer::refuse(StatusCode::BAD_REQUEST, why),
            }
        })
    })
}

pub(super) fn named_handler(supply: &Arc<Supply>) -> Handler {
    let supply = supply.clone();
    Arc::new(move |_caller, request| {
        let supply = supply.clone();
        Box::pin(async move {
            match peer::read_json::<OfName>(request.into_body()).await {
                Ok(asked) => peer::answer(&supply.named_here(&asked.name)),
                Err(why) => peer::refuse(StatusCode::BAD_REQUEST, why),
            }
        })
    })
}

fn no_manager() -> hyper::Response<axum::body::Body> {
    peer::refuse(StatusCode::NOT_FOUND, "this node is not a manager")
}

#[cfg(test)]
mod tests;
