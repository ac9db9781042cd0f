//! What a container is made of: the part of a service that one host needs to run it.
//!
//! Compose files and the Docker API both end here. Names of networks and volumes are final
//! (`shop_default`, not `default`), paths on the host are absolute, and every text is resolved:
//! nothing below knows about files, variables or projects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::image::ImagePin;

/// Everything one host needs to know to run a container.
///
/// A field that is `None` or empty means "as the image says", and, where the image says nothing,
/// Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image as the user wrote it, e.g. `nginx:1.27` or `nginx@sha256:…`.
    pub image: String,
    pub platform: Option<String>,
    pub pull_policy: PullPolicy,
    /// What the name meant when the service was deployed. Absent: each node finds out for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<ImagePin>,

    /// Replaces the image's entrypoint, and drops the image's command as well.
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    /// Added to the image's environment, later entries winning. `KEY` without a value removes it.
    pub environment: BTreeMap<String, Option<String>>,
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; names are looked up in the image's files.
    pub user: Option<String>,
    pub group_add: Vec<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,

    pub tty: bool,
    pub stdin_open: bool,
    /// Closes standard input after the first client that attached to it has left.
    pub stdin_once: bool,
    /// Runs a small init as process 1 that forwards signals and reaps orphans.
    pub init: bool,
    pub stop_signal: Option<String>,
    pub stop_grace: Option<Duration>,

    pub network: NetworkMode,
    pub ports: Vec<PublishedPort>,
    /// Documentation only, as in Docker: `80/tcp`.
    pub expose: Vec<String>,
    pub dns: Vec<IpAddr>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    /// Lines for `/etc/hosts`: name and address. `host-gateway` is kept as [`HostAddress::Gateway`].
    pub extra_hosts: Vec<(String, HostAddress)>,

    pub mounts: Vec<Mount>,
    /// Containers whose volumes and binds it has too, where it mounts nothing itself.
    pub volumes_from: Vec<VolumesFrom>,
    pub secrets: Vec<FileGrant>,
    pub configs: Vec<FileGrant>,
    pub read_only: bool,
    /// Size of `/dev/shm` in bytes; 64 MiB when absent.
    pub shm_size: Option<u64>,

    pub healthcheck: Option<Healthcheck>,
    /// Run one after the other as soon as it has started; it counts as running when they have ended.
    pub post_start: Vec<Hook>,
    /// Run one after the other before it is told to stop.
    pub pre_stop: Vec<Hook>,
    pub logging: Logging,

    pub resources: Resources,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    pub devices: Vec<Device>,
    /// By the vendor's name, as the Container Device Interface has it: `nvidia.com/gpu=0`.
    pub vendor_devices: Vec<String>,
    /// Rules in Docker's form, e.g. `c 1:3 mr`.
    pub device_cgroup_rules: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub security: Security,
    pub ipc: NamespaceMode,
    pub pid: NamespaceMode,
    pub uts: NamespaceMode,
    pub cgroup: NamespaceMode,
    pub cgroup_parent: Option<String>,
    pub oom_score_adj: Option<i32>,
    pub oom_kill_disable: bool,
}

impl ContainerSpec {
    /// What makes a container another one: all but how its image is come by, and which bytes its
    /// name means.
    pub fn made_of(&self) -> Cow<'_, Self> {
        if self.pin.is_none() && self.pull_policy == PullPolicy::default() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            pin: None,
            pull_policy: PullPolicy::default(),
            ..self.clone()
        })
    }

    /// It has a namespace or volumes in common with other containers, and so belongs beside them.
    pub fn shares_with_others(&self) -> bool {
        let joins = |mode: &NamespaceMode| {
            matches!(
                mode,
                NamespaceMode::Container(_) | NamespaceMode::Service(_)
            )
        };
        let network = matches!(
            self.network,
            NetworkMode::Container(_) | NetworkMode::Service(_)
        );
        network || joins(&self.pid) || joins(&self.ipc) || !self.volumes_from.is_empty()
    }
}

/// When the image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    Always,
    Never,
    #[default]
    Missing,
    /// When it is missing, or was fetched so long ago.
    Every(Duration),
}

/// How a container is connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// One interface for each network. An empty list means no network but loopback.
    Attached(Vec<NetworkAttachment>),
    /// The host's own network.
    Host,
    /// Loopback only.
    None,
    /// The network of another container, by name or id.
    Container(String),
    /// The network of the container with the same slot (or else the first) of another service of the stack.
    Service(String),
}

impl Default for NetworkMode {
    fn default() -> Self {
        Self::Attached(Vec::new())
    }
}

/// A wish to be connected to a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// The network's final name.
    pub network: String,
    /// Names under which the container is found there, besides its service's and its own.
    pub aliases: Vec<String>,
    pub ipv4_address: Option<Ipv4Addr>,
    pub ipv6_address: Option<Ipv6Addr>,
    /// Further addresses of the interface, known to nobody else.
    pub link_local_ips: Vec<IpAddr>,
    pub mac_address: Option<String>,
    /// Networks are connected in falling order of priority.
    pub priority: i32,
    /// The attachment with the highest value gives the default route.
    pub gateway_priority: i32,
    /// The interface's name in the container; `eth0`, `eth1`, … when absent.
    pub interface_name: Option<String>,
}

impl NetworkAttachment {
    /// The addresses that were asked for.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let four = self.ipv4_address.map(IpAddr::V4);
        four.into_iter().chain(self.ipv6_address.map(IpAddr::V6))
    }
}

/// A port of the container that the host answers on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address to answer on; every address when absent.
    pub host_ip: Option<IpAddr>,
    /// The host's ports to choose from, first and last; any free one when absent.
    pub published: Option<(u16, u16)>,
    pub target: u16,
    pub protocol: Protocol,
    pub mode: PublishMode,
}

impl PublishedPort {
    /// The one port that any node can answer on for a whole service.
    pub fn shared(&self) -> Option<u16> {
        let (first, last) = self.published?;
        (self.mode == PublishMode::Ingress && first == last && first != 0).then_some(first)
    }

    pub fn is_shareable(&self) -> bool {
        self.shared().is_some()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Who answers on a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishMode {
    /// Every node of the cluster.
    #[default]
    Ingress,
    /// Only the node that runs the container.
    Host,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostAddress {
    Address(IpAddr),
    /// The host itself, as the container reaches it: the gateway of its first network.
    Gateway,
}

/// Something mounted into the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub source: MountSource,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A named volume.
    Volume {
        name: String,
        /// A new volume is filled with what the image has at the target, unless this is set.
        no_copy: bool,
        subpath: Option<String>,
    },
    /// A volume that belongs to this container alone.
    Anonymous { no_copy: bool },
    /// The files of an image, read-only.
    Image {
        image: String,
        /// Relative path of a directory or file in it; everything when absent.
        subpath: Option<String>,
    },
    /// A path of the host.
    Bind {
        path: String,
        /// Makes an empty directory when the path does not exist, instead of refusing.
        create: bool,
        /// `rprivate` when absent.
        propagation: Option<String>,
        recursive: bool,
        /// What is mounted below a read-only one stays as it is.
        #[serde(default)]
        writable_below: bool,
    },
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        /// Further mount options as Docker takes them, e.g. `exec`.
        options: Vec<String>,
    },
}

/// Another container's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    pub container: Sibling,
    pub read_only: bool,
}

/// Another container on the same host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sibling {
    /// By name or id.
    Container(String),
    /// Of another service of the stack: the one with the same slot, or else the first.
    Service(String),
}

impl VolumesFrom {
    /// The key of the other container in
    /// [`AssignedTask::joins`](crate::assignment::AssignedTask::joins).
    pub fn key(&self) -> String {
        let name = match &self.container {
            Sibling::Container(name) | Sibling::Service(name) => name,
        };
        format!("{VOLUMES_OF}{name}")
    }
}

/// Begins the keys of containers whose volumes are shared: such a container need not run.
pub const VOLUMES_OF: &str = "volumes of ";

/// A secret or config made visible in the container as a file in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileGrant {
    /// The secret's or config's final name.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, e.g. `0o444`.
    pub mode: u32,
}

/// How the container's health is found out. Absent fields come from the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    pub test: Option<HealthTest>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthTest {
    /// No check, even if the image has one.
    Disabled,
    /// Arguments of a program.
    Command(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// A command that is run in the container at a point of its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    pub command: Vec<String>,
    /// As in [`ContainerSpec::user`]; the container's when absent.
    pub user: Option<String>,
    pub privileged: bool,
    pub working_dir: Option<String>,
    /// As in [`ContainerSpec::environment`].
    pub environment: BTreeMap<String, Option<String>>,
}

/// Where the container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    pub driver: LogDriver,
    /// A file is closed and renamed when it has grown to this many bytes; 20 MiB when absent.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; 5 when absent.
    pub max_file: Option<u32>,
    /// What the user asked for, by name, for `inspect` (`json-file`, `local`, …).
    pub requested: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogDriver {
    #[default]
    File,
    None,
}

/// Upper bounds, and what the scheduler sets aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_limit_millis: Option<u64>,
    pub cpu_reservation_millis: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<u64>,
    pub memory_reservation: Option<u64>,
    /// Countable things that nodes say they have, by kind.
    pub generic_reservations: BTreeMap<String, u64>,
    /// Bytes of memory and swap together; `-1` is unlimited.
    pub memory_swap: Option<i64>,
    pub memory_swappiness: Option<u64>,
    /// `-1` is unlimited; 4096 when absent.
    pub pids_limit: Option<i64>,
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds. Only control groups of version 1 divide real time.
    pub cpu_rt_period: Option<u64>,
    /// Microseconds for real-time scheduling in each of these periods.
    pub cpu_rt_runtime: Option<i64>,
    /// List of CPUs, e.g. `0-1,3`.
    pub cpuset: Option<String>,
    pub cpuset_mems: Option<String>,
    /// Relative weight of disk I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    pub block_devices: Vec<BlockLimit>,
}

/// What a container may do with one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLimit {
    /// The disk's device file on the host.
    pub path: String,
    pub kind: BlockLimitKind,
    /// Bytes or operations a second; for a weight, 10 to 1000.
    pub amount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockLimitKind {
    Weight,
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `-1` is unlimited.
    pub soft: i64,
    pub hard: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path on the host.
    pub source: String,
    pub target: String,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// Confinement beyond capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Processes cannot gain privileges (through setuid files, say). `None` is off, as in Docker.
    pub no_new_privileges: Option<bool>,
    pub seccomp: SeccompProfile,
    /// Leaves `/proc` and `/sys` as they are: nothing masked, nothing read-only.
    pub unconfined_system_paths: bool,
    /// The AppArmor profile asked for; refused by a host that has no AppArmor.
    pub apparmor: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompProfile {
    #[default]
    Default,
    Unconfined,
    /// A profile in Docker's JSON form.
    Custom(String),
}

/// Whose namespace the container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMode {
    #[default]
    Private,
    Host,
    /// Its own, which others may join.
    Shareable,
    /// Another container's, by name or id.
    Container(String),
    /// That of another service of the stack.
    Service(String),
}
