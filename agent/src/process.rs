//! The node's process: opens everything in order, serves until told to stop, and leaves containers alone.
//!
//!     lock ─► identity ─► drivers ─► manager ─► node loop ─► API
//!
//! A start after a crash is a start: each driver finds what its predecessor left.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use scheduler::control_plane::Command;
use scheduler::model::id::NodeId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api;
use crate::clock::Clock;
use crate::container::Containers;
use crate::description;
use crate::dns::Dns;
use crate::fetch::Fetcher;
use crate::host::linux::{Drivers, LinuxHost};
use crate::image::Images;
use crate::ledger;
use crate::manager::{self, Manager};
use crate::network::{Instance, Networks, NetworksConfig};
use crate::node::{self, Contact};
use crate::secret::Secrets;
use crate::volume::Volumes;

/// How a node is run. The names are dockerd's.
#[derive(Clone, Debug)]
pub struct Config {
    /// What must last: images, volumes, containers' files, the log of the cluster.
    pub data_root: PathBuf,
    /// Sockets and secrets of what runs; best on tmpfs.
    pub exec_root: PathBuf,
    /// Sockets to answer on.
    pub listen: Vec<PathBuf>,
    pub pidfile: Option<PathBuf>,
}

/// Why a node could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("a node needs root: it makes namespaces, mounts and networks")]
    NotRoot,
    #[error("another node already uses {root}")]
    InUse { root: PathBuf },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the containers could not be taken over")]
    Containers(#[from] crate::container::ContainerError),
    #[error("the image store could not be opened")]
    Images(#[from] crate::image::ImageError),
    #[error("the networks could not be taken over")]
    Networks(#[from] crate::network::NetworkError),
    #[error("the volumes could not be opened")]
    Volumes(#[from] crate::volume::VolumeError),
    #[error("the cluster's log could not be opened")]
    Manager(#[from] crate::manager::ManagerError),
    #[error("the node could not register")]
    Register(#[source] scheduler::control_plane::Refusal),
    #[error("the host could not be looked at")]
    Host(#[from] crate::host::OpError),
    #[error(transparent)]
    Listen(#[from] api::ListenError),
}

/// Runs a node until `shutdown`.
///
/// # Errors
///
/// Returns [`RunError`] when it cannot begin; once it answers it goes on whatever happens.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(RunError::NotRoot);
    }
    private_directory(&config.data_root)?;
    private_directory(&config.exec_root)?;
    let _lock = lock(&config.data_root)?;
    let node = identity(&config.data_root)?;
    let clock = Clock::start();
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;

    let (drivers, ended) = open_drivers(&config, clock).await?;
    let parts = |manager| api::Parts {
        node: node.clone(),
        description: description::of_this_machine(),
        root: config.data_root.clone(),
        manager,
        containers: drivers.containers.clone(),
        images: drivers.images.clone(),
        fetcher: drivers.fetcher.clone(),
        volumes: drivers.volumes.clone(),
        networks: drivers.networks.clone(),
    };
    let manager = Manager::start(manager::Config {
        dir: config.data_root.join("manager"),
        node: node.clone(),
        start: manager::Start::Found,
        links: None,
    })?;
    let register = Command::RegisterNode {
        node: node.clone(),
        description: description::of_this_machine(),
    };
    manager
        .command(register)
        .await
        .map_err(RunError::Register)?;
    let context = api::Context::new(parts(manager.clone()));

    let mut listeners = Vec::new();
    for path in &config.listen {
        listeners.push(api::listen(path).await?);
    }
    let (host, events) = LinuxHost::new(drivers, ended);
    let (reports, mut said) = mpsc::channel(64);
    // The manager is in this process: it always listens, and its log is the ledger.
    let (_contact, contact) = watch::channel(Contact::Open { session: 1 });
    let (reruns, _) = watch::channel(ledger::Reruns::new());
    let sources = node::Sources {
        remembered: ledger::Remembered::default(),
        assignments: manager.assignments(),
        contact,
        reruns,
        events,
        reports,
        shutdown: shutdown.clone(),
    };
    let looping = tokio::spawn(node::run(host, clock, sources));
    let reporting = tokio::spawn({
        let (manager, node) = (manager.clone(), node.clone());
        async move {
            while let Some(said) = said.recv().await {
                manager.report(node.clone(), said.report).await;
            }
        }
    });
    info!(%node, data_root = %config.data_root.display(), "the node answers");
    let serving = tokio::spawn(api::serve(context, listeners, shutdown.clone()));

    let ended = looping.await;
    shutdown.cancel();
    let _ = serving.await;
    reporting.abort();
    for path in &config.listen {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    match ended {
        Ok(result) => Ok(result?),
        Err(error) => {
            warn!(%error, "the node loop broke off");
            Ok(())
        }
    }
}

/// Sends what the node has to say about itself to standard error.
///
/// # Errors
///
/// Returns an error when `filter` is not understood: `info`, `warn,agent::network=debug`, …
pub fn log_to_stderr(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter: tracing_subscriber::EnvFilter = filter.parse()?;
    // A second call, in a test, keeps the first one's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    Ok(())
}

async fn open_drivers(
    config: &Config,
    clock: Clock,
) -> Result<(Drivers, mpsc::Receiver<crate::container::Ended>), RunError> {
    let (root, exec_root) = (&config.data_root, &config.exec_root);
    let (containers, ended) = Containers::open(&root.join("containers"), exec_root).await?;
    let images = Images::open(&root.join("images")).await?;
    let networks = Networks::open(NetworksConfig {
        instance: Instance::of_root(root),
        state_dir: exec_root.join("network"),
    })
    .await?;
    let drivers = Drivers {
        containers,
        fetcher: Arc::new(Fetcher::new(images.clone())),
        images,
        networks,
        dns: Dns::new(),
        volumes: Arc::new(Volumes::open(&root.join("volumes"))?),
        secrets: Arc::new(Secrets::new(exec_root)),
        clock,
        cgroup_parent: PathBuf::from("/wharfie"),
    };
    Ok((drivers, ended))
}

/// Makes a directory that only root can enter.
fn private_directory(path: &Path) -> Result<(), RunError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path);
    made.map_err(|source| RunError::Io {
        action: "make",
        path: path.to_owned(),
        source,
    })
}

/// Held for as long as the process lives; the kernel gives it back after a crash.
fn lock(root: &Path) -> Result<Flock<File>, RunError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(|source| RunError::Io {
        action: "open",
        path,
        source,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| RunError::InUse {
        root: root.to_owned(),
    })
}

/// The node's identifier: chosen at the first start, and kept.
fn identity(root: &Path) -> Result<NodeId, RunError> {
    let path = root.join("node-id");
    let io = |action| {
        let path = path.clone();
        move |source| RunError::Io {
            action,
            path,
            source,
        }
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(NodeId::new(text.trim())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("read")(error)),
        Ok(_) | Err(_) => {}
    }
    let id = hex::encode(rand::random::<[u8; 16]>());
    let mut file = tempfile::NamedTempFile::new_in(root).map_err(io("write"))?;
    file.write_all(id.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(io("write"))?;
    file.persist(&path)
        .map_err(|error| io("write")(error.error))?;
    Ok(NodeId::new(id))
}

/// Removed when the node stops.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> Result<Self, RunError> {
        let written = std::fs::write(path, format!("{}\n", std::process::id()));
        written.map_err(|source| RunError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Nobody is left to hear of an error.
        let _ = std::fs::remove_file(&self.0);
    }
}
