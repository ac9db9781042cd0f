//! The real host: puts the drivers together. Nothing else knows more than one of them.
//!
//! | file | operations |
//! |---|---|
//! | [`prepare`] | image, volumes, secrets, `/etc` files → bundle |
//! | [`run`] | create, connect, start, adopt, release |
//! | [`probe`] | health checks of running containers |
//! | [`hook`] | commands that accompany a container's life |
//! | [`share`] | volumes of other containers, files of images |
//! | [`hosts`] | the text of `/etc/hosts` (pure) |

mod hook;
mod hosts;
mod prepare;
mod probe;
mod run;
mod share;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scheduler::assignment::{AssignedNetwork, Assignment, SharedPort};
use scheduler::model::id::{ContainerId, TaskId};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::warn;

use super::{AnonymousVolumes, Done, Host, HostEvent, Observed, Op, OpError, Phase, SeenContainer};
use crate::clock::Clock;
use crate::container::{Containers, Ended, ObservedContainer, Phase as ContainerPhase};
use crate::dns::Dns;
use crate::fetch::Fetcher;
use crate::image::Images;
use crate::network::Networks;
use crate::secret::Secrets;
use crate::volume::Volumes;

/// The drivers of this machine.
pub struct Drivers {
    pub containers: Arc<Containers>,
    pub images: Arc<Images>,
    pub fetcher: Arc<Fetcher>,
    pub networks: Arc<Networks>,
    pub dns: Arc<Dns>,
    pub volumes: Arc<Volumes>,
    pub secrets: Arc<Secrets>,
    pub clock: Clock,
    /// The parent of all containers' cgroups.
    pub cgroup_parent: PathBuf,
}

pub struct LinuxHost {
    drivers: Drivers,
    events: mpsc::Sender<HostEvent>,
    /// What runs and was connected by this process.
    live: Mutex<BTreeMap<ContainerId, Live>>,
    announced: watch::Sender<Arc<[AssignedNetwork]>>,
    published: watch::Sender<Arc<[SharedPort]>>,
}

/// A running container.
struct Live {
    pid: u32,
    networks: Vec<scheduler::model::id::NetworkId>,
    stop_signal: i32,
    probe: Option<AbortHandle>,
}

impl LinuxHost {
    /// Also starts what listens for containers that end.
    pub fn new(
        drivers: Drivers,
        mut ended: mpsc::Receiver<Ended>,
    ) -> (Arc<Self>, mpsc::Receiver<HostEvent>) {
        let (events, receiver) = mpsc::channel(256);
        let (announced, changes) = watch::channel(Arc::from([]));
        // What an earlier process answered on, it may have to end.
        let (published, ports) = watch::channel(Arc::from(drivers.networks.published()));
        let host = Arc::new(Self {
            drivers,
            events: events.clone(),
            live: Mutex::default(),
            announced,
            published,
        });
        tokio::spawn(publish(host.drivers.networks.clone(), ports));
        tokio::spawn(async move {
            while let Some(Ended {
                container,
                task,
                exit,
            }) = ended.recv().await
            {
                if events
                    .send(HostEvent::Ended {
                        container,
                        task,
                        exit,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        tokio::spawn(balance(Arc::downgrade(&host), changes));
        (host, receiver)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn signal(&self, container: &ContainerId, signal: Option<&str>) -> Result<(), OpError> {
        let signal = match signal {
            Some(text) => crate::container::spec::parse_signal(text)
                .map_err(|error| OpError::because(&error))?,
            None => self
                .live()
                .get(container)
                .map_or(libc::SIGTERM, |live| live.stop_signal),
        };
        self.drivers
            .containers
            .signal(container, signal)
            .await
            .map_err(|error| OpError::because(&error))
    }

    async fn remove(
        &self,
        container: &ContainerId,
        volumes: AnonymousVolumes,
    ) -> Result<(), OpError> {
        let drivers = &self.drivers;
        // One that was prepared and never started was not released.
        drivers
            .secrets
            .remove(container)
            .await
            .map_err(|error| OpError::because(&error))?;
        drivers
            .containers
            .remove(container)
            .await
            .map_err(|error| OpError::because(&error))?;
        if volumes == AnonymousVolumes::Keep {
            return Ok(());
        }
        let all = drivers
            .volumes
            .list()
            .await
            .map_err(|error| OpError::because(&error))?;
        for (name, volume) in all {
            if volume
                .anonymous
                .is_some_and(|owner| owner.container == *container)
            {
                drivers
                    .volumes
                    .remove(&name)
                    .await
                    .map_err(|error| OpError::because(&error))?;
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<Observed, OpError> {
        let drivers = &self.drivers;
        let mut observed = Observed::default();
        for container in drivers
            .containers
            .list()
            .await
            .map_err(|error| OpError::because(&error))?
        {
            let id = container.id.clone();
            let seen = self.seen(container).await;
            observed.containers.insert(id, seen);
        }
        for network in drivers
            .networks
            .observe()
            .await
            .map_err(|error| OpError::because(&error))?
        {
            observed.networks.insert(network.id, None);
        }
        for (name, volume) in drivers
            .volumes
            .list()
            .await
            .map_err(|error| OpError::because(&error))?
        {
            observed.volumes.insert(name, volume.spec);
        }
        self.disconnect_strangers(&observed).await;
        Ok(observed)
    }

    async fn seen(&self, container: ObservedContainer) -> SeenContainer {
        let phase = match container.phase {
            // Its bundle may name processes that are gone: it costs little to write it anew.
            ContainerPhase::Prepared => Phase::Bare,
            ContainerPhase::Created { .. } => {
                // Nobody knows how far its network had come.
                self.end_half_started(&container.id).await;
                Phase::Bare
            }
            ContainerPhase::Running { started_at, .. } => Phase::Found { started_at },
            ContainerPhase::Ended(exit) => Phase::Ended(exit),
        };
        SeenContainer::new(container.task, phase)
    }

    /// Kills a container that waits at the gate, and waits until its shim has left.
    async fn end_half_started(&self, id: &ContainerId) {
        if let Err(error) = self.drivers.containers.kill(id).await {
            warn!(container = %id, %error, "a half-started container could not be ended");
        }
        for _ in 0..500 {
            let seen = self.drivers.containers.observe(id).await;
            if !seen.is_some_and(|seen| matches!(seen.phase, ContainerPhase::Created { .. })) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        warn!(container = %id, "the shim of a half-started container does not leave");
    }

    /// Ports and interfaces of containers that ended, or vanished, while nobody looked.
    async fn disconnect_strangers(&self, observed: &Observed) {
        for id in self.drivers.networks.containers() {
            let alive = observed
                .containers
                .get(&id)
                .is_some_and(|seen| seen.phase.is_alive());
            if !alive && let Err(error) = self.drivers.networks.disconnect(&id).await {
                warn!(container = %id, %error, "what it left on its networks could not be removed");
            }
        }
        for id in self.drivers.secrets.containers() {
            let alive = (observed.containers.get(&id)).is_some_and(|seen| seen.phase.is_alive());
            if !alive && let Err(error) = self.drivers.secrets.remove(&id).await {
                warn!(container = %id, %error, "its secrets could not be wiped");
            }
        }
    }

    /// Containers that run since a time when the network had no tunnels.
    async fn fit(&self, network: &AssignedNetwork) {
        if network.overlay.is_none() {
            return;
        }
        let on_it: Vec<(ContainerId, u32)> = (self.live().iter())
            .filter(|(_, live)| live.networks.contains(&network.id))
            .map(|(id, live)| (id.clone(), live.pid))
            .collect();
        for (container, pid) in on_it {
            if let Err(error) = self.drivers.networks.fit(&container, pid).await {
                warn!(%container, %error, "its packets may be too large for other nodes");
            }
        }
    }

    async fn remove_network(&self, id: &scheduler::model::id::NetworkId) -> Result<(), OpError> {
        self.drivers
            .networks
            .remove(id)
            .await
            .map_err(|error| OpError::because(&error))
    }
}

impl Host for LinuxHost {
    async fn observe(&self) -> Result<Observed, OpError> {
        self.look().await
    }

    async fn execute(&self, op: &Op) -> Result<Done, OpError> {
        let drivers = &self.drivers;
        match op {
            Op::EnsureNetwork(network) => {
                drivers
                    .networks
                    .ensure(network)
                    .await
                    .map_err(|error| OpError::because(&error))?;
                self.fit(network).await;
            }
            Op::RemoveNetwork(id) => self.remove_network(id).await?,
            Op::EnsureVolume(spec) => {
                let made = drivers.volumes.ensure(spec, drivers.clock.now()).await;
                made.map_err(|error| OpError::because(&error))?;
            }
            Op::RemoveVolume(name) => {
                drivers
                    .volumes
                    .remove(name)
                    .await
                    .map_err(|error| OpError::because(&error))?;
            }
            Op::Prepare(run) => return self.prepare(run).await,
            Op::Start(run) => return self.start(run).await,
            Op::Adopt(run) => return self.adopt(run).await,
            Op::PostStart(run) => self.post_start(run).await?,
            Op::PreStop { run, limit } => self.pre_stop(run, *limit).await,
            Op::Signal { container, signal } => self.signal(container, signal.as_deref()).await?,
            Op::Kill(container) => {
                drivers
                    .containers
                    .kill(container)
                    .await
                    .map_err(|error| OpError::because(&error))?;
            }
            Op::Release(container) => self.release(container).await?,
            Op::Remove { container, volumes } => self.remove(container, *volumes).await?,
        }
        Ok(Done::Plainly)
    }

    async fn announce(&self, assignment: &Assignment) {
        let networks = assignment.networks.as_slice();
        let ports = &assignment.published;
        self.published.send_if_modified(|published| {
            let changed = **published != **ports;
            if changed {
                *published = Arc::from(ports.as_slice());
            }
            changed
        });
        self.drivers.dns.update(networks);
        // Without virtual addresses, before and now, there is nothing to balance.
        let balanced =
            |networks: &[AssignedNetwork]| networks.iter().any(|n| !n.virtual_addresses.is_empty());
        if balanced(networks) || balanced(&self.announced.borrow()) {
            self.announced.send_replace(Arc::from(networks));
        }
    }
}

/// Keeps the virtual addresses in all running containers as they were last announced.
async fn balance(
    host: std::sync::Weak<LinuxHost>,
    mut changes: watch::Receiver<Arc<[AssignedNetwork]>>,
) {
    while changes.changed().await.is_ok() {
        let networks = changes.borrow_and_update().clone();
        let Some(host) = host.upgrade() else { return };
        let live: Vec<(ContainerId, u32, Vec<_>)> = (host.live().iter())
            .map(|(id, live)| (id.clone(), live.pid, live.networks.clone()))
            .collect();
        for (container, pid, on) in live {
            let on: Vec<&AssignedNetwork> = networks
                .iter()
                .filter(|network| on.contains(&network.id))
                .collect();
            if let Err(error) = host.drivers.networks.balance(&container, pid, &on).await
                // One that has ended meanwhile needs none.
                && has_namespaces(pid)
            {
                warn!(%container, %error, "its virtual addresses could not be set");
            }
        }
    }
}

/// Whether a process lives: one that has ended has left its namespaces, also while it is a zombie.
fn has_namespaces(pid: u32) -> bool {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok()
}

/// Keeps the ports of services as they were last announced.
async fn publish(networks: Arc<Networks>, mut changes: watch::Receiver<Arc<[SharedPort]>>) {
    while changes.changed().await.is_ok() {
        let ports = changes.borrow_and_update().clone();
        if let Err(error) = networks.publish(&ports).await {
            warn!(%error, "the ports of services could not be published; trying again");
            changes.mark_changed();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// What must be said of a container's run once its health is known.
fn health_event(
    container: &ContainerId,
    task: &TaskId,
    health: scheduler::model::task::Health,
) -> HostEvent {
    HostEvent::Health {
        container: container.clone(),
        task: task.clone(),
        health,
    }
}
