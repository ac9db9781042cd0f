//! A service: how many containers of one kind are wanted, in what order, and how they are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{ContainerSpec, PublishedPort};
use super::id::{NetworkId, ServiceId};
use super::rollout::Rollout;
use super::task::StopOrder;
use super::time::Timestamp;

/// What a user asks for under one key of `services:`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// The key in the file, e.g. `web`.
    pub name: String,
    pub container: Arc<ContainerSpec>,
    pub mode: ServiceMode,
    /// Fixed name of the only container.
    pub container_name: Option<String>,
    pub depends_on: BTreeMap<String, Dependency>,
    pub restart: RestartPolicy,
    pub update: UpdateConfig,
    pub rollback: UpdateConfig,
    pub endpoint_mode: EndpointMode,
    pub placement: Placement,
    /// Labels of the service itself, not of its containers (`deploy.labels`).
    pub labels: BTreeMap<String, String>,
    /// `up` streams its output.
    pub attach: bool,
    /// SHA-256 over the contents of the secrets and configs it is granted, so that a changed
    /// content is a changed service. Empty when it uses none.
    pub content_digest: String,
    /// The service that it is a step of, where it is one (`pre_start`): it is run when that one is
    /// about to begin, and not when a person starts all there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_start_of: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceMode {
    Replicated {
        replicas: u32,
    },
    /// One container on each node.
    Global,
    /// So many containers that each run to their end once, a few at a time.
    ReplicatedJob {
        completions: u32,
        /// At once; zero is all.
        concurrent: u32,
    },
    /// One container on each node, which runs to its end once.
    GlobalJob,
    /// A container that was made on its own (`docker create`, `wharfie run`): not restarted
    /// elsewhere, not counted, gone when it is removed.
    Standalone {
        /// Removed as soon as it has ended.
        auto_remove: bool,
    },
}

impl Default for ServiceMode {
    fn default() -> Self {
        Self::Replicated { replicas: 1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub condition: DependencyCondition,
    /// Restarted when the dependency is.
    pub restart: bool,
    /// A dependency that is not required may be absent.
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    pub condition: RestartCondition,
    /// First wait before a restart; it doubles with each failure in a row.
    pub delay: Duration,
    /// Zero is no limit.
    pub max_attempts: u32,
    /// Only failures within this time count against `max_attempts`; zero counts all.
    pub window: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartCondition {
    #[default]
    Never,
    OnFailure,
    Always,
    /// As `Always`, but what a person stopped stays stopped when the node starts again.
    UnlessStopped,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Never,
            // Docker's first wait.
            delay: Duration::from_millis(100),
            max_attempts: 0,
            window: Duration::ZERO,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// Slots replaced at a time; zero is all.
    pub parallelism: u32,
    pub delay: Duration,
    pub failure_action: FailureAction,
    /// How long a new container must keep running before it counts as good.
    pub monitor: Duration,
    pub max_failure_ratio: f64,
    pub order: UpdateOrder,
}

impl Default for UpdateConfig {
    /// What Compose does without `deploy.update_config`: everything at once, the old one stopped first.
    fn default() -> Self {
        Self {
            parallelism: 0,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: Duration::from_secs(5),
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    #[default]
    Pause,
    Continue,
    Rollback,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateOrder {
    #[default]
    StopFirst,
    StartFirst,
}

/// How clients find the containers of a service with several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// One virtual address, balanced over the healthy containers.
    #[default]
    Vip,
    /// The addresses of all healthy containers.
    Dnsrr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// `node.labels.zone==a`; all must hold.
    pub constraints: Vec<String>,
    /// Labels to spread over, e.g. `node.labels.zone`.
    pub spread: Vec<String>,
    /// Zero is no limit.
    pub max_replicas_per_node: u32,
}

/// A service as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub id: ServiceId,
    /// The stack it belongs to; `None` for a container that was made on its own outside any stack.
    pub stack: Option<String>,
    pub spec: Arc<ServiceSpec>,
    /// Goes up by one whenever `spec` changes in a way that makes new containers necessary.
    pub version: u64,
    /// The specs that tasks still run, by version; `spec` is among them.
    pub versions: BTreeMap<u64, Arc<ServiceSpec>>,
    /// Slots that a person stopped: nothing is started there until a person asks for it.
    pub halted: BTreeSet<u32>,
    /// How the halted slots are ended, as the person said who halted them.
    pub stop: StopOrder,
    /// A person asked for its removal; it goes when its last container has gone.
    pub removal: Option<StopOrder>,
    /// How far the containers have come to the current version.
    #[serde(default, rename = "update")]
    pub rollout: Rollout,
    /// Whether containers of the current version take over their predecessors' anonymous volumes.
    pub anonymous_volumes: AnonymousVolumes,
    /// The address that stands for all its containers, on each network, once it has had several.
    pub virtual_addresses: BTreeMap<NetworkId, IpAddr>,
    /// Beside those, where there is an IPv6 subnet beside the IPv4 one.
    #[serde(default)]
    pub virtual_addresses_ipv6: BTreeMap<NetworkId, Ipv6Addr>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Service {
    /// Every address that stands for its containers, with the network.
    pub fn all_virtual_addresses(&self) -> impl Iterator<Item = (&NetworkId, IpAddr)> {
        let main = self.virtual_addresses.iter();
        let beside = self.virtual_addresses_ipv6.iter();
        let beside = beside.map(|(network, address)| (network, IpAddr::V6(*address)));
        main.map(|(network, address)| (network, *address))
            .chain(beside)
    }
}

/// What a new container does with the anonymous volumes of the one it replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnonymousVolumes {
    #[default]
    TakeOver,
    Renew,
}

impl Service {
    /// The name that is unique in the cluster: `stack_service`, or the container's own name.
    pub fn full_name(&self) -> String {
        match &self.stack {
            Some(stack) => format!("{stack}_{}", self.spec.name),
            None => self.spec.name.clone(),
        }
    }

    /// Its containers run to their end once in each version.
    pub fn is_job(&self) -> bool {
        matches!(
            self.spec.mode,
            ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob
        )
    }

    pub fn is_on_each_node(&self) -> bool {
        matches!(self.spec.mode, ServiceMode::Global | ServiceMode::GlobalJob)
    }

    /// Whether its published ports are answered by the nodes for all its containers together, and
    /// not by each container for itself: several could not have the same port.
    pub fn shares_ports(&self) -> bool {
        let several = match self.spec.mode {
            ServiceMode::Replicated { replicas } => replicas > 1,
            ServiceMode::Global => true,
            ServiceMode::ReplicatedJob { .. }
            | ServiceMode::GlobalJob
            | ServiceMode::Standalone { .. } => return false,
        };
        let shared = self
            .spec
            .container
            .ports
            .iter()
            .any(PublishedPort::is_shareable);
        shared && (several || self.spec.update.order == UpdateOrder::StartFirst)
    }

    pub fn is_standalone(&self) -> bool {
        matches!(self.spec.mode, ServiceMode::Standalone { .. })
    }
}
