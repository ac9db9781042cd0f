//! Where this node listens and is reached, at each start and while it runs.
//!
//!     `--listen-addr`, `--advertise-addr` ─┐
//!     what was chosen before ──────────────┼─► [`Places::settle`] ─► kept ─► said in each greeting
//!     the addresses of this host ──────────┘                                  (the rows follow)
//!
//! What is named is taken. What was on an interface of this host and is gone from it has moved with
//! the interface: leases end, machines are cloned. An address that never was this host's (that of a
//! router that forwards) stays, and so does one whose interface has none or several now: then only a
//! person can know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::{info, warn};

use super::advertise::{self, Local, Wish};
use super::leave::Shared;
use super::{ClusterError, Config};
use crate::identity::{Credentials, Identity, Store};

/// Between two looks at the host's addresses.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An address that is missing in so many looks on end has gone: interfaces lose theirs for a moment.
const LOOKS: u32 = 2;

/// The addresses of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places {
    listen: SocketAddr,
    advertise: SocketAddr,
    /// Where the advertised address was seen on this host.
    interface: Option<String>,
}

impl Places {
    fn of(credentials: &Credentials) -> Self {
        Self {
            listen: credentials.listen,
            advertise: credentials.advertise,
            interface: credentials.interface.clone(),
        }
    }

    /// What holds from now on. `present` is every address of this host.
    fn settle(&self, config: &Config, present: &[Local]) -> Result<Self, ClusterError> {
        let mut next = self.clone();
        let kept = self.listen.to_string();
        let wish = Wish::parse(
            Some(config.listen.as_deref().unwrap_or(&kept)),
            config.advertise.as_deref(),
        )?;
        next.listen = wish.listen();
        if config.advertise.is_some() {
            next.advertise = wish.choose(present)?.1;
        } else if interface_of(self.advertise.ip(), present).is_none() {
            next.follow(present);
        }
        if let Some(found) = interface_of(next.advertise.ip(), present) {
            next.interface = Some(found);
        }
        Ok(next)
    }

    /// The interface has another address now.
    fn follow(&mut self, present: &[Local]) {
        let old = self.advertise.ip();
        let same = |it: &&Local| {
            Some(&it.interface) == self.interface.as_ref() && it.address.is_ipv4() == old.is_ipv4()
        };
        let mut found = present.iter().filter(same);
        let (Some(only), None) = (found.next(), found.next()) else {
            return;
        };
        self.advertise.set_ip(only.address);
        if self.listen.ip() == old {
            self.listen.set_ip(only.address);
        }
    }
}

/// The interface that has an address.
pub(super) fn interface_of(address: IpAddr, present: &[Local]) -> Option<String> {
    let found = present.iter().find(|it| it.address == address);
    found.map(|it| it.interface.clone())
}

/// The identity with the addresses of this start, which are kept for the next one.
pub(super) fn settle(
    config: &Config,
    found: Identity,
    store: &Store,
) -> Result<Identity, ClusterError> {
    let before = Places::of(&found.credentials);
    let present = advertise::on_this_host();
    let now = before.settle(config, &present)?;
    let (old, new) = (before.advertise, now.advertise);
    if old != new {
        info!(%old, %new, "this node has another address: the cluster is told");
    } else if now.interface.is_some() && interface_of(new.ip(), &present).is_none() {
        warn!(address = %new, "the address that others reach this node at is not on this host: name another one with --advertise-addr");
    }
    if now == before {
        return Ok(found);
    }
    let credentials = Credentials {
        listen: now.listen,
        advertise: now.advertise,
        interface: now.interface,
        ..found.credentials
    };
    store.save(&credentials)?;
    Ok(Identity::new(credentials)?)
}

/// Begins anew when a start would find another address; runs for as long as the node does.
pub async fn watch(membership: Shared) {
    let mut looks = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        looks = if has_moved(&membership) { looks + 1 } else { 0 };
        if looks == LOOKS {
            info!("the address of this node has gone from its host: the node starts again");
            membership.again.cancel();
            return;
        }
    }
}

fn has_moved(membership: &Shared) -> bool {
    let Some(identity) = membership.identities().borrow().clone() else {
        return false;
    };
    let before = Places::of(&identity.credentials);
    // What is ambiguous now is no better place than the one before.
    let now = before.settle(&membership.config, &advertise::on_this_host());
    now.is_ok_and(|now| now.advertise != before.advertise)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `present` is `interface address` pairs.
    #[track_caller]
    fn check(before: &str, flags: (Option<&str>, Option<&str>), present: &str, expected: &str) {
        let words: Vec<&str> = before.split(' ').collect();
        let before = Places {
            listen: words[0].parse().unwrap(),
            advertise: words[1].parse().unwrap(),
            interface: words.get(2).map(|it| (*it).to_owned()),
        };
        let present: Vec<Local> = present
            .split(", ")
            .filter_map(|pair| pair.split_once(' '))
            .map(|(interface, address)| Local {
                interface: interface.to_owned(),
                address: address.parse().unwrap(),
            })
            .collect();
        let config = Config {
            listen: flags.0.map(str::to_owned),
            advertise: flags.1.map(str::to_owned),
            ..Config::default()
        };
        let now = before.settle(&config, &present).unwrap();
        let interface = now.interface.map(|it| format!(" {it}")).unwrap_or_default();
        let text = format!("{} {}{interface}", now.listen, now.advertise);
        assert_eq!(text, expected);
    }

    #[test]
    fn an_address_moves_with_its_interface_and_only_with_it() {
        let none = (None, None);
        let before = "0.0.0.0:2377 10.0.0.1:2377 eth0";
        check(before, none, "eth0 10.0.0.1", before);
        check(
            before,
            none,
            "eth0 10.0.0.9, eth1 10.1.0.1",
            "0.0.0.0:2377 10.0.0.9:2377 eth0",
        );
        check(before, none, "eth0 10.0.0.8, eth0 10.0.0.9", before);
        check(before, none, "eth1 10.1.0.1", before);
        check(before, none, "", before);
        check(
            "10.0.0.1:99 10.0.0.1:99 eth0",
            none,
            "eth0 10.0.0.9",
            "10.0.0.9:99 10.0.0.9:99 eth0",
        );
    }

    #[test]
    fn one_that_never_was_on_this_host_stays_and_one_that_is_seen_there_is_known_from_then_on() {
        let none = (None, None);
        let routed = "0.0.0.0:2377 192.0.2.1:2377";
        check(routed, none, "eth0 10.0.0.1", routed);
        check(
            "0.0.0.0:2377 10.0.0.1:2377",
            none,
            "eth0 10.0.0.1",
            "0.0.0.0:2377 10.0.0.1:2377 eth0",
        );
    }

    #[test]
    fn what_is_named_is_taken_and_keeps_the_port_that_is_listened_on() {
        check(
            "0.0.0.0:99 10.0.0.1:99 eth0",
            (None, Some("10.5.5.5")),
            "eth0 10.0.0.1",
            "0.0.0.0:99 10.5.5.5:99 eth0",
        );
        check(
            "0.0.0.0:99 10.0.0.1:99 eth0",
            (None, Some("eth1")),
            "eth0 10.0.0.1, eth1 10.6.0.1",
            "0.0.0.0:99 10.6.0.1:99 eth1",
        );
        check(
            "0.0.0.0:99 10.0.0.1:99 eth0",
            (Some("0.0.0.0:77"), None),
            "eth0 10.0.0.1",
            "0.0.0.0:77 10.0.0.1:99 eth0",
        );
    }
}
