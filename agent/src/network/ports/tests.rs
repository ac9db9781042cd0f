//! On loopback, with ports that the kernel chose.

use std::net::TcpListener;

use scheduler::model::container::PublishMode;

use super::*;

fn wanted(published: Option<(u16, u16)>) -> PublishedPort {
    PublishedPort {
        host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        published,
        target: 80,
        protocol: Protocol::Tcp,
        mode: PublishMode::Ingress,
    }
}

#[test]
fn a_held_port_is_taken_for_everybody_else() {
    let held = hold(&wanted(None)).unwrap();
    let port = held.port.port;
    assert_ne!(port, 0);
    let error = TcpListener::bind(("127.0.0.1", port)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(held);
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn the_process_that_has_the_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    match hold(&wanted(Some((port, port)))) {
        Err(NetworkError::PortInUse {
            holder: PortHolder::Process { pid, .. },
            ..
        }) => {
            assert_eq!(pid, std::process::id());
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("held a port that is taken"),
    }
}

#[test]
fn a_range_gives_the_first_free_port() {
    // Two ports next to each other, of which the first is taken: found, not assumed.
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let Some(next) = port.checked_add(1) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", next)).is_err() {
            continue;
        }
        assert_eq!(hold(&wanted(Some((port, next)))).unwrap().port.port, next);
        return;
    }
    panic!("no two free ports side by side");
}

#[test]
fn addresses_that_the_host_does_not_have_are_refused() {
    let mut port = wanted(None);
    port.host_ip = Some("192.0.2.1".parse().unwrap());
    assert!(matches!(
        hold(&port),
        Err(NetworkError::NotOurAddress { .. })
    ));
    port.host_ip = Some("::1".parse().unwrap());
    assert!(matches!(hold(&port), Err(NetworkError::Ipv6Port { .. })));
}
