//! On loopback, with ports that the kernel chose.

use std::net::TcpListener;

use nix::sched::{CloneFlags, unshare};
use scheduler::model::container::PublishMode;

use super::*;

const LOCAL: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];

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
        let held = hold(&wanted(None), &LOCAL).unwrap();
        let port = held[0].port.port;
        assert_ne!(port, 0);
        let error = TcpListener::bind(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        drop(held);
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    });
}

#[test]
fn the_process_that_has_the_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    match hold(&wanted(Some((port, port))), &LOCAL) {
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
        let held = hold(&wanted(Some((20000, 20001))), &LOCAL).unwrap();
        assert_eq!(held[0].port.port, 20001);
    });
}

#[test]
fn a_free_port_has_the_same_number_for_both_kinds_of_addresses() {
    alone(|| {
        let held = hold(&wanted(None), &host_addresses(None)).unwrap();
        let ports: Vec<&BoundPort> = held.iter().map(|it| &it.port).collect();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0].port, ports[1].port);
        // Each kind is held apart, and both for everybody else.
        for address in ["127.0.0.1", "::1"] {
            let bound = TcpListener::bind((address, ports[0].port));
            let kind = bound.map_err(|error| error.kind()).unwrap_err();
            assert_eq!(kind, std::io::ErrorKind::AddrInUse, "{address}");
        }
    });
}

#[test]
fn addresses_that_the_host_does_not_have_are_refused() {
    let astray = hold(&wanted(None), &["192.0.2.1".parse().unwrap()]);
    assert!(matches!(astray, Err(NetworkError::NotOurAddress { .. })));
}

#[track_caller]
fn check_towards(host_ip: Option<&str>, targets: &[&str], expected: &str) {
    let port = PublishedPort {
        host_ip: host_ip.map(|it| it.parse().unwrap()),
        ..wanted(None)
    };
    let targets: Vec<IpAddr> = targets.iter().map(|it| it.parse().unwrap()).collect();
    let shown = match host_addresses_towards(&port, &targets) {
        Ok(found) => found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn the_host_answers_on_the_kinds_of_addresses_that_the_container_has() {
    check_towards(None, &["10.1.0.2"], "0.0.0.0");
    check_towards(None, &["10.1.0.2", "fd00::2"], "0.0.0.0 ::");
    check_towards(None, &["fd00::2"], "::");
    check_towards(Some("::1"), &["10.1.0.2", "fd00::2"], "::1");
    check_towards(
        Some("::1"),
        &["10.1.0.2"],
        "cannot publish on ::1: the container has no IPv6 address there",
    );
}
