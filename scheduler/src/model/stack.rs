//! A stack: everything one Compose project declares, with final names and nothing left to resolve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::network::NetworkSpec;
use super::service::ServiceSpec;
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
