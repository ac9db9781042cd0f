//! Who decides on this node: its own manager, or, on a worker, one that only shows what it was told.
//!
//!     told, remembered ─► [`Decider::open`] ─► handle for the API
//!                                          └─► leader's end of the sessions, on a manager
//!
//! What other nodes may ask for is served from here on.

use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::control_plane::Command;
use scheduler::model::node::{Availability, Node, NodeStatus, Role};
use tokio::sync::watch;

use super::{Config, RunError};
use crate::api::relay::{self, Door};
use crate::clock::wall_time;
use crate::cluster::transition::{self, Transition};
use crate::cluster::{self, MemberLinks, Membership};
use crate::manager::worker::{self, Statuses};
use crate::manager::{self, Manager, ManagerHandle, forward};
use crate::peer::{Admission, RoleNeeded, Router};
use crate::session::{self, Leader};
use crate::supply::Supply;

/// What this start goes on from.
pub(super) struct Told {
    pub(super) cleared: Option<Transition>,
    /// What this node was told last, in this run or an earlier one, and what has become of it.
    pub(super) known: watch::Receiver<Arc<Assignment>>,
    pub(super) seen: watch::Receiver<Statuses>,
}

/// See the module.
pub(super) struct Decider {
    pub(super) handle: ManagerHandle,
    /// `None` on a worker.
    pub(super) leader: Option<Leader>,
}

impl Decider {
    /// Requests that managers carry here come in by the door.
    ///
    /// # Errors
    ///
    /// Returns [`RunError`] when the log or the port cannot be used.
    pub(super) async fn open(
        config: &Config,
        membership: &Arc<Membership>,
        told: Told,
        (door, supply): (&Door, &Arc<Supply>),
    ) -> Result<Self, RunError> {
        let known = told.known.clone();
        let remembered = known.borrow().number();
        let router = Router::new().route(relay::PREFIX, RoleNeeded::Manager, door.handler());
        let router = supply.blob_routes(router);
        let router = cluster::visitor_routes(router, membership);
        let decider = match membership.role() {
            Some(Role::Worker) => Self::worker(config, membership, told, router).await?,
            Some(Role::Manager) | None => {
                Self::manager(config, membership, told.cleared, (router, supply)).await?
            }
        };
        let own = decider.leader.as_ref().map(|_| decider.handle.clone());
        tokio::spawn(cluster::follow(membership.clone(), own, known, remembered));
        tokio::spawn(cluster::watch(membership.clone()));
        Ok(decider)
    }

    async fn worker(
        config: &Config,
        membership: &Arc<Membership>,
        told: Told,
        router: Router,
    ) -> Result<Self, RunError> {
        let Told { known, seen, .. } = told;
        let handle = worker::start(own_row(config, membership), known.clone(), seen);
        membership.serve(Admission::Worker(known), router).await?;
        Ok(Self {
            handle,
            leader: None,
        })
    }

    async fn manager(
        config: &Config,
        membership: &Arc<Membership>,
        cleared: Option<Transition>,
        (router, supply): (Router, &Arc<Supply>),
    ) -> Result<Self, RunError> {
        let node = membership.node();
        let manager = start_manager(config, membership, cleared).await?;
        let handle = manager.forwarding(
            node.clone(),
            membership.peers().clone(),
            membership.whereabouts().clone(),
        );
        register(config, membership, &handle).await?;
        let leader = Leader::new(handle.clone(), membership.whereabouts().clone());
        tokio::spawn(cluster::visit(membership.clone(), handle.clone()));
        let router = cluster::routes(router, &handle);
        let router = supply.manager_routes(router, handle.states());
        let router = cluster::raft_routes(router, node, &handle)
            .route(session::PATH, RoleNeeded::Member, leader.handler())
            .route(
                forward::PATH,
                RoleNeeded::Manager,
                forward::handler(handle.clone()),
            );
        let admission = Admission::Manager {
            states: handle.states(),
            standing: handle.standing(),
        };
        membership.serve(admission, router).await?;
        Ok(Self {
            handle,
            leader: Some(leader),
        })
    }
}

/// As far as a worker knows itself.
fn own_row(config: &Config, membership: &Membership) -> Node {
    let identity = membership.identities().borrow().clone();
    Node {
        id: membership.node().clone(),
        description: config.description(),
        labels: Default::default(),
        availability: Availability::Active,
        role: Role::Worker,
        status: NodeStatus::Ready,
        status_reason: String::new(),
        status_since: wall_time(),
        address: membership.address(),
        public_key: identity
            .map(|it| it.facts.public_key.clone())
            .unwrap_or_default(),
        down_after_millis: None,
        cut_off: Default::default(),
    }
}

async fn start_manager(
    config: &Config,
    membership: &Arc<Membership>,
    cleared: Option<Transition>,
) -> Result<ManagerHandle, RunError> {
    let (links, tell_state) = MemberLinks::new(membership.clone());
    let start = match membership.has_joined() {
        true => manager::Start::Join,
        false => manager::Start::Found,
    };
    let manager = manager::Config {
        dir: config.data_root.join("manager"),
        node: membership.node().clone(),
        key: membership.key().clone(),
        start,
        links: Some(links),
    };
    if cleared == Some(Transition::Recovered) {
        Manager::recover(&manager).await?;
        transition::done(&config.data_root)?;
    }
    let manager = Manager::start(manager)?;
    tell_state.send_replace(Some(manager.states()));
    Ok(manager)
}

/// Says who this node is. In a cluster there may be nobody to say it to yet.
async fn register(
    config: &Config,
    membership: &Arc<Membership>,
    manager: &ManagerHandle,
) -> Result<(), RunError> {
    if membership.role().is_none() {
        let register = Command::RegisterNode {
            node: membership.node().clone(),
            description: config.description(),
        };
        let registered = manager.command(register).await;
        return registered.map(drop).map_err(RunError::Register);
    }
    let (membership, manager) = (membership.clone(), manager.clone());
    tokio::spawn(async move { cluster::introduce(membership, manager).await });
    Ok(())
}
