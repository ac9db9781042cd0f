//! A stack: everything one Compose project declares, with final names and nothing left to resolve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cluster::Secret;
use super::network::NetworkSpec;
use super::service::ServiceSpec;
use super::time::Timestamp;
use super::volume::VolumeSpec;

/// What `up` sends: the whole wanted set of one project.
///
/// Networks, volumes, secrets and configs are keyed by their key in the file; services refer to
/// them by final name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stack {
    pub name: String,
    pub services: BTreeMap<String, ServiceSpec>,
    pub networks: BTreeMap<String, NetworkSpec>,
    pub volumes: BTreeMap<String, VolumeSpec>,
    pub secrets: BTreeMap<String, ContentSpec>,
    pub configs: BTreeMap<String, ContentSpec>,
    /// Where the files were read, for `ls` and Compose's labels.
    pub working_dir: String,
    pub config_files: Vec<String>,
}

/// A stack as the cluster knows it; its services, networks and volumes name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackRecord {
    pub name: String,
    pub working_dir: String,
    pub config_files: Vec<String>,
    /// A person asked for its removal; it goes when its last service has gone.
    pub removal: Option<StackRemoval>,
    /// What is shown to registries for the stack's images, by registry, in the form of Docker's
    /// `X-Registry-Auth`: whoever deployed last with a login brought it. Nodes get it for as long
    /// as they have something to pull with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logins: BTreeMap<String, Secret>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What goes with a stack that is taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackRemoval {
    /// Named volumes stay.
    KeepVolumes,
    /// Named volumes go, with their data.
    DeleteVolumes,
}

/// A secret or config as the cluster keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredContent {
    pub spec: ContentSpec,
    /// The stack that brought it; `None` for one made by a person, which `external` refers to.
    pub stack: Option<String>,
    #[serde(default)]
    pub created_at: Timestamp,
}

/// A secret or a config: named bytes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentSpec {
    /// Final name.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Made by somebody else; `content` is `None`.
    pub external: bool,
    pub content: Option<Vec<u8>>,
}

/// Leaves the content out, so that no log and no panic shows a secret.
impl std::fmt::Debug for ContentSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentSpec")
            .field("name", &self.name)
            .field("external", &self.external)
            .field("bytes", &self.content.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}
