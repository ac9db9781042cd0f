//! Finds the process that has a port, from `/proc`; only asked when there is an error to explain.

use std::fs;
use std::net::IpAddr;

use scheduler::model::container::Protocol;

/// The process with a socket on that port: its pid and name.
///
/// `None` when there is none, or when it may not be seen.
pub(super) fn find(address: IpAddr, port: u16, protocol: Protocol) -> Option<(u32, String)> {
    let kind = protocol.as_str();
    let inode = [format!("/proc/net/{kind}"), format!("/proc/net/{kind}6")]
        .iter()
        .find_map(|path| find_inode(&fs::read_to_string(path).ok()?, address, port))?;
    find_process(&format!("socket:[{inode}]"))
}

/// The inode of the first socket in a table of `/proc/net` that has the port.
///
/// Lines are `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`, the
/// address in hex, each four bytes in the machine's order (proc_net_tcp.rst in the kernel's documentation).
fn find_inode(table: &str, address: IpAddr, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, local_port) = fields.get(1)?.split_once(':')?;
        if u16::from_str_radix(local_port, 16).ok()? != port {
            return None;
        }
        let overlaps = address.is_unspecified() || local.bytes().all(|b| b == b'0') || {
            // An IPv4 address in IPv6 form ends in the IPv4 address.
            local.ends_with(&words(address))
        };
        // 0 belongs to a connection that waits for its end and has no process any more.
        let inode = fields.get(9)?.parse().ok().filter(|inode| *inode != 0)?;
        overlaps.then_some(inode)
    })
}

/// An address as the table shows it.
fn words(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = <[u8; 4]>::try_from(word).unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(word))
    });
    words.collect()
}

fn find_process(link: &str) -> Option<(u32, String)> {
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let found = files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link));
        if found {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4343 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F91 0100007F:1F92 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn finds_the_socket_that_is_in_the_way() {
        let check = |address: [u8; 4], port, expected| {
            assert_eq!(
                find_inode(TABLE, IpAddr::from(address), port),
                expected,
                "{address:?}:{port}"
            );
        };
        check([127, 0, 0, 1], 8080, Some(4242));
        check([0, 0, 0, 0], 8080, Some(4242));
        check([10, 0, 0, 1], 8080, None);
        check([10, 0, 0, 1], 80, Some(4343));
        check([127, 0, 0, 1], 8081, None);
        check([127, 0, 0, 1], 9, None);
        let six = "  sl  local_address\n   0: 00000000000000000000000001000000:1F90 0:0 0A 0:0 0:0 0 0 0 7 1\n";
        let local = std::net::Ipv6Addr::LOCALHOST.into();
        assert_eq!(find_inode(six, local, 8080), Some(7));
        assert_eq!(find_inode(six, "fd00::1".parse().unwrap(), 8080), None);
    }
}
