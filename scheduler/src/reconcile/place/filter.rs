//! What speaks against a node whatever else runs there.

use super::constraint::{Constraint, usual};
use super::objection::{Objection, Unplaceable};
use crate::model::id::NodeId;
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::ServiceSpec;
use crate::reconcile::slot;
use crate::state::State;

pub(super) struct Filter {
    constraints: Vec<Constraint>,
    platform: Option<String>,
    /// Where the data of its named volumes is.
    volumes: Vec<(String, NodeId)>,
}

impl Filter {
    /// # Errors
    ///
    /// Returns [`Unplaceable::Constraint`] for constraints that cannot be read.
    pub(super) fn new(state: &State, spec: &ServiceSpec) -> Result<Self, Unplaceable> {
        let constraints = spec
            .placement
            .constraints
            .iter()
            .map(|it| Constraint::parse(it));
        let constraints = constraints.collect::<Result<_, _>>();
        Ok(Self {
            constraints: constraints.map_err(|error| Unplaceable::Constraint {
                error: error.to_string(),
            })?,
            platform: spec.container.platform.clone(),
            volumes: homes(state, spec),
        })
    }

    /// The first thing that speaks against a node.
    pub(super) fn objection(&self, node: &Node) -> Option<Objection> {
        unavailable(node).or_else(|| self.unsuitable(node))
    }

    /// The first thing that would still speak against it if it were available.
    pub(super) fn unsuitable(&self, node: &Node) -> Option<Objection> {
        if let Some(constraint) = self.constraints.iter().find(|it| !it.holds(node)) {
            let constraint = constraint.to_string();
            return Some(Objection::LacksConstraint { constraint });
        }
        if let Some(platform) = self.platform.as_deref().filter(|it| !is_of(node, it)) {
            let platform = platform.to_owned();
            return Some(Objection::OtherPlatform { platform });
        }
        let (volume, _) = self.volumes.iter().find(|(_, home)| *home != node.id)?;
        let volume = volume.clone();
        Some(Objection::HasNotTheVolume { volume })
    }
}

/// The nodes that have the data of a container's named volumes.
pub(super) fn homes(state: &State, spec: &ServiceSpec) -> Vec<(String, NodeId)> {
    let homes = slot::volumes(&spec.container).filter_map(|name| {
        let home = state.volumes.get(name)?.node.clone()?;
        Some((name.to_owned(), home))
    });
    homes.collect()
}

/// Nothing new begins on a node that is down, paused or drained.
fn unavailable(node: &Node) -> Option<Objection> {
    match (node.status, node.availability) {
        (NodeStatus::Down, _) => Some(Objection::Down),
        (NodeStatus::Ready, Availability::Drain) => Some(Objection::Drained),
        (NodeStatus::Ready, Availability::Pause) => Some(Objection::Paused),
        (NodeStatus::Ready, Availability::Active) => None,
    }
}

/// `os[/arch[/variant]]`; a node that does not know what it is is not asked.
fn is_of(node: &Node, platform: &str) -> bool {
    let mut parts = platform.split('/');
    let (os, architecture) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let of_node = &node.description;
    let same = |wanted: &str, found: &str| {
        wanted.is_empty() || found.is_empty() || usual(wanted).eq_ignore_ascii_case(usual(found))
    };
    same(os, &of_node.os) && same(architecture, &of_node.architecture)
}
