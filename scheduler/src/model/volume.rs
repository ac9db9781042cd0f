//! Named volumes. A volume is bound to the node that has its data; the scheduler follows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::NodeId;
use super::time::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// Final name, e.g. `shop_data`.
    pub name: String,
    /// `local` is the only driver.
    pub driver: String,
    /// `type`, `o`, `device` as for mount(8).
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Made by somebody else: it must exist, and `down -v` leaves it.
    pub external: bool,
}

/// A named volume as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub spec: VolumeSpec,
    pub stack: Option<String>,
    /// The node with the data; chosen when the first task that uses it is placed.
    pub node: Option<NodeId>,
    /// A person asked for its removal; it goes when the node says that the data is gone.
    pub removing: bool,
    pub created_at: Timestamp,
}
