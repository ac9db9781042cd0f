//! Switches of the kernel's network stack, in the namespace of the calling thread.
//!
//! Source: `Documentation/networking/ip-sysctl.rst` of Linux.

use std::fs;
use std::io;
use std::path::Path;

/// Whether the host can have IPv6 addresses: it was neither left out of the kernel nor switched off.
pub fn has_ipv6() -> bool {
    let switch = fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    switch.is_ok_and(|it| it.trim() == "0")
}

pub(super) fn set_ipv4(interface: &str, key: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{key}"), value)
}

/// Lets packets in whose answers would leave by another interface; where the host is strict about
/// that, as long as there is any way to answer. Containers' packets have been looked at before.
pub(super) fn accept_any_source(interface: &str) -> io::Result<()> {
    // The larger of the two values holds: 0 is no check, 1 strict, 2 loose.
    let all = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter")?;
    let own = if all.trim() == "0" { "0" } else { "2" };
    set_ipv4(interface, "rp_filter", own)
}

/// Lets the host pass IPv4 packets on between interfaces.
pub(super) fn forward_ipv4() -> io::Result<()> {
    const PATH: &str = "/proc/sys/net/ipv4/ip_forward";
    if fs::read_to_string(PATH)?.trim() == "0" {
        // It stays on: others may have come to rely on it.
        tracing::info!("switching on IPv4 forwarding (net.ipv4.ip_forward was 0)");
        fs::write(PATH, "1")?;
    }
    Ok(())
}

/// The same for IPv6. A host that forwards takes no more routes from routers' advertisements,
/// unless it is told to go on (`accept_ra` 2): so that it does not lose its own way out.
pub(super) fn forward_ipv6() -> io::Result<()> {
    let all = Path::new("/proc/sys/net/ipv6/conf/all/forwarding");
    if fs::read_to_string(all)?.trim() != "0" {
        return Ok(());
    }
    tracing::info!("switching on IPv6 forwarding (net.ipv6.conf.all.forwarding was 0)");
    for entry in fs::read_dir("/proc/sys/net/ipv6/conf")? {
        let switch = entry?.path().join("accept_ra");
        // An interface may go at any time; those that come later follow `default`.
        if fs::read_to_string(&switch).is_ok_and(|it| it.trim() == "1") {
            let _ = fs::write(&switch, "2");
        }
    }
    fs::write(all, "1")
}

/// What an interface does about IPv6, before it comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    /// Nothing: no packet gets around the rules for IPv4.
    Off,
    /// What it is told to. Routers' advertisements are not heard, else a container could change
    /// routes (CVE-2020-13401); an address is not asked for before it is used, as each is given
    /// out once, and the question would cost a second.
    Told,
}

/// Sets what holds for an interface, or with `default` for those to come.
pub(super) fn set_ipv6(interface: &str, ipv6: Ipv6) -> io::Result<()> {
    let disabled = match ipv6 {
        Ipv6::Off => "1",
        Ipv6::Told => "0",
    };
    let values = [
        ("accept_ra", "0"),
        ("accept_redirects", "0"),
        ("accept_dad", "0"),
        ("disable_ipv6", disabled),
    ];
    for (key, value) in values {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{key}"), value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if ipv6 == Ipv6::Off && error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}
