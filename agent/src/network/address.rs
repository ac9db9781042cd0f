//! Names of kernel objects, derived from identifiers, so that they can be found again after a crash.
//!
//! | object | name | alias |
//! |---|---|---|
//! | bridge | `wh-0123456789a` | `wharfie:<network id>` |
//! | tunnel to other nodes | `whx0123456789a` | `wharfie:<network id>` |
//! | host's end of a container's interface | `whv0123456789a` | `wharfie:<container id>` |
//! | nftables tables | `wharfie` | |
//!
//! A second node on the same machine (another data root) has a tag, which goes into all of them.
//! What comes from outside and ends in a kernel object or in rule text is parsed here first.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use scheduler::model::id::{ContainerId, NetworkId};
use scheduler::model::network::mac_of;
use sha2::{Digest, Sha256};

/// Which of several nodes on this machine this is; the default is the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Empty, or six lower-case hex digits.
    tag: String,
}

impl Instance {
    /// The instance of a data root: the usual root has no tag, any other has one made from its path.
    pub fn of_root(root: &Path) -> Self {
        if root == Path::new("/var/lib/wharfie") {
            return Self::default();
        }
        Self {
            tag: digest(&[root.as_os_str().as_encoded_bytes()], 6),
        }
    }

    /// The name of the nftables tables.
    pub(super) fn table(&self) -> String {
        self.tagged("wharfie", "_")
    }

    // 11 digits: an interface's name has at most 15 bytes (IFNAMSIZ less the end).
    pub(super) fn bridge(&self, network: &NetworkId) -> String {
        let id = network.as_str();
        match id.get(..11) {
            Some(start) if self.tag.is_empty() && start.bytes().all(|b| b.is_ascii_hexdigit()) => {
                format!("wh-{start}")
            }
            _ => format!("wh-{}", digest(&[self.tag.as_bytes(), id.as_bytes()], 11)),
        }
    }

    pub(super) fn tunnel(&self, network: &NetworkId) -> String {
        let parts = [self.tag.as_bytes(), network.as_str().as_bytes()];
        format!("whx{}", digest(&parts, 11))
    }

    pub(super) fn veth(&self, container: &ContainerId, network: &NetworkId) -> String {
        let parts = [
            self.tag.as_bytes(),
            container.as_str().as_bytes(),
            network.as_str().as_bytes(),
        ];
        format!("whv{}", digest(&parts, 11))
    }

    /// The alias that says whose an interface is.
    pub(super) fn alias(&self, id: &str) -> String {
        format!("{}:{id}", self.tagged("wharfie", "-"))
    }

    /// The identifier in an alias of ours.
    pub(super) fn owner<'a>(&self, alias: &'a str) -> Option<&'a str> {
        alias
            .strip_prefix(&self.tagged("wharfie", "-"))?
            .strip_prefix(':')
    }

    fn tagged(&self, name: &str, separator: &str) -> String {
        match self.tag.as_str() {
            "" => name.to_owned(),
            tag => format!("{name}{separator}{tag}"),
        }
    }
}

/// The first `digits` hex digits of the hash of the parts.
fn digest(parts: &[&[u8]], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}

/// Whether the text may name an interface, and can stand in rule text.
///
/// The kernel allows more (`dev_valid_name` in `net/core/dev.c`); this is what needs no quoting.
pub(super) fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Parses `02:42:0a:01:02:03`; `None` for anything else, and for group addresses.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}

/// Writes an address as nft does: `02:42:0a:01:02:03`.
pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address of a bridge: made from the gateway's, so that it is the same on every node and does
/// not change as ports come and go (a bridge without one takes its ports' lowest).
pub(super) fn gateway_mac(gateway: IpAddr) -> Option<[u8; 6]> {
    parse_mac(&mac_of(gateway))
}

/// What the kernel makes of a hardware address (RFC 4291, appendix A).
pub(super) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let octets = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ_between_instances() {
        let network = NetworkId::new("0123456789abcdef");
        let container = ContainerId::new("fedcba9876543210");
        let usual = Instance::of_root(Path::new("/var/lib/wharfie"));
        let other = Instance::of_root(Path::new("/tmp/other"));
        assert_eq!(usual.bridge(&network), "wh-0123456789a");
        assert_eq!(usual.table(), "wharfie");
        assert_ne!(usual.bridge(&network), other.bridge(&network));
        assert_ne!(
            usual.veth(&container, &network),
            other.veth(&container, &network)
        );
        for name in [other.bridge(&network), other.veth(&container, &network)] {
            assert!(is_interface_name(&name), "{name}");
        }
    }

    #[test]
    fn an_alias_gives_its_owner_to_its_own_instance_only() {
        let usual = Instance::default();
        let other = Instance::of_root(Path::new("/tmp/other"));
        assert_eq!(usual.owner(&usual.alias("abc")), Some("abc"));
        assert_eq!(other.owner(&other.alias("abc")), Some("abc"));
        assert_eq!(usual.owner(&other.alias("abc")), None);
        assert_eq!(other.owner(&usual.alias("abc")), None);
        assert_eq!(usual.owner("somebody's bridge"), None);
    }

    #[test]
    fn what_could_break_out_of_rule_text_is_no_name() {
        for bad in [
            "",
            "a b",
            "x\" drop",
            "eth0;",
            "sixteen-letters-",
            "-x",
            "ü",
            "a/b",
            "..",
            "a\n",
        ] {
            assert!(!is_interface_name(bad), "{bad:?}");
        }
        for bad in [
            "",
            "02:42:0a:01:02",
            "02:42:0a:01:02:03:04",
            "01:00:5e:00:00:01",
            "+2:42:0a:01:02:3",
            "zz:42:0a:01:02:03",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad:?}");
        }
        assert_eq!(
            parse_mac("02:42:0A:01:02:03").map(mac_text).as_deref(),
            Some("02:42:0a:01:02:03")
        );
    }
}
