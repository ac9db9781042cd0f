//! On loopback, with ports that the kernel chose.

use std::net::TcpListener;

use nix::sched::{CloneFlags, unshare};
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

/// Runs the test in a network namespace of its own, where nobody else takes ports meanwhile.
fn alone(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_held_port_is_taken_for_everybody_else() {
    alone(|| {
        let held = hold(&wanted(None)).unwrap();
        let port = held.port.port;
        assert_ne!(port, 0);
        let error = TcpListener::bind(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(held);
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    });
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
    alone(|| {
        let _first = TcpListener::bind("127.0.0.1:20000").unwrap();
        let held = hold(&wanted(Some((20000, 20001)))).unwrap();
        assert_eq!(held.port.port, 20001);
    });
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
