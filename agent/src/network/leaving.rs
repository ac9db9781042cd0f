//! Interfaces on their way out: the kernel needs some 20 ms to delete one, and nobody waits for it.
//!
//!     disconnect ──► rules and ports are gone ──► return
//!                          └──► delete interfaces ──► forget the record
//!
//! Only what would meet them waits: another connection of the same container (its interfaces have
//! the same names), another container with one of the addresses (the old owner could still answer),
//! and the removal of a network. The record stays on disk until the interfaces are gone, so that a
//! later agent finds them after a crash in between.

use std::collections::BTreeMap;
use std::net::IpAddr;

use scheduler::model::id::{ContainerId, NetworkId};
use tokio::sync::watch;

use super::record::ContainerRecord;

type Places = Vec<(NetworkId, IpAddr)>;

/// Which containers' interfaces are being deleted, and where these were.
pub(super) struct Leaving(watch::Sender<BTreeMap<ContainerId, Places>>);

/// Ends the departure when dropped, whatever became of the deletion.
pub(super) struct Departure<'a> {
    leaving: &'a Leaving,
    container: ContainerId,
}

impl Leaving {
    pub(super) fn new() -> Self {
        Self(watch::Sender::default())
    }

    /// Says that the container's interfaces are about to go.
    pub(super) fn begin(&self, container: &ContainerId, record: Option<&ContainerRecord>) {
        let interfaces = record.map_or(&[][..], |record| &record.interfaces);
        let places = interfaces
            .iter()
            .flat_map(|interface| {
                let addresses = interface.places().into_iter();
                addresses.map(|address| (interface.network.clone(), address))
            })
            .collect();
        self.0.send_modify(|leaving| {
            leaving.insert(container.clone(), places);
        });
    }

    /// The departure that [`begin`](Self::begin) announced.
    pub(super) fn departure(&self, container: &ContainerId) -> Departure<'_> {
        Departure {
            leaving: self,
            container: container.clone(),
        }
    }

    /// Returns when nothing of the container is leaving.
    pub(super) async fn container_left(&self, container: &ContainerId) {
        self.until(|leaving| !leaving.contains_key(container)).await;
    }

    /// Returns when nobody leaves one of these addresses.
    pub(super) async fn places_left(&self, wanted: &[(NetworkId, IpAddr)]) {
        self.until(|leaving| {
            let mut places = leaving.values().flatten();
            places.all(|place| !wanted.contains(place))
        })
        .await;
    }

    /// Returns when nobody leaves the network.
    pub(super) async fn network_left(&self, network: &NetworkId) {
        self.until(|leaving| {
            let mut places = leaving.values().flatten();
            places.all(|(place, _)| place != network)
        })
        .await;
    }

    async fn until(&self, free: impl Fn(&BTreeMap<ContainerId, Places>) -> bool) {
        // The sender lives as long as this borrow of it.
        let _ = self.0.subscribe().wait_for(free).await;
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.leaving.0.send_modify(|leaving| {
            leaving.remove(&self.container);
        });
    }
}

#[cfg(test)]
mod tests;
