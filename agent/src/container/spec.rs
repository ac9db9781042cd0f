//! From what the user wants and what the image says to an OCI runtime configuration.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::runtime::Spec;
use scheduler::model::container::{ContainerSpec, Healthcheck};

use super::capability::CapabilitySet;
use super::device::GrantedDevice;
use super::health::HealthCheck;
use super::user::ResolvedUser;

/// The part of an image's configuration that a container takes over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// `KEY=VALUE`.
    pub environment: Vec<String>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    /// Targets of anonymous volumes.
    pub volumes: Vec<String>,
    pub exposed_ports: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
}

impl ImageConfig {
    /// Reads the `config` of an image's configuration blob (OCI's form with Docker's `Healthcheck`).
    pub fn from_json(_blob: &[u8]) -> Result<Self, SpecError> {
        todo!()
    }
}

/// Everything `build` needs to know. Paths of the host are absolute.
#[derive(Clone, Debug)]
pub struct SpecInput<'a> {
    pub container: &'a ContainerSpec,
    pub image: &'a ImageConfig,
    /// The answer to [`wanted_user`], from [`super::user::resolve`].
    pub user: ResolvedUser,
    pub hostname: String,
    /// Mounts of volumes, binds, secrets and configs, with their sources on the host.
    pub mounts: Vec<ResolvedMount>,
    /// What the container gets as `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    pub etc: EtcFiles,
    pub namespaces: Namespaces,
    /// The devices of `container.devices` as found on the host, or all of them when privileged.
    pub devices: Vec<GrantedDevice>,
    pub cgroup_path: PathBuf,
    /// Rows and columns of the terminal.
    pub terminal_size: Option<(u16, u16)>,
    /// Where the small init lies on the host when `container.init` is set.
    pub init: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcFiles {
    pub hosts: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedMount {
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub source: ResolvedSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedSource {
    Host {
        path: PathBuf,
        recursive: bool,
        propagation: Option<String>,
    },
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        options: Vec<String>,
    },
}

/// Which namespaces the container has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub network: Namespace,
    pub pid: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
    /// Directory of the host to show as `/dev/shm`, when ipc is not private.
    pub shm: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    #[default]
    Private,
    Host,
    /// A path such as `/proc/123/ns/net`.
    Join(PathBuf),
}

/// A configuration, and what it means for things that are not in it.
#[derive(Clone, Debug)]
pub struct Built {
    /// Complete, also for another OCI runtime: `linux.seccomp` is filled in. Only `root.path` is left at `rootfs`.
    pub spec: Spec,
    pub capabilities: CapabilitySet,
    /// What was asked for and is ignored or weakened, for people.
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("no command: the image has none and none was given")]
    NoCommand,
}

/// Makes the configuration.
pub fn build(_input: &SpecInput<'_>) -> Result<Built, SpecError> {
    todo!()
}

/// The user to look up in the image's files: the spec's, or else the image's; empty is root.
pub fn wanted_user<'a>(_image: &'a ImageConfig, _container: &'a ContainerSpec) -> &'a str {
    todo!()
}
/// The health check that holds, if any.
pub fn effective_healthcheck(
    _image: &ImageConfig,
    _container: &ContainerSpec,
) -> Option<HealthCheck> {
    todo!()
}
/// The signal number that asks the container to stop; 15 by default.
pub fn stop_signal(_image: &ImageConfig, _container: &ContainerSpec) -> Result<i32, SpecError> {
    todo!()
}
/// How long a container may take to stop; 10 s by default.
pub fn stop_grace(_container: &ContainerSpec) -> Duration {
    todo!()
}
/// Parses `SIGTERM`, `term` or `15`.
pub fn parse_signal(_text: &str) -> Result<i32, SpecError> {
    todo!()
}
