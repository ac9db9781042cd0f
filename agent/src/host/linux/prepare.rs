//! Everything that a start needs and that can be had before: the image, the volumes and their
//! contents, secrets, `/etc` files, and the bundle that says it all.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, Hooks};
use scheduler::model::container::{
    BlockLimit, ContainerSpec, Device, FileGrant, LogDriver, MountSource, NamespaceMode,
    NetworkMode,
};
use scheduler::model::id::ContainerId;
use tracing::info;

use super::{LinuxHost, hosts};
use crate::cdi::{CdiMount, DeviceNode, Edits, Registry};
use crate::container::capability::CapabilitySet;
use crate::container::spec::{
    self, EtcFiles, ImageDefaults, LimitedDisk, Namespace, Namespaces, ResolvedMount,
    ResolvedSource, SpecInput,
};
use crate::container::user::{self, UserFiles};
use crate::container::{Bundle, LogFiles, LogOptions, Phase, Stdin, device};
use crate::dns;
use crate::fetch::Wish;
use crate::host::{Done, OpError, Run};
use crate::image::{Credentials, Image, Platform};
use crate::secret::SecretFile;

/// Docker's default for its own bounded driver, `local`.
const LOG_MAX_SIZE: u64 = 20 * 1024 * 1024;
const LOG_MAX_FILES: u32 = 5;

impl LinuxHost {
    pub(super) async fn prepare(&self, run: &Run) -> Result<Done, OpError> {
        let spec = &run.task.spec;
        let platform = platform(spec.platform.as_deref())?;
        let login = run
            .login
            .as_ref()
            .map(|it| Credentials::from_header(it.reveal()));
        let login = login
            .transpose()
            .map_err(|error| OpError::because(&error))?;
        let wish = Wish {
            login: login.as_ref(),
            ..Wish::of(spec, platform.as_ref())
        };
        let fetched = self.drivers.fetcher.fetch(wish).await;
        let image = fetched.map_err(|error| OpError {
            reason: error.chain(),
            exit_code: Some(125),
        })?;
        self.write_bundle(run, &image).await?;
        Ok(Done::Prepared {
            image_id: image.id.to_string(),
        })
    }

    /// What the image of a prepared container says about it.
    pub(super) fn image_defaults(image: &Image) -> ImageDefaults {
        let defaults = image.config.defaults.clone();
        ImageDefaults {
            user: defaults.user,
            env: defaults.env,
            entrypoint: defaults.entrypoint.unwrap_or_default(),
            cmd: defaults.cmd.unwrap_or_default(),
            working_dir: defaults.working_dir,
            stop_signal: defaults.stop_signal,
            healthcheck: defaults.healthcheck,
            shell: defaults.shell.unwrap_or_default(),
        }
    }

    /// Writes the bundle; repeated before a start that joins another container's namespaces.
    pub(super) async fn write_bundle(&self, run: &Run, image: &Image) -> Result<(), OpError> {
        let (drivers, spec, id) = (&self.drivers, &run.task.spec, &run.task.container);
        let defaults = Self::image_defaults(image);
        let layers = drivers.images.layers(image);
        let accounts = UserFiles::from_layers(&layers);
        let wanted = spec::wanted_user(&defaults, spec);
        let user = user::resolve(wanted, &spec.group_add, &accounts)
            .map_err(|error| OpError::because(&error))?;
        let vendor = vendor_devices(spec).await?;
        let mut user = user;
        user.groups.extend(&vendor.additional_gids);
        let mut mounts = self.volumes(run, image, &layers).await?;
        self.share(id, &mounts).await?;
        mounts.extend(self.files(run).await?);
        mounts.extend(vendor.mounts.iter().map(vendor_mount));
        let directory = drivers.containers.directory(id);
        let hostname = hostname(run);
        let input = SpecInput {
            container: spec,
            image: &defaults,
            user,
            etc: etc_files(run, &hostname, &directory).await?,
            hostname,
            mounts,
            namespaces: self.namespaces(run).await?,
            devices: devices(run, &vendor)?,
            device_env: vendor.env,
            disks: disks(spec)?,
            cgroup_path: cgroup(&drivers.cgroup_parent, spec.cgroup_parent.as_deref(), id),
            host_capabilities: host_capabilities().await?,
            terminal_size: None,
        };
        let built = spec::build(&input).map_err(|error| OpError::because(&error))?;
        for warning in &built.warnings {
            info!(container = run.task.name, warning);
        }
        let mut spec_of_bundle = built.spec;
        spec_of_bundle.set_hooks(vendor_hooks(&vendor.hooks));
        let bundle = Bundle {
            spec: spec_of_bundle,
            layers,
            init: spec.init,
            log: log_options(run),
            stdin: match (spec.stdin_open, spec.stdin_once) {
                (false, _) => Stdin::Closed,
                (true, false) => Stdin::Open,
                (true, true) => Stdin::OpenOnce,
            },
        };
        drivers
            .containers
            .prepare(id, bundle)
            .await
            .map_err(|error| OpError::because(&error))
    }

    /// Mounts with their sources on this host. New volumes are filled from the image.
    async fn volumes(
        &self,
        run: &Run,
        image: &Image,
        layers: &[PathBuf],
    ) -> Result<Vec<ResolvedMount>, OpError> {
        let mut mounts = Vec::new();
        for mount in &run.task.spec.mounts {
            let source = match &mount.source {
                MountSource::Volume {
                    name,
                    no_copy,
                    subpath,
                } => {
                    let fill = (!no_copy).then_some(layers);
                    self.volume(run, name, subpath.as_deref(), fill, &mount.target)
                        .await?
                }
                MountSource::Anonymous { no_copy } => {
                    let fill = (!no_copy).then_some(layers);
                    self.anonymous(run, fill, &mount.target).await?
                }
                MountSource::Image { image, subpath } => {
                    self.image_files(image, subpath.as_deref()).await?
                }
                MountSource::Bind {
                    path,
                    create,
                    propagation,
                    recursive,
                    writable_below,
                } => {
                    bind_source(Path::new(path), *create).await?;
                    ResolvedSource::Host {
                        path: path.into(),
                        recursive: *recursive,
                        writable_below: *writable_below,
                        propagation: propagation.clone(),
                    }
                }
                MountSource::Tmpfs {
                    size,
                    mode,
                    uid,
                    gid,
                    options,
                } => ResolvedSource::Tmpfs {
                    size: *size,
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    options: options.clone(),
                },
            };
            let of_image = matches!(mount.source, MountSource::Image { .. });
            mounts.push(ResolvedMount {
                target: mount.target.clone(),
                read_only: mount.read_only || of_image,
                source,
            });
        }
        mounts.extend(self.shared(run, &mounts).await?);
        for target in &image.config.defaults.volumes {
            let target = target.trim_end_matches('/');
            if mounts
                .iter()
                .all(|mount| mount.target.trim_end_matches('/') != target)
            {
                let source = self.anonymous(run, Some(layers), target).await?;
                mounts.push(ResolvedMount {
                    target: target.to_owned(),
                    read_only: false,
                    source,
                });
            }
        }
        Ok(mounts)
    }

    async fn volume(
        &self,
        run: &Run,
        name: &str,
        subpath: Option<&str>,
        fill: Option<&[PathBuf]>,
        target: &str,
    ) -> Result<ResolvedSource, OpError> {
        let volumes = &self.drivers.volumes;
        if let Some(spec) = run
            .volumes
            .iter()
            .find(|spec| spec.name == name && !spec.external)
        {
            let made = volumes.ensure(spec, self.drivers.clock.now()).await;
            made.map_err(|error| OpError::because(&error))?;
        }
        self.attach(name, subpath, fill, target).await
    }

    async fn anonymous(
        &self,
        run: &Run,
        fill: Option<&[PathBuf]>,
        target: &str,
    ) -> Result<ResolvedSource, OpError> {
        let (id, replaces) = (&run.task.container, run.task.replaces.as_ref());
        let now = self.drivers.clock.now();
        let name = self
            .drivers
            .volumes
            .anonymous(id, target, replaces, now)
            .await;
        let name = name.map_err(|error| OpError::because(&error))?;
        self.attach(&name, None, fill, target).await
    }

    async fn attach(
        &self,
        name: &str,
        subpath: Option<&str>,
        fill: Option<&[PathBuf]>,
        target: &str,
    ) -> Result<ResolvedSource, OpError> {
        let volumes = &self.drivers.volumes;
        let path = volumes
            .attach(name, subpath)
            .await
            .map_err(|error| OpError::because(&error))?;
        if let Some(layers) = fill {
            volumes
                .populate(name, layers, target)
                .await
                .map_err(|error| OpError::because(&error))?;
        }
        Ok(ResolvedSource::Host {
            path,
            recursive: true,
            writable_below: false,
            propagation: None,
        })
    }

    /// Secrets and configs, as files in memory.
    async fn files(&self, run: &Run) -> Result<Vec<ResolvedMount>, OpError> {
        let spec = &run.task.spec;
        let mut grants: Vec<(&FileGrant, SecretFile)> = Vec::new();
        for (what, granted, contents) in [
            ("secret", &spec.secrets, &run.secrets),
            ("config", &spec.configs, &run.configs),
        ] {
            for grant in granted {
                let content = contents.get(&grant.source).ok_or_else(|| OpError {
                    reason: format!("{what} `{}` does not exist", grant.source),
                    exit_code: Some(125),
                })?;
                let file = SecretFile {
                    content: content.to_vec(),
                    uid: grant.uid,
                    gid: grant.gid,
                    mode: grant.mode,
                };
                grants.push((grant, file));
            }
        }
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        let (grants, files): (Vec<_>, Vec<_>) = grants.into_iter().unzip();
        let paths = self
            .drivers
            .secrets
            .prepare(&run.task.container, &files)
            .await;
        let paths = paths.map_err(|error| OpError::because(&error))?;
        Ok((grants.into_iter().zip(paths))
            .map(|(grant, path)| ResolvedMount {
                target: grant.target.clone(),
                read_only: true,
                source: ResolvedSource::Host {
                    path,
                    recursive: false,
                    writable_below: false,
                    propagation: None,
                },
            })
            .collect())
    }

    async fn namespaces(&self, run: &Run) -> Result<Namespaces, OpError> {
        let spec = &run.task.spec;
        let network = match &spec.network {
            NetworkMode::Attached(_) | NetworkMode::None => Namespace::Private,
            NetworkMode::Host => Namespace::Host,
            NetworkMode::Container(_) | NetworkMode::Service(_) => {
                self.joined(run, "network", "net").await
            }
        };
        let ipc = self.namespace(run, &spec.ipc, "ipc", "ipc").await;
        let shm = match (&spec.ipc, &ipc) {
            (NamespaceMode::Host, _) => Some(PathBuf::from("/dev/shm")),
            (_, Namespace::Join(path)) => shm_beside(path),
            (_, Namespace::Host | Namespace::Private) => None,
        };
        Ok(Namespaces {
            network,
            pid: self.namespace(run, &spec.pid, "pid", "pid").await,
            ipc,
            uts: self.namespace(run, &spec.uts, "uts", "uts").await,
            cgroup: self.namespace(run, &spec.cgroup, "cgroup", "cgroup").await,
            shm,
        })
    }

    async fn namespace(&self, run: &Run, mode: &NamespaceMode, key: &str, file: &str) -> Namespace {
        match mode {
            NamespaceMode::Private | NamespaceMode::Shareable => Namespace::Private,
            NamespaceMode::Host => Namespace::Host,
            NamespaceMode::Container(_) | NamespaceMode::Service(_) => {
                self.joined(run, key, file).await
            }
        }
    }

    /// Private for as long as the other container does not run: the bundle is written again
    /// right before the start, which waits for it.
    async fn joined(&self, run: &Run, key: &str, file: &str) -> Namespace {
        let Some(other) = run.task.joins.get(key) else {
            return Namespace::Private;
        };
        match self
            .drivers
            .containers
            .observe(other)
            .await
            .map(|seen| seen.phase)
        {
            Some(Phase::Running { pid, .. }) => {
                Namespace::Join(format!("/proc/{pid}/ns/{file}").into())
            }
            _ => Namespace::Private,
        }
    }
}

/// The `/dev/shm` of the process with that namespace, `/proc/PID/ns/ipc`: they belong together.
fn shm_beside(namespace: &Path) -> Option<PathBuf> {
    Some(namespace.parent()?.parent()?.join("root/dev/shm"))
}

fn platform(text: Option<&str>) -> Result<Option<Platform>, OpError> {
    let Some(text) = text else { return Ok(None) };
    let platform = text
        .parse::<Platform>()
        .map_err(|error| OpError::because(&error))?;
    Ok(Some(platform))
}

/// Docker: the container's short id, unless the user chose a name, or the host's network.
fn hostname(run: &Run) -> String {
    let spec = &run.task.spec;
    match &spec.hostname {
        Some(name) => name.clone(),
        None if matches!(spec.network, NetworkMode::Host) => nix::unistd::gethostname()
            .map_or_else(
                |_| "localhost".into(),
                |name| name.to_string_lossy().into_owned(),
            ),
        None => run.task.container.short().to_owned(),
    }
}

async fn etc_files(run: &Run, hostname: &str, directory: &Path) -> Result<EtcFiles, OpError> {
    let spec = &run.task.spec;
    let host_network = matches!(spec.network, NetworkMode::Host);
    let (hosts_text, resolv) = if host_network {
        (
            read_or_empty("/etc/hosts").await,
            read_or_empty("/etc/resolv.conf").await,
        )
    } else {
        let own: Vec<_> = run
            .task
            .interfaces
            .iter()
            .flat_map(|interface| interface.addresses())
            .collect();
        let gateway = run.networks.first().map(|network| network.gateway);
        let hosts = hosts::hosts(
            hostname,
            spec.domainname.as_deref(),
            &own,
            &spec.extra_hosts,
            gateway,
        );
        (hosts, dns::resolv_conf(&spec.dns_search, &spec.dns_options))
    };
    let write = async |name: &str, text: &str| {
        let path = directory.join(name);
        let made = tokio::fs::create_dir_all(directory).await;
        let written = match made {
            Ok(()) => tokio::fs::write(&path, text).await,
            Err(error) => Err(error),
        };
        written.map_err(|error| OpError {
            reason: format!("cannot write {}: {error}", path.display()),
            exit_code: None,
        })?;
        Ok::<_, OpError>(Some(path))
    };
    Ok(EtcFiles {
        hosts: write("hosts", &hosts_text).await?,
        hostname: write("hostname", &format!("{hostname}\n")).await?,
        resolv_conf: write("resolv.conf", &resolv).await?,
    })
}

async fn read_or_empty(path: &str) -> String {
    tokio::fs::read_to_string(path).await.unwrap_or_default()
}

async fn bind_source(path: &Path, create: bool) -> Result<(), OpError> {
    if tokio::fs::try_exists(path).await.unwrap_or(false) {
        return Ok(());
    }
    let reason = if create {
        match tokio::fs::create_dir_all(path).await {
            Ok(()) => return Ok(()),
            Err(error) => format!("cannot make {}: {error}", path.display()),
        }
    } else {
        format!("bind source path does not exist: {}", path.display())
    };
    Err(OpError {
        reason,
        exit_code: Some(125),
    })
}

/// What this process has, and can therefore give.
async fn host_capabilities() -> Result<CapabilitySet, OpError> {
    let status = read_or_empty("/proc/self/status").await;
    CapabilitySet::from_status(&status).ok_or_else(|| OpError {
        reason: "/proc/self/status does not say which capabilities this process has".to_owned(),
        exit_code: None,
    })
}

fn devices(run: &Run, vendor: &Edits) -> Result<Vec<device::GrantedDevice>, OpError> {
    let spec = &run.task.spec;
    if spec.privileged {
        return device::host_devices().map_err(|error| OpError::because(&error));
    }
    let mut granted = Vec::new();
    let nodes: Vec<Device> = vendor.device_nodes.iter().map(vendor_node).collect();
    for device in spec.devices.iter().chain(&nodes) {
        granted.extend(device::granted(device).map_err(|error| OpError::because(&error))?);
    }
    Ok(granted)
}

async fn vendor_devices(spec: &ContainerSpec) -> Result<Edits, OpError> {
    if spec.vendor_devices.is_empty() {
        return Ok(Edits::default());
    }
    let names = spec.vendor_devices.clone();
    let found = tokio::task::spawn_blocking(move || Registry::of_host().edits(&names)).await;
    let edits = found.map_err(|error| OpError::because(&error))?;
    edits.map_err(|error| OpError {
        exit_code: Some(125),
        ..OpError::because(&error)
    })
}

fn vendor_hooks(hooks: &[crate::cdi::Hook]) -> Option<Hooks> {
    let hook = |it: &crate::cdi::Hook| {
        let mut hook = Hook::default();
        hook.set_path(it.path.clone());
        hook.set_args((!it.args.is_empty()).then(|| it.args.clone()));
        hook.set_env((!it.env.is_empty()).then(|| it.env.clone()));
        hook.set_timeout(it.timeout);
        hook
    };
    let mut all = Hooks::default();
    all.set_create_container(Some(hooks.iter().map(hook).collect()));
    (!hooks.is_empty()).then_some(all)
}

fn vendor_node(node: &DeviceNode) -> Device {
    let source = match node.host_path.is_empty() {
        true => &node.path,
        false => &node.host_path,
    };
    Device {
        source: source.clone(),
        target: node.path.clone(),
        permissions: node.permissions.clone(),
    }
}

fn vendor_mount(mount: &CdiMount) -> ResolvedMount {
    let has = |option: &str| mount.options.iter().any(|it| it == option);
    ResolvedMount {
        target: mount.container_path.clone(),
        read_only: has("ro"),
        source: ResolvedSource::Host {
            path: mount.host_path.clone().into(),
            recursive: has("rbind"),
            writable_below: false,
            propagation: None,
        },
    }
}

/// The disks that are limited, by number.
fn disks(spec: &ContainerSpec) -> Result<Vec<LimitedDisk>, OpError> {
    let limits = spec.resources.block_devices.iter();
    let disk = |limit: &BlockLimit| {
        let (major, minor) = device::disk(Path::new(&limit.path)).map_err(|error| OpError {
            exit_code: Some(125),
            ..OpError::because(&error)
        })?;
        Ok(LimitedDisk {
            major,
            minor,
            kind: limit.kind,
            amount: limit.amount,
        })
    };
    limits.map(disk).collect()
}

fn cgroup(parent: &Path, chosen: Option<&str>, id: &ContainerId) -> PathBuf {
    match chosen {
        Some(chosen) => Path::new("/")
            .join(chosen.trim_start_matches('/'))
            .join(id.as_str()),
        None => parent.join(id.as_str()),
    }
}

fn log_options(run: &Run) -> LogOptions {
    let logging = &run.task.spec.logging;
    LogOptions {
        files: match logging.driver {
            LogDriver::None => None,
            LogDriver::File => Some(LogFiles {
                max_size: logging.max_size.unwrap_or(LOG_MAX_SIZE),
                max_files: logging.max_file.unwrap_or(LOG_MAX_FILES),
            }),
        },
    }
}
