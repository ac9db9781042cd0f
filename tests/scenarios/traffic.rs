//! Packets: published ports, virtual addresses, isolation, and the way out.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Host, eventually};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";
/// Answers each HTTP request with its hostname.
const NAMER: &str = "    image: busybox:1.35\n    init: true\n    command: sh -c 'mkdir /www; hostname > /www/index.html; exec httpd -f -h /www'\n";

#[test]
fn a_published_port_answers_where_it_was_published_and_nowhere_else() {
    let host = Host::new();
    host.shell("ip addr add 192.0.2.1/32 dev lo").succeeds();
    let file = format!(
        "services:\n  all:\n{NAMER}    ports: [\"8001:80\"]\n  one:\n{NAMER}    ports: [\"192.0.2.1:8002:80\"]\n  range:\n{NAMER}    ports: [\"8010-8012:80-82\"]\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    for url in [
        "http://127.0.0.1:8001/",
        "http://192.0.2.1:8001/",
        "http://192.0.2.1:8002/",
        "http://127.0.0.1:8010/",
    ] {
        eventually(url, || host.get(url));
    }
    assert!(host.get("http://127.0.0.1:8002/").is_err());
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_published_udp_port_carries_datagrams() {
    let host = Host::new();
    host.import("shop-app", "python", &[]);
    let file = "
services:
  echo:
    image: python
    init: true
    ports: [\"7000:7000/udp\"]
    command:
      - python3
      - -c
      - |
        import socket
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.bind(('', 7000))
        while True:
            data, asker = s.recvfrom(100)
            s.sendto(b'got ' + data, asker)
";
    host.compose("app", file, "up -d").succeeds();
    let socket = host.udp_socket("127.0.0.1:0");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    socket.connect("127.0.0.1:7000").unwrap();
    eventually("it answers", || {
        let mut answer = [0; 100];
        let asked = socket.send(b"hi").and_then(|_| socket.recv(&mut answer));
        asked
            .map_err(|error| error.to_string())
            .map(|length| assert_eq!(&answer[..length], b"got hi"))
    });
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn one_address_stands_for_the_healthy_containers_of_a_service() {
    let host = Host::new();
    let file = format!(
        "services:
  web:
{NAMER}    deploy: {{replicas: 3}}
    healthcheck: {{test: test ! -e /ill, interval: 200ms, start_interval: 100ms, start_period: 10s, retries: 1}}
  client:
{SLEEP}"
    );
    host.compose("app", &file, "up -d --wait").succeeds();
    let addresses = host
        .exec(
            "app",
            "client",
            "nslookup -type=a web. | grep -c '^Address: '",
        )
        .stdout;
    assert_eq!(addresses.trim(), "1");
    let seen = || -> BTreeSet<String> {
        let ran = host.exec(
            "app",
            "client",
            "for i in $(seq 24); do timeout 10 wget -qO- http://web/; done",
        );
        ran.stdout.lines().map(str::to_owned).collect()
    };
    eventually("all three answer", || match seen() {
        seen if seen.len() == 3 => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    host.wharfie("-p app exec -T --index 2 web touch /ill")
        .succeeds();
    let ill = host.wharfie("-p app exec -T --index 2 web hostname").stdout;
    eventually("the ill one is left out", || match seen() {
        seen if seen.len() == 2 && !seen.contains(ill.trim()) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn containers_reach_the_world_through_the_host_unless_their_network_is_internal() {
    let host = Host::new();
    let world = Host::bare();
    host.join(&world, "198.51.100.1/24", "198.51.100.2/24");
    std::fs::write(world.path("index.html"), "hello from outside").unwrap();
    world
        .shell(&format!(
            "busybox httpd -p 80 -h {}",
            world.path("").display()
        ))
        .succeeds();
    let file = format!(
        "services:\n  web:\n{SLEEP}  inner:\n{SLEEP}    networks: [closed]\nnetworks: {{closed: {{internal: true}}}}\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    eventually("it answers", || {
        match host.exec("app", "web", "timeout 10 wget -qO- http://198.51.100.2/") {
            ran if ran.stdout.contains("hello from outside") => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    let inner = host.exec("app", "inner", "timeout 2 wget -qO- http://198.51.100.2/");
    assert!(!inner.stdout.contains("hello"), "{inner}");
    host.wharfie("-p app down").succeeds();
}

#[test]
fn stacks_do_not_reach_each_other() {
    let host = Host::new();
    host.compose("one", &format!("services:\n  web:\n{NAMER}"), "up -d")
        .succeeds();
    host.compose("two", &format!("services:\n  client:\n{SLEEP}"), "up -d")
        .succeeds();
    let address = host.exec("one", "web", "hostname -i").stdout;
    let line = format!("timeout 2 wget -qO- http://{}/", address.trim());
    eventually("it serves its own", || {
        match host.exec("one", "web", &line) {
            ran if ran.code == 0 => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    let across = host.exec("two", "client", &line);
    assert!(across.code != 0, "{across}");
    assert!(host.exec("two", "client", "nslookup -type=a web.").code != 0);
    host.wharfie("-p one down").succeeds();
    host.wharfie("-p two down").succeeds();
    host.leaves_nothing();
}
