//! This node's place in a cluster: how it gets one, keeps it, and gives it up.
//!
//!     alone ── init ──► manager ◄── promoted ─┐
//!       ▲  └── join ──► manager or worker ────┴─► demoted
//!       └──── leave ───┘
//!
//! Whatever changes what kind of node this is, is written down first and then begins with a new
//! start of the process ([`transition`]): there is one way to become something, and it is the one
//! that is taken after a crash too. Containers are not in the way of it, they outlive the process.

mod address;
pub mod advertise;
mod enrol;
mod error;
pub mod info;
mod leave;
mod links;
mod renewal;
pub mod rotation;
pub mod transition;
mod visit;
pub mod whereabouts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use scheduler::control_plane::{Command, Refusal};
use scheduler::model::cluster::{Cluster, ClusterSettings};
use scheduler::model::id::NodeId;
use scheduler::model::node::{Availability, NodeDescription, Role};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::advertise::Wish;
use self::transition::Transition;
use self::whereabouts::Whereabouts;
use crate::identity::{
    self, Credentials, Identity, JoinToken, Request, Store, new_authority, new_cluster_id, new_key,
    new_secret,
};
use crate::manager::ManagerHandle;
use crate::peer::{self, Admission, Gate, Identities, PeerAddress, Peers, Router};
use crate::seal::NodeKey;

pub use address::watch;
pub use enrol::routes;
pub use error::ClusterError;
pub use links::{MemberLinks, raft_routes};
pub use renewal::follow;
pub use visit::{visit, visitor_routes};

/// A manager that nobody listens to tries again after this.
const INTRODUCE_AGAIN: Duration = Duration::from_secs(1);

/// What a node is told about its addresses when it starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub data_root: PathBuf,
    /// `--listen-addr`, `--advertise-addr`: take the place of what was chosen before.
    pub listen: Option<String>,
    pub advertise: Option<String>,
}

/// See the module. Shared by everything that speaks with other nodes.
pub struct Membership {
    node: NodeId,
    description: NodeDescription,
    config: Config,
    root: PathBuf,
    key: NodeKey,
    store: Store,
    identity: watch::Sender<Option<Arc<Identity>>>,
    peers: Peers,
    /// Known once the process has put everything together.
    serving: OnceLock<(Admission, Router)>,
    /// One change at a time; holds what closes the port.
    port: Mutex<Option<CancellationToken>>,
    again: CancellationToken,
    /// The managers, whenever somebody comes and says where they are.
    found: watch::Sender<Vec<PeerAddress>>,
    whereabouts: Arc<Whereabouts>,
}

/// Answer to `cluster init`, and to `join-token`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    pub cluster: String,
    pub worker: String,
    pub manager: String,
    /// Where managers can be reached, this one first.
    pub addresses: Vec<SocketAddr>,
}

/// `POST /x/cluster/init`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InitRequest {
    pub listen: Option<String>,
    pub advertise: Option<String>,
}

/// `POST /x/cluster/join`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinRequest {
    pub token: String,
    /// Managers, `host` or `host:port`.
    pub managers: Vec<String>,
    pub listen: Option<String>,
    pub advertise: Option<String>,
    /// Of a node that the cluster does not know yet.
    pub availability: Availability,
}

/// What a node has become.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    pub cluster: String,
    pub node: NodeId,
    pub role: Role,
}

impl Membership {
    /// Reads what this node is.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError`] when what is kept of it cannot be read.
    pub fn open(
        config: &Config,
        node: NodeId,
        description: NodeDescription,
        key: &NodeKey,
    ) -> Result<Arc<Self>, ClusterError> {
        let store = Store::new(&config.data_root, key)?;
        let identity = match store.identity()? {
            Some(found) => Some(Arc::new(address::settle(config, found, &store)?)),
            None => None,
        };
        let (identity, identities) = watch::channel(identity);
        Ok(Arc::new(Self {
            node,
            description,
            config: config.clone(),
            root: config.data_root.clone(),
            key: key.clone(),
            store,
            identity,
            peers: Peers::new(identities),
            serving: OnceLock::new(),
            port: Mutex::new(None),
            again: CancellationToken::new(),
            found: watch::channel(Vec::new()).0,
            whereabouts: Arc::default(),
        }))
    }

    /// What this node keeps on its disk is sealed with it.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What this node says of itself now.
    fn description(&self) -> NodeDescription {
        let identity = self.identity.borrow();
        let authority = identity.as_ref().map(|it| it.authority.clone());
        NodeDescription {
            authority: authority.unwrap_or_default(),
            ..self.description.clone()
        }
    }

    /// What this node is; `None` when it stands alone.
    pub fn role(&self) -> Option<Role> {
        self.identity.borrow().as_ref().map(|it| it.role())
    }

    /// It came into a cluster that existed: its control plane waits for the leader.
    pub fn has_joined(&self) -> bool {
        let identity = self.identity.borrow();
        identity.as_ref().is_some_and(|it| it.credentials.joined)
    }

    pub fn identities(&self) -> Identities {
        self.identity.subscribe()
    }

    /// Where others reach this node.
    pub fn address(&self) -> Option<SocketAddr> {
        let identity = self.identity.borrow();
        identity.as_ref().map(|it| it.credentials.advertise)
    }

    /// The way to the other nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The managers as they were last told of, without this node.
    pub fn managers(&self) -> Vec<PeerAddress> {
        let known = self.store.managers().into_iter();
        known
            .filter(|(node, _)| *node != self.node)
            .map(|(node, address)| PeerAddress { node, address })
            .collect()
    }

    /// The same, whenever a manager has come and said where they are; empty until then.
    pub fn found(&self) -> watch::Receiver<Vec<PeerAddress>> {
        self.found.subscribe()
    }

    /// Where nodes say they are.
    pub fn whereabouts(&self) -> &Arc<Whereabouts> {
        &self.whereabouts
    }

    /// Keeps where the managers are for the next start.
    pub fn remember_managers(&self, managers: &[(NodeId, SocketAddr)]) {
        if managers.is_empty() || self.store.managers() == managers {
            return;
        }
        if let Err(error) = self.store.save_managers(managers) {
            tracing::warn!(%error, "the addresses of the managers could not be kept");
        }
    }

    /// Done when the process must start again, as something else.
    pub fn again(&self) -> CancellationToken {
        self.again.clone()
    }

    /// What is served to other nodes, from now on if this node is in a cluster, or once it is.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError::Listen`] when the port cannot be had.
    pub async fn serve(&self, admission: Admission, router: Router) -> Result<(), ClusterError> {
        // A second call would be a mistake of the process; the first one stays.
        let _ = self.serving.set((admission, router));
        let mut port = self.port.lock().await;
        let listen = self
            .identity
            .borrow()
            .as_ref()
            .map(|it| it.credentials.listen);
        if let Some(listen) = listen {
            let listener = peer::bind(listen).await?;
            *port = self.open_port(listener);
        }
        Ok(())
    }

    fn open_port(&self, listener: tokio::net::TcpListener) -> Option<CancellationToken> {
        let (admission, router) = self.serving.get()?.clone();
        let gate = Gate {
            identities: self.identities(),
            admission,
            router,
        };
        let closed = self.again.child_token();
        tokio::spawn(peer::serve(listener, gate, closed.clone()));
        Some(closed)
    }

    /// Makes this host a cluster that others can join. What runs on it goes on.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError`]; the host stands alone as before then.
    pub async fn init(
        &self,
        manager: &ManagerHandle,
        request: &InitRequest,
    ) -> Result<Tokens, ClusterError> {
        let mut port = self.port.lock().await;
        self.stands_alone()?;
        let wish = Wish::parse(request.listen.as_deref(), request.advertise.as_deref())?;
        let (listen, advertise) = wish.choose(&advertise::of_this_host())?;
        let listener = peer::bind(listen).await?;

        let id = new_cluster_id();
        let authority = new_authority(&id, SystemTime::now())?;
        let cluster = Cluster {
            id,
            epoch: 0,
            certificate_authority: authority,
            worker_token: new_secret(),
            manager_token: new_secret(),
            settings: ClusterSettings::default(),
            created: scheduler::model::time::Timestamp::EPOCH,
        };
        let key = new_key()?;
        let identity = self.own_certificate(&cluster, &key, (listen, advertise), (0, 0))?;
        self.store.save(&identity.credentials)?;
        let tokens = tokens(&cluster, vec![advertise])?;
        let command = Command::InitCluster {
            cluster: Box::new(cluster),
            node: self.node.clone(),
            address: advertise,
            public_key: identity.facts.public_key.clone(),
        };
        if let Err(refusal) = manager.command(command).await {
            self.store.forget()?;
            return Err(refusal.into());
        }
        self.identity.send_replace(Some(Arc::new(identity)));
        *port = self.open_port(listener);
        info!(%advertise, cluster = tokens.cluster, "this host is a cluster now");
        Ok(tokens)
    }

    /// A certificate for this node, as a manager, signed here: a manager has the authority's key.
    fn own_certificate(
        &self,
        cluster: &Cluster,
        key: &rcgen::KeyPair,
        (listen, advertise): (SocketAddr, SocketAddr),
        told: (u64, u64),
    ) -> Result<Identity, ClusterError> {
        let request = Request::parse(&identity::request(key)?)?;
        let times = (SystemTime::now(), cluster.settings.certificate_validity());
        let authority = &cluster.certificate_authority;
        let role = Role::Manager;
        let certificate = identity::sign(authority, request, &self.node, role, &cluster.id, times)?;
        Ok(Identity::new(Credentials {
            certificate,
            private_key: key.serialize_pem(),
            authorities: cluster.certificate_authority.trusted(),
            told,
            listen,
            advertise,
            interface: address::interface_of(advertise.ip(), &advertise::on_this_host()),
            joined: self.has_joined(),
        })?)
    }

    /// Enters a cluster with a token. The process starts again afterwards.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError`]; the host stands alone as before then.
    pub async fn join(
        &self,
        manager: &ManagerHandle,
        request: &JoinRequest,
    ) -> Result<Joined, ClusterError> {
        let _port = self.port.lock().await;
        self.stands_alone()?;
        let token: JoinToken = request.token.parse()?;
        let managers = advertise::managers(&request.managers).await?;
        let wish = Wish::parse(request.listen.as_deref(), request.advertise.as_deref())?;
        // What was named is there; whatever else, the way to the manager will tell.
        wish.choose_towards(wish.listen().ip())?;
        runs_nothing(&manager.state())?;
        // Taken before asking, so that a manager can try it.
        let listener = peer::bind(wish.listen()).await?;
        let key = self.store.joining_key()?;
        let newcomer = enrol::Newcomer {
            node: &self.node,
            description: &self.description,
            wish: &wish,
            key: &key,
            availability: request.availability,
        };
        let enrolled = enrol::ask_to_join(&token, &managers, &newcomer).await?;
        drop(listener);
        let joined = self.take(enrolled, &key, wish.listen())?;
        info!(cluster = joined.cluster, role = %joined.role, "joined; the node starts again");
        self.again.cancel();
        Ok(joined)
    }

    /// Writes down what this node is from its next start on.
    fn take(
        &self,
        enrolled: enrol::Enrolled,
        key: &rcgen::KeyPair,
        listen: SocketAddr,
    ) -> Result<Joined, ClusterError> {
        let identity = Identity::new(Credentials {
            certificate: enrolled.certificate,
            private_key: key.serialize_pem(),
            authorities: enrolled.authorities,
            told: enrolled.told,
            listen,
            advertise: enrolled.address,
            interface: address::interface_of(enrolled.address.ip(), &advertise::on_this_host()),
            joined: true,
        })?;
        if *identity.node() != self.node {
            return Err(ClusterError::WrongCertificate);
        }
        Transition::Joined.begin(&self.root)?;
        self.store.save_managers(&enrolled.managers)?;
        self.store.save(&identity.credentials)?;
        Ok(Joined {
            cluster: identity.facts.cluster.clone(),
            node: self.node.clone(),
            role: identity.role(),
        })
    }

    fn stands_alone(&self) -> Result<(), ClusterError> {
        match self.identity.borrow().as_ref() {
            Some(identity) => Err(ClusterError::AlreadyMember {
                cluster: identity.facts.cluster.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The tokens of a cluster, and where its managers are.
///
/// # Errors
///
/// Returns [`ClusterError::Identity`] when the authority's certificate cannot be read.
pub fn tokens(cluster: &Cluster, addresses: Vec<SocketAddr>) -> Result<Tokens, ClusterError> {
    let authority = &cluster.certificate_authority.certificate;
    let token = |role| JoinToken::new(authority, cluster.token(role).clone());
    Ok(Tokens {
        cluster: cluster.id.clone(),
        worker: token(Role::Worker)?.to_string(),
        manager: token(Role::Manager)?.to_string(),
        addresses,
    })
}

/// A node that joins forgets what it decided on its own: there must be nothing to forget.
fn runs_nothing(state: &scheduler::state::State) -> Result<(), ClusterError> {
    let stacks: Vec<String> = state.stacks.keys().cloned().collect();
    let alone = |service: &&Arc<scheduler::model::service::Service>| {
        service.is_standalone() && service.stack.is_none()
    };
    let containers = state.services.values().filter(alone).count();
    if stacks.is_empty() && containers == 0 {
        return Ok(());
    }
    Err(ClusterError::Busy { stacks, containers })
}

/// Removes a file or a directory with all that is in it, if it is there.
fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where to begin to look for the manager that leads: where the list that was kept says, and where
/// a manager's state does. Either may be the newer one: a state is as old as the last entry that is
/// known to be agreed on.
pub fn known_managers(membership: &Membership, manager: &ManagerHandle) -> Vec<PeerAddress> {
    let agreed = enrol::managers(&manager.state()).into_iter();
    let agreed = agreed.map(|(node, address)| PeerAddress { node, address });
    let mut known: Vec<PeerAddress> = agreed.chain(membership.managers()).collect();
    known.retain(|it| it.node != membership.node);
    known.sort();
    known.dedup();
    known
}

/// A manager that has started says who and where it is, as soon as somebody listens.
pub async fn introduce(membership: Arc<Membership>, manager: ManagerHandle) {
    loop {
        match say_hello(&membership, &manager).await {
            Ok(()) => break,
            Err(Refusal::UnknownNode { .. }) => {
                tracing::error!("this node was removed from its cluster");
                return;
            }
            Err(_) => tokio::time::sleep(INTRODUCE_AGAIN).await,
        }
    }
    // The first thing that was decided, and so everything before is known now.
    if !membership.has_joined() && manager.state().cluster.is_none() {
        tracing::warn!("`cluster init` was broken off; this host stands alone");
        if transition::Transition::Alone
            .begin(&membership.root)
            .is_ok()
        {
            membership.again.cancel();
        }
    }
}

async fn say_hello(membership: &Membership, manager: &ManagerHandle) -> Result<(), Refusal> {
    let node = membership.node().clone();
    let hello = Command::RegisterNode {
        node: node.clone(),
        description: membership.description(),
    };
    manager.command(hello).await.map(drop)
}
