//! Names inside containers: of neighbours on shared networks, and of the world outside.

use crate::resolver;
use crate::support::{Host, eventually};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

#[test]
fn names_are_known_on_shared_networks_only() {
    let host = Host::new();
    let file = format!(
        "services:
  web:
{SLEEP}    networks: {{front: {{aliases: [www]}}, back: }}
  db:
{SLEEP}    container_name: the-db
    networks: [back]
  other:
{SLEEP}    networks: [front]
networks: {{front: , back: }}
"
    );
    host.compose("app", &file, "up -d").succeeds();
    let knows = |from: &str, name: &str| {
        host.exec("app", from, &format!("nslookup -type=a {name}."))
            .code
            == 0
    };
    for (from, names) in [
        ("web", &["web", "db", "the-db", "app-web-1", "www"][..]),
        ("db", &["web", "db", "the-db", "app-web-1"]),
        ("other", &["www", "web"]),
    ] {
        for name in names {
            assert!(knows(from, name), "{from} asks for {name}");
        }
    }
    assert!(!knows("db", "www"), "an alias is of one network");
    assert!(!knows("other", "db") && !knows("other", "the-db") && !knows("db", "other"));
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn names_outside_are_asked_of_the_hosts_resolver() {
    let mut host = Host::bare();
    host.resolv_conf("nameserver 127.0.0.1\n");
    resolver::answer_everything_with(&host, [203, 0, 113, 7]);
    host.start_agent();
    host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
    let file = format!(
        "services:\n  web:\n{SLEEP}  inner:\n{SLEEP}    networks: [closed]\nnetworks: {{closed: {{internal: true}}}}\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    eventually("it resolves", || {
        match host.exec("app", "web", "nslookup -type=a www.example.org.") {
            ran if ran.stdout.contains("203.0.113.7") => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    let inner = host.exec("app", "inner", "nslookup -type=a www.example.org.");
    assert!(
        inner.code != 0 && !inner.stdout.contains("203.0.113.7"),
        "{inner}"
    );
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn names_are_answered_again_by_the_next_node_process() {
    let mut host = Host::new();
    let file = format!("services:\n  web:\n{SLEEP}  db:\n{SLEEP}");
    host.compose("app", &file, "up -d").succeeds();
    let pid = host.inspect("app-db-1")["State"]["Pid"].clone();
    // Not by an exec, which would wait for the node as well.
    let ask = |host: &Host| {
        host.shell(&format!(
            "nsenter -t {pid} -n -m /bin/nslookup -type=a web. 127.0.0.11"
        ))
    };
    ask(&host).succeeds();
    host.kill_agent();
    assert!(ask(&host).code != 0, "nobody is there to answer");
    host.start_agent();
    eventually("names are answered", || match ask(&host) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    assert_eq!(
        host.inspect("app-db-1")["State"]["Pid"],
        pid,
        "the container was left alone"
    );
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
