//! The nodes of the cluster, as far as the one that is asked knows them.
//!
//! | it is | what it shows |
//! |---|---|
//! | alone, or no wharfie | what there is |
//! | a worker | what it has itself: for the rest a manager must be asked |
//! | a manager | the whole cluster |

use std::net::SocketAddr;

use agent::cluster::info::{ClusterInfo, NodeView};
use scheduler::model::node::{NodeStatus, Role};

use crate::connect::Client;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) enum Nodes {
    #[default]
    Alone,
    Worker {
        managers: Vec<SocketAddr>,
    },
    Cluster(Vec<NodeView>),
}

impl Nodes {
    /// What cannot be found out does not matter: then there is one.
    pub(crate) async fn seen_by(client: &Client) -> Self {
        let Ok(info) = client.get::<ClusterInfo>("/x/cluster").await else {
            return Self::Alone;
        };
        match info.role {
            None => Self::Alone,
            Some(Role::Worker) => Self::Worker {
                managers: info.managers,
            },
            Some(Role::Manager) => match client.get("/x/nodes").await {
                Ok(nodes) => Self::Cluster(nodes),
                Err(_) => Self::Alone,
            },
        }
    }

    /// Whether it needs saying where a container is.
    pub(crate) fn are_several(&self) -> bool {
        matches!(self, Self::Cluster(nodes) if nodes.len() > 1)
    }

    /// Why something may not be found although it is there: what to do about it, as a sentence.
    pub(crate) fn blind_spot(&self) -> Option<String> {
        let Self::Worker { managers } = self else {
            return None;
        };
        let managers: Vec<_> = managers.iter().map(|it| it.ip().to_string()).collect();
        Some(format!(
            "This node is a worker and knows of its own containers only; managers know of all: {}.",
            managers.join(", ")
        ))
    }

    /// A node of this name that is down.
    pub(crate) fn down(&self, name: &str) -> Option<&NodeView> {
        let Self::Cluster(nodes) = self else {
            return None;
        };
        let is_meant = |it: &&NodeView| it.hostname == name && it.status == NodeStatus::Down;
        nodes.iter().find(is_meant)
    }
}
