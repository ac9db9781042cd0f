//! Whether the kernel can make the interfaces that containers need. Tried where it harms nobody.

use std::sync::OnceLock;
use std::thread;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::firewall::Firewall;
use super::nftables;
use super::sweep::{request, route_socket};

/// Whether the kernel can do this node's part in keeping the addresses of other nodes' clients.
///
/// The rules for it are loaded in a network namespace that ends with the thread. Asked once.
pub fn keeps_clients() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let tried = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
            let text = Firewall::trial().create("wharfie");
            nftables::load_here(&text).map_err(|error| error.to_string())
        });
        let error = match tried.join() {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(_) => "it could not be tried".to_owned(),
        };
        tracing::info!(
            error,
            "containers see clients who come by other nodes under these nodes' addresses"
        );
        false
    })
}

/// A kind of interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bridge,
    Veth,
}

/// Whether the kernel knows this kind, also by loading a module now.
///
/// Makes one in a network namespace that ends with the thread. `true` as well when it cannot be
/// tried: then the first network says more.
pub fn kernel_makes(kind: Kind) -> bool {
    let tried = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let mut link = LinkMessage::default();
        link.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(match kind {
                Kind::Bridge => InfoKind::Bridge,
                Kind::Veth => InfoKind::Veth,
            })]));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        request(&route_socket()?, RouteNetlinkMessage::NewLink(link), flags)
    });
    match tried.join() {
        Ok(Err(error)) => error.raw_os_error() != Some(libc::EOPNOTSUPP),
        Ok(Ok(())) | Err(_) => true,
    }
}
