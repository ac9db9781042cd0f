//! The node's process: opens everything in order, serves until told to stop, and leaves containers alone.
//!
//!     lock ─► identity ─► drivers ─► ledger ─► manager or worker ─► session ─► node loop ─► API
//!
//! A start after a crash is a start: each driver finds what its predecessor left.

mod decider;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use nix::fcntl::{Flock, FlockArg};
use scheduler::model::id::NodeId;
use scheduler::model::node::NodeDescription;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api;
use crate::api::relay::Door;
use crate::clock::Clock;
use crate::cluster::{self, ClusterError, Membership, transition};
use crate::container::Containers;
use crate::description;
pub use crate::description::{Resources, ResourcesError};
use crate::dns::Dns;
use crate::fetch::Fetcher;
use crate::heap;
use crate::host::OpError;
use crate::host::linux::{Drivers, LinuxHost};
use crate::identity::{Store, StoreError};
use crate::image::{Images, Trust};
use crate::ledger::{self, Ledger, Remembered};
use crate::network::{Instance, Networks, NetworksConfig};
use crate::node::{self, Contact};
use crate::preflight::{self, Facts};
use crate::reach;
use crate::seal::{NodeKey, SealError};
use crate::secret::Secrets;
use crate::session;
use crate::supply::Supply;
use crate::volume::Volumes;

use self::decider::{Decider, Told};

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
    /// `--listen-addr`, `--advertise-addr`: take the place of what was chosen when the cluster was
    /// made or joined.
    pub listen_addr: Option<String>,
    pub advertise_addr: Option<String>,
    /// Registries, `host` or `host:port`, that are spoken to in clear.
    pub insecure_registries: Vec<String>,
    /// What constraints call `engine.labels.NAME`.
    pub labels: BTreeMap<String, String>,
    /// Things of this machine by kind, which services may reserve.
    pub generic_resources: Resources,
}

impl Config {
    fn description(&self) -> NodeDescription {
        description::of_this_machine(&self.labels, &self.generic_resources)
    }
}

/// Why a node has ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// It is to start again at once, as something else: a process that begins anew holds nothing
    /// of what it was.
    Again,
}

/// Why a node could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{}", preflight::sentence(.0))]
    Lacking(Vec<preflight::Lack>),
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
    #[error("the node's key cannot be used")]
    Key(#[from] SealError),
    #[error("what is kept of the cluster cannot be used")]
    Store(#[from] StoreError),
    #[error("the node cannot take its place in the cluster")]
    Cluster(#[from] ClusterError),
    #[error("what was last told could not be read")]
    Ledger(#[from] ledger::LedgerError),
}

/// Runs a node until `shutdown`.
///
/// # Errors
///
/// Returns [`RunError`] when it cannot begin; once it answers it goes on whatever happens.
pub fn run(
    config: Config,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<Ended, RunError>> {
    // In a box: else whoever calls it compiles the whole node a second time.
    Box::pin(serve(config, shutdown))
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<Ended, RunError> {
    check_host()?;
    private_directory(&config.data_root)?;
    private_directory(&config.exec_root)?;
    let _lock = lock(&config.data_root)?;
    let key = NodeKey::open(&config.data_root)?;
    let cleared = transition::finish(&config.data_root, &Store::new(&config.data_root, &key)?)?;
    let node = identity(&config.data_root)?;
    let membership = open_membership(&config, &node, &key)?;
    let again = membership.again();
    let shutdown = stops_with(&shutdown, &again);
    let clock = Clock::start();
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;

    let (drivers, ended) = open_drivers(&config, &membership, clock).await?;
    let (troubles, troubled) = watch::channel(node::Troubles::new());
    let parts = |manager| api::Parts {
        node: node.clone(),
        description: config.description(),
        root: config.data_root.clone(),
        manager,
        membership: membership.clone(),
        containers: drivers.containers.clone(),
        images: drivers.images.clone(),
        fetcher: drivers.fetcher.clone(),
        volumes: drivers.volumes.clone(),
        networks: drivers.networks.clone(),
        troubles: troubled.clone(),
    };
    let ledger = Ledger::open(
        &config.data_root.join("cluster/ledger"),
        Arc::new(key.sealer("ledger")?),
    )?;
    let remembered = remembered(&membership, &ledger);
    let (assign, assigned) = watch::channel(Arc::default());
    let kept = ledger::keep(ledger.clone(), remembered.assignment.clone(), assigned);
    let (statuses, seen) = watch::channel(Arc::default());
    let door = Door::default();
    let supply = drivers.fetcher.supply();
    let told_of = Told {
        cleared,
        known: kept.known,
        seen,
    };
    let Decider {
        handle: manager,
        leader,
    } = Decider::open(&config, &membership, told_of, (&door, supply)).await?;
    let context = Arc::new(api::Context::new(parts(manager.clone())));
    door.open(&context);

    let mut listeners = Vec::new();
    for path in &config.listen {
        listeners.push(api::listen(path).await?);
    }
    let containers = drivers.containers.clone();
    let (host, events) = LinuxHost::new(drivers, ended);
    let (reports, said) = mpsc::channel(64);
    let (contact, contacts) = watch::channel(Contact::Lost);
    let (reruns, counted) = watch::channel(remembered.reruns.clone());
    let resting = tokio::spawn(heap::settle(manager.states()));
    let attending = tokio::spawn(session::attend(session::Attendance {
        node: node.clone(),
        description: config.description(),
        managers: cluster::known_managers(&membership, &manager),
        found: membership.found(),
        identities: membership.identities(),
        peers: membership.peers().clone(),
        own: leader,
        accepted: (remembered.assignment.as_ref()).map_or((0, 0), |it| it.number()),
        assignments: assign,
        contact,
        reports: said,
    }));
    let counting = tokio::spawn(ledger::keep_reruns(ledger, counted));
    let reaching = tokio::spawn(reach::run(reach::Sources {
        assignments: kept.told.clone(),
        contact: contacts.clone(),
        reports: reports.clone(),
        containers,
    }));
    let sources = node::Sources {
        remembered,
        assignments: kept.told,
        contact: contacts,
        reruns,
        statuses,
        troubles,
        events,
        reports,
        shutdown: shutdown.clone(),
    };
    let looping = tokio::spawn(node::run(host, clock, sources));
    info!(%node, data_root = %config.data_root.display(), "the node answers");
    let serving = tokio::spawn(api::serve(context, listeners, shutdown.clone()));

    let ended = looping.await;
    shutdown.cancel();
    let _ = serving.await;
    attending.abort();
    counting.abort();
    resting.abort();
    reaching.abort();
    for path in &config.listen {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    match ended {
        Ok(result) => result?,
        Err(error) => warn!(%error, "the node loop broke off"),
    }
    Ok(match again.is_cancelled() {
        true => Ended::Again,
        false => Ended::Stopped,
    })
}

fn open_membership(
    config: &Config,
    node: &NodeId,
    key: &NodeKey,
) -> Result<Arc<Membership>, RunError> {
    let told = cluster::Config {
        data_root: config.data_root.clone(),
        listen: config.listen_addr.clone(),
        advertise: config.advertise_addr.clone(),
    };
    let description = config.description();
    Ok(Membership::open(&told, node.clone(), description, key)?)
}

/// What a member of a cluster was told before it stopped. A host that stands alone has the log of
/// its decisions; a page that cannot be read is as good as none.
fn remembered(membership: &Membership, ledger: &Ledger) -> Remembered {
    if membership.role().is_none() {
        return Remembered::default();
    }
    ledger.read().unwrap_or_else(|error| {
        let error = OpError::because(&error);
        warn!(%error, "what was last told cannot be read: the node waits for a manager");
        Remembered::default()
    })
}

/// Cancelled with either.
fn stops_with(shutdown: &CancellationToken, again: &CancellationToken) -> CancellationToken {
    let stop = shutdown.child_token();
    let (stopped, again) = (stop.clone(), again.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = again.cancelled() => stopped.cancel(),
            () = stopped.cancelled() => {}
        }
    });
    stop
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

/// What is missing is said at once, not when the first container needs it.
fn check_host() -> Result<(), RunError> {
    let facts = Facts::probe();
    for preflight::Lack { what, remedy } in preflight::weak(&facts) {
        warn!("this host lacks {what}. {remedy}");
    }
    match preflight::lacking(&facts) {
        lacking if lacking.is_empty() => Ok(()),
        lacking => Err(RunError::Lacking(lacking)),
    }
}

async fn open_drivers(
    config: &Config,
    membership: &Arc<Membership>,
    clock: Clock,
) -> Result<(Drivers, mpsc::Receiver<crate::container::Ended>), RunError> {
    let (root, exec_root) = (&config.data_root, &config.exec_root);
    let (containers, ended) = Containers::open(&root.join("containers"), exec_root).await?;
    let trust = Trust::of_system(config.insecure_registries.clone());
    let images = Images::open(&root.join("images"), trust).await?;
    let supply = Supply::new(membership.clone(), images.clone());
    let networks = Networks::open(NetworksConfig {
        instance: Instance::of_root(root),
        state_dir: exec_root.join("network"),
    })
    .await?;
    let drivers = Drivers {
        containers,
        fetcher: Arc::new(Fetcher::new(images.clone(), supply)),
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
