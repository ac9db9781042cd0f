//! From a bundle to a running, connected container, and back to nothing held.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::{AssignedNetwork, AssignedTask};
use scheduler::model::container::{NetworkMode, PublishedPort};
use scheduler::model::id::{ContainerId, NetworkId};
use scheduler::model::task::Health;
use scheduler::model::time::Timestamp;

use super::{LinuxHost, Live, has_namespaces};
use crate::container::health::HealthMonitor;
use crate::container::spec;
use crate::container::{ContainerError, Phase};
use crate::dns::{Upstream, View};
use crate::host::{Done, Hooks, OpError, Run};
use crate::image::Image;
use crate::network::{BoundPort, Endpoint};

impl LinuxHost {
    pub(super) async fn start(&self, run: &Run) -> Result<Done, OpError> {
        let task = &run.task;
        let image = self.image(run)?;
        if !task.joins.is_empty() {
            self.write_bundle(run, &image).await?;
        }
        let created = self
            .drivers
            .containers
            .create(&task.container, &task.id)
            .await;
        let pid = created.map_err(|error| start_error(&error))?.pid;
        let started = self.connect_and_open(run, pid).await;
        match started {
            Ok((started_at, ports)) => {
                self.forget_health(&task.container).await;
                let health = self.keep(run, &image, pid, started_at, None)?;
                Ok(Done::Started {
                    pid,
                    started_at,
                    ports,
                    health,
                    hooks: Hooks::after_start_of(task),
                })
            }
            Err(error) => {
                // Nothing may be left of a start that failed; the failure itself is what counts.
                let _ = self.drivers.containers.kill(&task.container).await;
                let _ = self.release(&task.container).await;
                Err(error)
            }
        }
    }

    async fn connect_and_open(
        &self,
        run: &Run,
        pid: u32,
    ) -> Result<(Timestamp, BTreeMap<String, u16>), OpError> {
        let id = &run.task.container;
        let ports = match self.connect(run, pid).await {
            Ok(ports) => ports,
            // A process that could not be set up took its namespaces along: why, is what counts. It is
            // only asked to start because it cannot.
            Err(error) if !has_namespaces(pid) => {
                let started = self.drivers.containers.start(id).await;
                return Err(started.map_or_else(|told| start_error(&told), |_| error));
            }
            Err(error) => return Err(error),
        };
        let started = self
            .drivers
            .containers
            .start(id)
            .await
            .map_err(|error| start_error(&error))?;
        Ok((started, ports))
    }

    /// Gives it its interfaces, names and addresses; returns the ports that it is reached by.
    async fn connect(&self, run: &Run, pid: u32) -> Result<BTreeMap<String, u16>, OpError> {
        let id = &run.task.container;
        let mut ports = BTreeMap::new();
        if has_own_network(&run.task.spec.network) {
            let endpoints: Vec<Endpoint<'_>> = (run.task.interfaces.iter())
                .zip(&run.networks)
                .map(|(interface, network)| Endpoint { interface, network })
                .collect();
            let (shared, own) = ports_of(&run.task);
            let networks = &self.drivers.networks;
            let free = networks.check_ports(&shared).await;
            free.map_err(|error| OpError::because(&error))?;
            let connected = networks.connect(id, pid, &endpoints, &own).await;
            ports = bound(&connected.map_err(|error| OpError::because(&error))?.ports);
            self.serve_names(run, pid).await?;
        }
        Ok(ports)
    }

    async fn serve_names(&self, run: &Run, pid: u32) -> Result<(), OpError> {
        let id = &run.task.container;
        let view = View {
            networks: ids(&run.networks),
            upstream: upstream(run),
        };
        self.drivers
            .dns
            .serve(id, pid, view)
            .await
            .map_err(|error| OpError::because(&error))?;
        let networks: Vec<&AssignedNetwork> = run.networks.iter().map(Arc::as_ref).collect();
        if networks
            .iter()
            .all(|network| network.virtual_addresses.is_empty())
        {
            return Ok(());
        }
        self.drivers
            .networks
            .balance(id, pid, &networks)
            .await
            .map_err(|error| OpError::because(&error))
    }

    /// Takes over a container that an earlier process of this node started.
    pub(super) async fn adopt(&self, run: &Run) -> Result<Done, OpError> {
        let id = &run.task.container;
        let seen = self
            .drivers
            .containers
            .observe(id)
            .await
            .map(|seen| seen.phase);
        let Some(Phase::Running { pid, started_at }) = seen else {
            // Its end is on the way as an event.
            return Ok(Done::Plainly);
        };
        let mut ports = BTreeMap::new();
        if has_own_network(&run.task.spec.network) {
            let adopted = self
                .drivers
                .networks
                .adopt(id)
                .await
                .map_err(|error| OpError::because(&error))?;
            ports = bound(&adopted.unwrap_or_default().ports);
            self.serve_names(run, pid).await?;
        }
        let image = self.image(run)?;
        let last = self.last_health(id).await;
        let health = self.keep(run, &image, pid, started_at, last.as_ref())?;
        Ok(Done::Started {
            pid,
            started_at,
            ports,
            health,
            hooks: self.hooks_of_adopted(run).await,
        })
    }

    /// Remembers a running container, and watches its health.
    fn keep(
        &self,
        run: &Run,
        image: &Image,
        pid: u32,
        started_at: Timestamp,
        last: Option<&Health>,
    ) -> Result<Option<Health>, OpError> {
        let defaults = Self::image_defaults(image);
        let spec = &run.task.spec;
        let stop_signal =
            spec::stop_signal(&defaults, spec).map_err(|error| OpError::because(&error))?;
        let watched = spec::effective_healthcheck(&defaults, spec).map(|check| {
            let monitor = HealthMonitor::new(check, started_at);
            self.watch_health(
                run,
                last.map_or(monitor.clone(), |last| monitor.resume(last)),
            )
        });
        let (probe, health) = watched.unzip();
        let live = Live {
            pid,
            networks: ids(&run.networks),
            stop_signal,
            probe,
        };
        if let Some(Live {
            probe: Some(probe), ..
        }) = self.live().insert(run.task.container.clone(), live)
        {
            probe.abort();
        }
        Ok(health)
    }

    /// Gives back what an ended container holds. Can be repeated, and goes on after an error.
    pub(super) async fn release(&self, container: &ContainerId) -> Result<(), OpError> {
        if let Some(Live {
            probe: Some(probe), ..
        }) = self.live().remove(container)
        {
            probe.abort();
        }
        self.drivers.dns.stop(container).await;
        let disconnected = self.drivers.networks.disconnect(container).await;
        let wiped = self.drivers.secrets.remove(container).await;
        disconnected.map_err(|error| OpError::because(&error))?;
        wiped.map_err(|error| OpError::because(&error))
    }

    fn image(&self, run: &Run) -> Result<Arc<Image>, OpError> {
        self.drivers
            .images
            .resolve(&run.task.spec.image)
            .map_err(|error| OpError::because(&error))
    }
}

fn has_own_network(mode: &NetworkMode) -> bool {
    match mode {
        NetworkMode::Attached(_) | NetworkMode::None => true,
        NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Service(_) => false,
    }
}

fn ids(networks: &[Arc<AssignedNetwork>]) -> Vec<NetworkId> {
    networks.iter().map(|network| network.id.clone()).collect()
}

fn upstream(run: &Run) -> Upstream {
    if run.networks.iter().all(|network| network.internal) {
        return Upstream::Nowhere;
    }
    match run.task.spec.dns.as_slice() {
        [] => Upstream::Host,
        servers => Upstream::Servers(servers.to_vec()),
    }
}

fn bound(ports: &[BoundPort]) -> BTreeMap<String, u16> {
    ports
        .iter()
        .map(|port| {
            (
                format!("{}/{}", port.target, port.protocol.as_str()),
                port.port,
            )
        })
        .collect()
}

fn start_error(error: &ContainerError) -> OpError {
    let exit_code = match error {
        ContainerError::Start { code, .. } => Some(*code),
        _ => None,
    };
    OpError {
        exit_code,
        ..OpError::because(error)
    }
}

/// The ports that the node answers on for the whole service, and those that are the container's own.
fn ports_of(task: &AssignedTask) -> (Vec<PublishedPort>, Vec<PublishedPort>) {
    let ports = task.spec.ports.iter().cloned();
    ports.partition(|port| task.shares_ports && port.is_shareable())
}
