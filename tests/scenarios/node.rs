//! The node comes when it is needed, and refuses what cannot be.

use crate::support::{Host, binary, eventually, image};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

#[test]
fn up_starts_a_node_when_none_answers_and_it_stays() {
    let host = Host::bare();
    let variables = format!(
        "WHARFIE_DATA_ROOT={} WHARFIE_EXEC_ROOT={}",
        host.path("data").display(),
        host.path("run").display()
    );
    let wharfie = |words: &str| host.shell(&format!("{variables} {} {words}", binary()));
    wharfie(&format!(
        "image import {} busybox:1.35",
        image("busybox").display()
    ))
    .succeeds();
    let file = host.project("app", &format!("services:\n  web:\n{SLEEP}"));
    wharfie(&format!("-f {} up -d", file.display())).succeeds();
    host.exec("app", "web", "true").succeeds();
    wharfie("-p app down").succeeds();
    host.leaves_nothing();
    let socket = host.path("run/wharfie.sock");
    let owner = format!("agent.*--data-root {}", host.path("data").display());
    host.run("pkill", &["--oldest", "--full", &owner])
        .succeeds();
    eventually("it has ended", || {
        if socket.exists() {
            Err("it answers".to_owned())
        } else {
            Ok(())
        }
    });
}

#[test]
fn a_port_of_another_stack_is_named_with_its_owner() {
    let host = Host::new();
    let file = format!("services:\n  web:\n{SLEEP}    ports: [\"8080:80\"]\n");
    host.compose("first", &file, "up -d").succeeds();
    let ran = host
        .compose("second", &file, "up -d")
        .fails_with(1)
        .says("8080");
    assert!(ran.stderr.contains("first"), "{ran}");
    assert_eq!(host.wharfie("-p second ps -aq").stdout, "");
    host.wharfie("-p first down").succeeds();
    host.leaves_nothing();
}

#[test]
fn all_errors_of_a_file_are_told_at_once_and_nothing_starts() {
    let host = Host::new();
    let file = format!(
        "services:\n  web:\n{SLEEP}    prots: [\"8080:80\"]\n    restart: sometimes\n    networks: [nowhere]\n"
    );
    let ran = host.compose("app", &file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("prots")
        .says("sometimes")
        .says("nowhere")
        .says("compose.yaml:");
    assert_eq!(host.wharfie("ls -q").stdout, "");
}

#[test]
fn a_container_that_ignores_its_signal_is_killed_after_its_grace() {
    let host = Host::new();
    let file = "services:\n  web:\n    image: busybox:1.35\n    command: sh -c 'trap \"\" TERM; touch /ready; while :; do sleep 1; done'\n    stop_grace_period: 1s\n";
    host.compose("app", file, "up -d").succeeds();
    eventually("it is deaf", || {
        match host.exec("app", "web", "test -e /ready") {
            ran if ran.code == 0 => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    let began = std::time::Instant::now();
    host.wharfie("-p app stop").succeeds();
    assert!(began.elapsed().as_secs() >= 1, "it had its grace");
    let seen = host.inspect("app-web-1");
    assert_eq!(seen["State"]["ExitCode"], 137);
    assert_eq!(seen["Config"]["StopTimeout"], 1, "and not the usual ten");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_container_in_the_network_of_another_shares_its_address() {
    let host = Host::new();
    let file = format!(
        "services:\n  web:\n    image: busybox:1.35\n    init: true\n    command: sh -c 'mkdir /www; echo page > /www/index.html; exec httpd -f -h /www'\n  side:\n{SLEEP}    network_mode: service:web\n  alone:\n{SLEEP}    network_mode: none\n  host:\n{SLEEP}    network_mode: host\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    eventually("it answers", || {
        match host.exec("app", "side", "timeout 10 wget -qO- http://127.0.0.1/") {
            ran if ran.stdout == "page\n" => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    assert_eq!(
        host.exec("app", "alone", "ls /sys/class/net").stdout,
        "lo\n"
    );
    assert_eq!(
        host.exec("app", "host", "readlink /proc/self/ns/net")
            .stdout,
        host.shell("readlink /proc/self/ns/net").stdout
    );
    host.wharfie("-p app restart web").succeeds();
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_fixed_address_and_a_chosen_subnet_are_given() {
    let host = Host::new();
    let file = format!(
        "services:\n  web:\n{SLEEP}    networks: {{own: {{ipv4_address: 10.77.0.50}}}}\nnetworks: {{own: {{ipam: {{config: [{{subnet: 10.77.0.0/24, gateway: 10.77.0.9}}]}}}}}}\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    let line = "ip -o -4 addr show eth0 | awk '{print $4}'; ip route | awk '/default/{print $3}'";
    assert_eq!(
        host.exec("app", "web", line).stdout,
        "10.77.0.50/24\n10.77.0.9\n"
    );
    host.compose("app", &file, "up -d --force-recreate")
        .succeeds();
    assert_eq!(
        host.exec("app", "web", line).stdout,
        "10.77.0.50/24\n10.77.0.9\n"
    );
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
