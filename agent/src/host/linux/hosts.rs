//! The text of a container's `/etc/hosts`, as Docker writes it.

use std::fmt::Write as _;
use std::net::IpAddr;

use scheduler::model::container::HostAddress;

const LOOPBACK: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Makes the file. `gateway` is how the container reaches the host; `own` its addresses.
pub(super) fn hosts(
    hostname: &str,
    domainname: Option<&str>,
    own: &[IpAddr],
    extra: &[(String, HostAddress)],
    gateway: Option<IpAddr>,
) -> String {
    let mut text = LOOPBACK.to_owned();
    for (name, address) in extra {
        let address = match address {
            HostAddress::Address(address) => *address,
            // Without a network there is no way to the host: the name stays unknown.
            HostAddress::Gateway => match gateway {
                Some(gateway) => gateway,
                None => continue,
            },
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    let names = match domainname {
        Some(domain) if !domain.is_empty() => format!("{hostname}.{domain} {hostname}"),
        _ => hostname.to_owned(),
    };
    for address in own {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts_come_before_the_containers_own_name() {
        let own = ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let extra = [
            ("db".to_owned(), HostAddress::Address([10, 9, 9, 9].into())),
            ("host.docker.internal".to_owned(), HostAddress::Gateway),
        ];
        let text = hosts(
            "web",
            Some("example.org"),
            &own,
            &extra,
            Some("10.0.0.1".parse().unwrap()),
        );
        assert_eq!(
            text.strip_prefix(LOOPBACK).unwrap(),
            "10.9.9.9\tdb\n10.0.0.1\thost.docker.internal\n10.0.0.2\tweb.example.org web\nfd00::2\tweb.example.org web\n"
        );
    }

    #[test]
    fn without_a_network_there_is_no_way_to_the_host() {
        let extra = [("host.docker.internal".to_owned(), HostAddress::Gateway)];
        assert_eq!(hosts("web", None, &[], &extra, None), LOOPBACK);
    }
}
