//! The name server that each container finds at 127.0.0.11.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use scheduler::assignment::AssignedNetwork;
use scheduler::model::id::{ContainerId, NetworkId};

/// What one container may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Only names of these networks are known to it; the order decides where a name is in several.
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
pub struct Dns {}

impl Dns {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Tells what names mean from now on: always the whole set of networks.
    pub fn update(&self, networks: &[AssignedNetwork]) {
        let _ = networks;
    }

    /// Answers at 127.0.0.11:53 (UDP and TCP) in the network namespace of `pid`.
    ///
    /// Its loopback interface must be up: `Networks::connect` comes first. Called again for the
    /// same container it only changes the view.
    pub async fn serve(
        self: &Arc<Self>,
        container: &ContainerId,
        pid: u32,
        view: View,
    ) -> Result<(), DnsError> {
        let _ = (container, pid, view);
        Err(DnsError::Unfinished)
    }

    /// Closes the container's sockets; until then they keep its namespace alive.
    pub async fn stop(&self, container: &ContainerId) {
        let _ = container;
    }
}

/// What the container's `/etc/resolv.conf` says.
///
/// Without `search`, the host's search list is taken.
pub fn resolv_conf(search: &[String], options: &[String]) -> String {
    let _ = (search, options);
    String::from("nameserver 127.0.0.11\noptions ndots:0\n")
}

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("the name server is not finished")]
    Unfinished,
    #[error("cannot listen on 127.0.0.11:53 in the network namespace of process {pid}")]
    Listen { pid: u32, source: io::Error },
}
