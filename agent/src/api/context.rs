//! What every handler may use: the manager, the drivers of this host, and what outlives a request.

use std::path::PathBuf;
use std::sync::Arc;

use scheduler::control_plane::{Answer, Command};
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeDescription;
use scheduler::state::State;
use tokio::sync::watch;

use super::docker::exec::Execs;
use super::error::EngineError;
use super::fresh::Vain;
use crate::cluster::Membership;
use crate::container::Containers;
use crate::events::Events;
use crate::fetch::Fetcher;
use crate::image::Images;
use crate::manager::ManagerHandle;
use crate::network::Networks;
use crate::node::Troubles;
use crate::volume::Volumes;

/// What the node gives to its API.
pub struct Parts {
    pub node: NodeId,
    pub description: NodeDescription,
    /// The data root, for `info`.
    pub root: PathBuf,
    pub manager: ManagerHandle,
    pub membership: Arc<Membership>,
    pub containers: Arc<Containers>,
    pub images: Arc<Images>,
    pub fetcher: Arc<Fetcher>,
    pub volumes: Arc<Volumes>,
    pub networks: Arc<Networks>,
    /// What the node cannot do at this moment.
    pub troubles: watch::Receiver<Troubles>,
}

/// [`Parts`], and what the API itself keeps.
pub struct Context {
    parts: Parts,
    pub(crate) events: Arc<Events>,
    pub(crate) execs: Execs,
    pub(super) vain: Vain,
}

impl std::ops::Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Context {
    pub fn new(parts: Parts) -> Self {
        Self {
            execs: Execs::on(&parts.node),
            parts,
            events: Arc::default(),
            vain: Vain::default(),
        }
    }

    /// Everything that has been agreed on so far.
    pub(crate) fn state(&self) -> Arc<State> {
        self.manager.state()
    }

    /// The same, now and whenever it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.manager.states()
    }

    /// Carries out a command, and returns when it is safe on disk.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`]; nothing has changed then.
    pub(crate) async fn command(&self, command: Command) -> Result<Answer, EngineError> {
        Ok(self.manager.command(command).await?)
    }
}
