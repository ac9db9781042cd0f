//! Coming up and going down, again and again, leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Host, eventually};

const FILE: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    ports: [\"8080:80\", \"5353:53/udp\"]
    depends_on: [db]
    secrets: [key]
    healthcheck: {test: 'true', interval: 1s, start_interval: 50ms, start_period: 5s}
  db:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    volumes: [\"data:/data\", /scratch]
    networks: [back]
  pair:
    image: busybox:1.35
    init: true
    command: sleep 1000000
    deploy: {replicas: 2}
    networks: [default, back]
networks: {back: {internal: true}}
volumes: {data: }
secrets: {key: {environment: HOME}}
";

/// Everything that could pile up, by name.
fn inventory(host: &Host, agent: u32, containers: &[String]) -> BTreeMap<&'static str, String> {
    let count = |path: String| fs::read_dir(path).into_iter().flatten().count().to_string();
    let shell = |line: &str| host.shell(line).stdout;
    // Those of other hosts' containers come and go meanwhile: ours are picked out by name.
    let cgroups = shell("find /sys/fs/cgroup -maxdepth 4 -type d 2>/dev/null")
        .lines()
        .filter(|path| containers.iter().any(|id| path.ends_with(id.as_str())))
        .map(|path| format!("{path}\n"))
        .collect::<String>();
    let files = |folder: &str| {
        shell(&format!(
            "cd {} && find . | grep -vE 'manager/|images/' | sort",
            host.path(folder).display()
        ))
    };
    BTreeMap::from([
        ("descriptors", count(format!("/proc/{agent}/fd"))),
        ("links", shell("ip -o link | grep -v ': lo:' | wc -l")),
        ("addresses", shell("ip -o addr | wc -l")),
        ("routes", shell("ip route | wc -l")),
        ("mounts", shell("wc -l < /proc/self/mountinfo")),
        ("firewall", shell("nft list ruleset | grep -vE 'counter'")),
        ("cgroups", cgroups),
        ("data", files("data")),
        ("run", files("run")),
    ])
}

#[test]
fn a_hundred_times_up_and_down_leave_nothing() {
    let host = Host::new();
    let agent = host.agent_pid();
    let mut containers = Vec::new();
    let mut cycle = || {
        host.compose("app", FILE, "up -d").succeeds();
        let listed = host.wharfie("-p app ps -aq --no-trunc").succeeds().stdout;
        containers.extend(listed.lines().map(str::to_owned));
        host.compose("app", FILE, "down -v").succeeds();
    };
    // What is made once and kept (the firewall's table, connections' buffers) is there after two.
    cycle();
    cycle();
    host.leaves_nothing();
    let before = inventory(&host, agent, &[]);
    for _ in 0..98 {
        cycle();
    }
    host.leaves_nothing();
    assert_eq!(containers.len(), 400);
    eventually("all is as before", || {
        let after = inventory(&host, agent, &containers);
        let differ: Vec<_> = before
            .iter()
            .filter(|(what, was)| after[*what] != **was)
            .collect();
        if differ.is_empty() {
            Ok(())
        } else {
            Err(differ
                .iter()
                .map(|(what, was)| format!("{what}: {was} → {}\n", after[*what]))
                .collect())
        }
    });
}
