//! Images from the other nodes of the cluster, so that it needs no registry.
//!
//!     wanted: an id ──► a manager says who may have it ([`directory`])
//!                              │  whose containers run it, then managers, then everybody
//!                              ▼
//!                       [`ask`] a few of them: have you got it? ──► each layer from another one
//!                                                                        │
//!     a node that has it ◄── [`serve`]: may this one have it? ◄──────────┘
//!
//! Nobody keeps book of who has what: where containers say that they run an image is in the state,
//! and so a node that has received it gives it on. A wrong hint costs a question. What comes is
//! proved by its digest, whoever sent it. What a *name* means is believed of managers, then of its
//! registry, and of a worker only where those do not know it, and not without a word to the user: a
//! worker could put its own program into everybody's service.
//!
//! A worker is given what its tasks are to run and nothing else; a manager may see everything. A
//! node serves a few at a time and sends the others on: those who were served first serve them.

mod ask;
mod directory;
mod serve;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use scheduler::model::image::ImagePin;
use scheduler::state::State;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};

use self::directory::Grant;
use crate::cluster::Membership;
use crate::image::{Image, ImageError, Images, Reference};
use crate::peer::{RoleNeeded, Router};

/// Blobs that are sent at a time, to all nodes together: more would make each of them slower.
const UPLOADS: usize = 4;

/// See the module.
pub struct Supply {
    membership: Arc<Membership>,
    images: Arc<Images>,
    /// The state, on a manager.
    states: OnceLock<watch::Receiver<Arc<State>>>,
    uploads: Arc<Semaphore>,
    /// Whom a manager has allowed what, and when.
    grants: Mutex<BTreeMap<Grant, Instant>>,
}

/// Why an image did not come from another node.
#[derive(Debug, Error)]
pub enum SupplyError {
    #[error("no manager says which node has {image}: {reason}")]
    NoManager { image: String, reason: String },
    #[error("no node has {image}")]
    Nobody { image: String },
    /// Some have it, and could not give it.
    #[error("no node could give {image}: {reason}")]
    NotGiven { image: String, reason: String },
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What a name means on a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Named {
    pub pin: ImagePin,
    /// When it was pulled, loaded or named there: seconds since the Unix epoch.
    pub updated: u64,
}

impl Supply {
    pub fn new(membership: Arc<Membership>, images: Arc<Images>) -> Arc<Self> {
        Arc::new(Self {
            membership,
            images,
            states: OnceLock::new(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            grants: Mutex::default(),
        })
    }

    /// Serves what this node has to the others, and tells managers what names mean here.
    pub fn blob_routes(self: &Arc<Self>, router: Router) -> Router {
        router
            .route(serve::PATH, RoleNeeded::Member, serve::handler(self))
            .route(
                directory::NAMED,
                RoleNeeded::Manager,
                directory::named_handler(self),
            )
    }

    /// Says who may have what, as a manager.
    pub fn manager_routes(
        self: &Arc<Self>,
        router: Router,
        states: watch::Receiver<Arc<State>>,
    ) -> Router {
        // There is one manager in a process; a second call would be a mistake of the process.
        let _ = self.states.set(states);
        router
            .route(
                directory::HOLDERS,
                RoleNeeded::Member,
                directory::holders_handler(self),
            )
            .route(
                directory::ALLOWED,
                RoleNeeded::Member,
                directory::allowed_handler(self),
            )
    }

    /// Whether there may be other nodes to ask.
    pub fn is_in_cluster(&self) -> bool {
        self.membership.role().is_some()
    }

    /// What a name means here; `None` when it means nothing.
    pub fn named_here(&self, name: &str) -> Option<Named> {
        let image = self.images.resolve(name).ok()?;
        Some(Named {
            pin: pin_of(&image, name),
            updated: image.updated,
        })
    }
}

/// What a name means while it means this image. The digest is the one by which the registry that
/// the name says gave the image out.
pub fn pin_of(image: &Image, name: &str) -> ImagePin {
    let repository = name.parse::<Reference>().ok().map(|it| it.repository());
    let digest = image
        .digests
        .iter()
        .filter(|given| Some(given.repository()) == repository)
        .find_map(|given| given.digest().map(ToString::to_string));
    ImagePin {
        id: image.id.to_string(),
        digest,
    }
}
