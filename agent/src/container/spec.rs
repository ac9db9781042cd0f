//! From what the user wants and what the image says to an OCI runtime configuration.
//!
//!     ContainerSpec ─┐
//!     ImageDefaults ─┼─► build ─► Spec: command · process · mounts · isolation · resources
//!     host's answers ┘
//!
//! Pure: what must be looked up on the host (accounts, devices, volumes, namespaces) comes in as an
//! answer. Where wharfie's default could differ from Docker's it does not, so that images run:
//! `no_new_privileges` is off (`sudo`, setgid mailers and file capabilities in images need it off) and
//! the fourteen capabilities are Docker's. Narrower are: at most 4096 processes, no core dumps, 1024
//! open files unless a program asks for more.

mod command;
mod confinement;
mod defaults;
mod mounts;
mod resources;

use std::path::PathBuf;

use oci_spec::runtime::{BoxBuilder, Linux, Process, Root, Spec, User};
use scheduler::model::container::{BlockLimitKind, ContainerSpec, Healthcheck, SeccompProfile};
use serde::{Deserialize, Serialize};

use super::capability::{CapabilitySet, UnknownCapability};
use super::device::{DeviceError, GrantedDevice};
use super::seccomp::{self, SeccompError};
use super::user::ResolvedUser;

pub use defaults::{effective_healthcheck, parse_signal, stop_grace, stop_signal, wanted_user};
pub use resources::kernel_dependent;

/// What the image says about the containers made from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageDefaults {
    /// As in [`ContainerSpec::user`]; empty is root.
    pub user: String,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Empty is `/`.
    pub working_dir: String,
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    /// Runs a health check that is a line of text; `/bin/sh -c` when empty.
    pub shell: Vec<String>,
}

/// Everything that `build` needs to know. Paths of the host are absolute.
#[derive(Clone, Debug)]
pub struct SpecInput<'a> {
    pub container: &'a ContainerSpec,
    pub image: &'a ImageDefaults,
    /// The answer to [`wanted_user`], from [`super::user::resolve`].
    pub user: ResolvedUser,
    /// The container's own; the host's where the UTS namespace is not private.
    pub hostname: String,
    /// Volumes, binds, tmpfs, secrets and configs, with their sources on the host.
    pub mounts: Vec<ResolvedMount>,
    pub etc: EtcFiles,
    pub namespaces: Namespaces,
    /// Variables that devices bring, `KEY=VALUE`; the user's own win.
    pub device_env: Vec<String>,
    /// The disks of `container.resources.block_devices` as found on the host.
    pub disks: Vec<LimitedDisk>,
    /// The devices of `container.devices` as found on the host, or all of the host's when privileged.
    pub devices: Vec<GrantedDevice>,
    /// What this host can give: [`CapabilitySet::from_status`] of the agent's own process.
    pub host_capabilities: CapabilitySet,
    /// Relative to the root of each hierarchy, e.g. `/wharfie/0123…`.
    pub cgroup_path: PathBuf,
    /// Rows and columns, if a terminal is known already.
    pub terminal_size: Option<(u16, u16)>,
}

/// Files of the host that are shown as those in `/etc`; `None` leaves the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcFiles {
    pub hosts: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
}

/// A limit, and the disk it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitedDisk {
    pub major: u32,
    pub minor: u32,
    pub kind: BlockLimitKind,
    pub amount: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedMount {
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub source: ResolvedSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolvedSource {
    /// A file or directory of the host.
    Host {
        path: PathBuf,
        /// Whether what is mounted below it comes along.
        recursive: bool,
        /// What is mounted below a read-only one stays as it is.
        #[serde(default)]
        writable_below: bool,
        /// `rprivate` when absent.
        propagation: Option<String>,
    },
    /// Directories as one, the uppermost first, read-only.
    Layers(Vec<PathBuf>),
    Tmpfs {
        /// Bytes; half of the memory when absent.
        size: Option<u64>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        /// Further options as Docker takes them, e.g. `exec`.
        options: Vec<String>,
    },
}

/// Whose namespaces the container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub network: Namespace,
    pub pid: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
    /// What is shown as `/dev/shm` where ipc is not private: the host's, or `/proc/PID/root/dev/shm`.
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

/// A configuration, and what did not fit into it.
#[derive(Clone, Debug)]
pub struct Built {
    /// Complete, also for another OCI runtime, but for `root.path`, which is `rootfs`.
    pub spec: Spec,
    /// What was asked for and cannot be given in full, for people.
    pub warnings: Vec<String>,
}

/// Why a container cannot be configured as asked.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("no command is given, and the image has none")]
    NoCommand,
    #[error("{what} contains a NUL character or a line break")]
    ControlCharacter { what: &'static str },
    #[error("environment variable `{name}` is not a name")]
    EnvironmentName { name: String },
    #[error("working directory `{path}` is not an absolute path")]
    WorkingDirRelative { path: String },
    #[error("working directory `{path}` is inside /proc")]
    WorkingDirProc { path: String },
    #[error("mount target `{target}` is not an absolute path")]
    TargetRelative { target: String },
    #[error("nothing can be mounted at `{target}`: {why}")]
    TargetForbidden { target: String, why: &'static str },
    #[error("more than one thing is mounted at `{target}`")]
    TargetTwice { target: String },
    #[error(
        "`{propagation}` is not a mount propagation: private, shared, slave or with an r before"
    )]
    Propagation { propagation: String },
    #[error("the image mounted at `{target}` has more layers than fit into one mount")]
    TooManyLayers { target: String },
    #[error("`{option}` is not an option of tmpfs")]
    TmpfsOption { option: String },
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    #[error("sysctl `{key}` cannot be set for a container: {why}")]
    Sysctl { key: String, why: &'static str },
    #[error("`{name}` is not a limit that can be set")]
    UlimitName { name: String },
    #[error("limit `{name}` is {soft}, more than its upper bound of {hard}")]
    Ulimit { name: String, soft: i64, hard: i64 },
    #[error("{name} is {value}: {why}")]
    Resource {
        name: &'static str,
        value: String,
        why: &'static str,
    },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    #[error("`{text}` is not a signal")]
    Signal { text: String },
}

/// Makes the configuration.
///
/// # Errors
///
/// Returns the first thing that is wrong in the spec, or [`SpecError::NoCommand`].
pub fn build(input: &SpecInput<'_>) -> Result<Built, SpecError> {
    let mut warnings = Vec::new();
    let capabilities = capabilities(input, &mut warnings)?;
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs"));
    root.set_readonly(Some(input.container.read_only));

    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned());
    spec.set_root(Some(root));
    spec.set_process(Some(process(input, capabilities)?));
    spec.set_mounts(Some(mounts::mounts(input)?));
    spec.set_linux(Some(linux(input, capabilities, &mut warnings)?));
    spec.set_hostname(confinement::hostname(input)?);
    let annotations = &input.container.annotations;
    spec.set_annotations(Some(annotations.clone().into_iter().collect()));
    Ok(Built { spec, warnings })
}

fn capabilities(
    input: &SpecInput<'_>,
    warnings: &mut Vec<String>,
) -> Result<CapabilitySet, SpecError> {
    let container = input.container;
    if container.privileged {
        return Ok(input.host_capabilities);
    }
    let wanted = CapabilitySet::tweaked(&container.cap_add, &container.cap_drop)?;
    let given = wanted.intersection(input.host_capabilities);
    // With `ALL`, nobody asked for one in particular.
    for name in wanted
        .names()
        .filter(|name| wanted != CapabilitySet::ALL && !given.has(name))
    {
        warnings.push(format!("this host cannot give capability {name}"));
    }
    Ok(given)
}

fn process(input: &SpecInput<'_>, capabilities: CapabilitySet) -> Result<Process, SpecError> {
    let container = input.container;
    let mut user = User::default();
    user.set_uid(input.user.uid);
    user.set_gid(input.user.gid);
    user.set_additional_gids(Some(input.user.memberships()));

    let mut process = Process::default();
    process.set_terminal(Some(container.tty));
    process.set_console_size(input.terminal_size.filter(|_| container.tty).map(
        |(rows, columns)| {
            BoxBuilder::default()
                .height(u64::from(rows))
                .width(u64::from(columns))
                .build()
                .expect("the builder has a default for every field")
        },
    ));
    process.set_user(user);
    process.set_args(Some(command::args(input)?));
    process.set_env(Some(command::environment(input)?));
    process.set_cwd(command::working_dir(input)?);
    process.set_capabilities(Some(confinement::process_capabilities(
        &input.user,
        capabilities,
    )));
    process.set_rlimits(Some(resources::limits(container)?));
    process.set_no_new_privileges(Some(container.security.no_new_privileges.unwrap_or(false)));
    let apparmor = container.security.apparmor.as_deref();
    let apparmor = apparmor.filter(|profile| !matches!(*profile, "" | "unconfined"));
    process.set_apparmor_profile(apparmor.map(str::to_owned));
    process.set_oom_score_adj(Some(resources::oom_score_adj(container)?));
    Ok(process)
}

fn linux(
    input: &SpecInput<'_>,
    capabilities: CapabilitySet,
    warnings: &mut Vec<String>,
) -> Result<Linux, SpecError> {
    let container = input.container;
    let profile = match &container.security.seccomp {
        // A privileged container is confined only by a profile of its own.
        SeccompProfile::Default if container.privileged => &SeccompProfile::Unconfined,
        profile => profile,
    };
    let paths = confinement::SystemPaths::of(container);
    let mut linux = Linux::default();
    linux.set_namespaces(Some(confinement::namespaces(&input.namespaces)));
    linux.set_sysctl(Some(confinement::sysctls(input)?));
    linux.set_seccomp(seccomp::for_container(profile, capabilities)?);
    linux.set_masked_paths(Some(paths.masked));
    linux.set_readonly_paths(Some(paths.read_only));
    linux.set_devices(Some(
        input
            .devices
            .iter()
            .map(|granted| granted.node.clone())
            .collect(),
    ));
    linux.set_resources(Some(resources::resources(input, warnings)?));
    linux.set_cgroups_path(Some(input.cgroup_path.clone()));
    linux.set_rootfs_propagation(mounts::rootfs_propagation(&input.mounts));
    Ok(linux)
}

#[cfg(test)]
mod tests;
