//! The name server that each container finds at 127.0.0.11.
//!
//!     container's namespace                    host's namespace
//!     127.0.0.11:53 ─► server ─► table: names of the asker's networks ─► answer
//!                         └────► upstream: the host's name servers ────► answer
//!
//! | module | what it knows | pure |
//! |---|---|---|
//! | [`table`] | what a name means to whom | yes |
//! | [`answer`] | questions and answers as bytes | yes |
//! | [`server`] | the sockets in one container's namespace | |
//! | [`upstream`] | other name servers | |
//! | [`hosts`] | `/etc/resolv.conf`, of the host and of containers | partly |
//!
//! The sockets are made inside the container's namespace and served by this process. They keep the
//! namespace alive, so [`Dns::stop`] must be called when the container has ended.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use scheduler::assignment::AssignedNetwork;
use scheduler::model::id::{ContainerId, NetworkId};

use crate::namespace::NetworkNamespace;
use hosts::HostResolvers;
use server::Server;
use table::Table;

mod answer;
mod hosts;
mod server;
mod table;
mod upstream;

pub use hosts::resolv_conf;

/// Together a second.
const BINDS: u32 = 100;
const BETWEEN_BINDS: Duration = Duration::from_millis(10);

/// What one container may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Only names of these networks are known to it; the first one that knows a name answers.
    pub networks: Vec<NetworkId>,
    pub upstream: Upstream,
}

/// Where names go that none of the networks knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The servers in the host's `/etc/resolv.conf`.
    Host,
    /// These, asked from the host's namespace (the service's `dns:`).
    Servers(Vec<IpAddr>),
    /// Nowhere: every network of the container is internal.
    Nowhere,
}

/// The name servers of all containers on this host.
pub struct Dns {
    table: RwLock<Arc<Table>>,
    servers: Mutex<HashMap<ContainerId, Server>>,
    host: HostResolvers,
}

impl Dns {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            table: RwLock::default(),
            servers: Mutex::default(),
            host: HostResolvers::new("/etc/resolv.conf".into()),
        })
    }

    /// Tells what names mean from now on: always the whole set of networks.
    pub fn update(&self, networks: &[AssignedNetwork]) {
        let table = Arc::new(Table::new(networks));
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// Answers at 127.0.0.11:53 (UDP and TCP) in the network namespace of `pid`.
    ///
    /// Its loopback interface must be up: `Networks::connect` comes first. Called again for the
    /// same container it only changes the view.
    ///
    /// # Errors
    ///
    /// When the namespace is gone, or something in it listens there already.
    pub async fn serve(
        self: &Arc<Self>,
        container: &ContainerId,
        pid: u32,
        view: View,
    ) -> Result<(), DnsError> {
        if let Some(server) = self.servers().get(container) {
            server.set_view(view);
            return Ok(());
        }
        let failed = |source| DnsError::Listen { pid, source };
        let namespace = NetworkNamespace::of(pid).map_err(failed)?;
        let sockets = bind(&namespace).await.map_err(failed)?;
        let server = Server::start(sockets, view, Arc::clone(self));
        self.servers().insert(container.clone(), server);
        Ok(())
    }

    /// Closes the container's sockets; until then they keep its namespace alive.
    pub async fn stop(&self, container: &ContainerId) {
        let server = self.servers().remove(container);
        if let Some(server) = server {
            server.stop().await;
        }
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Binds in the namespace. A process that is just being forked holds copies of our closed sockets
/// until it becomes another program: that is waited for.
async fn bind(namespace: &NetworkNamespace) -> io::Result<server::Sockets> {
    for _ in 0..BINDS {
        match namespace.run(server::Sockets::bind).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(BETWEEN_BINDS).await;
            }
            result => return result,
        }
    }
    namespace.run(server::Sockets::bind).await
}

/// Why a container has no name server.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("cannot listen on 127.0.0.11:53 in the network namespace of process {pid}")]
    Listen { pid: u32, source: io::Error },
}

#[cfg(test)]
mod tests;
