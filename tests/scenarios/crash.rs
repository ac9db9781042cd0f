//! The node dies; containers do not. Whatever was half-done is finished by the next command.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Host, binary, eventually};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

fn ten() -> String {
    let services: String = (0..10)
        .map(|n| format!("  s{n}:\n{SLEEP}    volumes: [\"v{n}:/data\"]\n"))
        .collect();
    let volumes: String = (0..10).map(|n| format!("  v{n}:\n")).collect();
    format!("services:\n{services}volumes:\n{volumes}")
}

fn begin(host: &Host, file: &str, words: &str) -> Child {
    let path = host.project("app", file);
    let mut command = host.command(binary());
    let command = command.arg("-f").arg(path).args(words.split_whitespace());
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn until_ended(pid: &serde_json::Value) {
    eventually("it has ended", || {
        match std::path::Path::new(&format!("/proc/{pid}")).exists() {
            false => Ok(()),
            true => Err("it runs".to_owned()),
        }
    });
}

fn container_count(host: &Host) -> usize {
    std::fs::read_dir(host.path("data/containers"))
        .into_iter()
        .flatten()
        .count()
}

#[test]
fn what_ended_while_the_node_was_dead_is_known_with_code_and_log() {
    let mut host = Host::new();
    let file = format!(
        "services:\n  keeps:\n{SLEEP}  ends:\n    image: busybox:1.35\n    command: sh -c 'echo first; while ! test -e /go; do sleep 0.05; done; echo last; exit 7'\n"
    );
    host.compose("app", &file, "up -d").succeeds();
    let kept = host.inspect("app-keeps-1")["State"]["Pid"].clone();
    let pid = host.inspect("app-ends-1")["State"]["Pid"].clone();
    host.kill_agent();
    host.shell(&format!("touch /proc/{pid}/root/go")).succeeds();
    until_ended(&pid);
    host.start_agent();
    let state = eventually(
        "its end is known",
        || match host.inspect("app-ends-1")["State"].clone() {
            state if state["Status"] == "exited" => Ok(state),
            state => Err(state.to_string()),
        },
    );
    assert_eq!(state["ExitCode"], 7);
    assert_eq!(host.logs("app", "ends"), "first\nlast\n");
    assert_eq!(host.inspect("app-keeps-1")["State"]["Pid"], kept);
    assert_eq!(host.inspect("app-keeps-1")["RestartCount"], 0);
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn ports_names_and_logs_go_on_after_a_crash() {
    let mut host = Host::new();
    let file = format!(
        "services:\n  web:\n    image: busybox:1.35\n    init: true\n    command: sh -c 'mkdir /www; echo page > /www/index.html; httpd -h /www; while :; do echo tick; sleep 0.1; done'\n    ports: [\"8080:80\"]\n  client:\n{SLEEP}"
    );
    host.compose("app", &file, "up -d").succeeds();
    eventually("it answers", || host.get("http://127.0.0.1:8080/"));
    host.kill_agent();
    host.get("http://127.0.0.1:8080/").unwrap();
    let before = std::fs::read_dir(host.path("data/containers"))
        .unwrap()
        .count();
    host.start_agent();
    host.get("http://127.0.0.1:8080/").unwrap();
    eventually("names are served", || {
        match host.exec("app", "client", "timeout 10 wget -qO- http://web/") {
            ran if ran.stdout == "page\n" => Ok(()),
            ran => Err(ran.to_string()),
        }
    });
    let said = host.logs("app", "web").len();
    eventually("its log goes on", || {
        if host.logs("app", "web").len() > said {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(
        container_count(&host),
        before,
        "the second up changes nothing"
    );
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_interrupted_up_takes_back_what_it_began_or_leaves_it_to_the_next() {
    let host = Host::new();
    let file = ten();
    let up = begin(&host, &file, "up");
    eventually("some are made", || {
        if container_count(&host) > 3 {
            Ok(())
        } else {
            Err(container_count(&host).to_string())
        }
    });
    // The command stands behind nsenter's timeout(1), which passes the signal on.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(up.id().cast_signed()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    let ended = up.wait_with_output().unwrap();
    assert!(!ended.status.success());
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(host.wharfie("-p app ps -q").stdout.lines().count(), 10);
    host.compose("app", &file, "down -v").succeeds();
    host.leaves_nothing();
}

#[test]
fn two_nodes_do_not_share_a_data_root_and_live_side_by_side_on_two() {
    let host = Host::new();
    let second = |data: &str| {
        let (data, run) = (host.path(data), host.path("second"));
        let socket = format!("unix://{}/w.sock", run.display());
        let mut command = host.command(binary());
        command
            .args(["agent", "--data-root"])
            .arg(data)
            .arg("--exec-root")
            .arg(run)
            .args(["--host", &socket]);
        (command, socket)
    };
    let refused = second("data").0.output().unwrap();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("another node already uses"),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let (mut command, socket) = second("other");
    let mut agent = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let on_second = |words: &str| {
        let path = host.project("app", &format!("services:\n  web:\n{SLEEP}"));
        let mut args = vec!["-H", &socket, "-f", path.to_str().unwrap()];
        args.extend(words.split_whitespace());
        host.wharfie_with(&args)
    };
    let ping = format!(
        "curl -sf --unix-socket {} http://node/_ping",
        host.path("second/w.sock").display()
    );
    eventually("the second answers", || match host.shell(&ping) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    let tar = crate::support::image("busybox");
    host.wharfie_with(&[
        "-H",
        &socket,
        "image",
        "import",
        tar.to_str().unwrap(),
        "busybox:1.35",
    ])
    .succeeds();
    host.compose("app", &format!("services:\n  web:\n{SLEEP}"), "up -d")
        .succeeds();
    on_second("up -d").succeeds();
    for words in ["exec -T web true", "down"] {
        on_second(words).succeeds();
    }
    assert_eq!(
        host.inspect("app-web-1")["State"]["Status"],
        "running",
        "the first node's goes on"
    );
    host.exec("app", "web", "true").succeeds();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(agent.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    agent.wait().unwrap();
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_restarted_policy_holds_across_a_crash() {
    let mut host = Host::new();
    let file = "services:\n  web:\n    image: busybox:1.35\n    restart: always\n    command: sh -c 'while ! test -e /go; do sleep 0.05; done; rm /go; exit 1'\n    stop_signal: SIGKILL\n";
    host.compose("app", file, "up -d").succeeds();
    let pid = host.inspect("app-web-1")["State"]["Pid"].clone();
    host.kill_agent();
    host.shell(&format!("touch /proc/{pid}/root/go")).succeeds();
    until_ended(&pid);
    host.start_agent();
    eventually("it runs again", || match host.inspect("app-web-1") {
        it if it["State"]["Status"] == "running" && it["RestartCount"] == 1 => Ok(()),
        it => Err(it["State"].to_string()),
    });
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_node_killed_in_the_middle_of_up_or_down_finishes_with_the_next_one() {
    let mut host = Host::new();
    for milliseconds in [20, 80, 150, 250] {
        let mut up = begin(&host, &ten(), "up -d");
        std::thread::sleep(Duration::from_millis(milliseconds));
        host.kill_agent();
        let _ = up.wait();
        host.start_agent();
        host.compose("app", &ten(), "up -d").succeeds();
        assert_eq!(host.wharfie("-p app ps -q").stdout.lines().count(), 10);
        let mut down = begin(&host, &ten(), "down");
        std::thread::sleep(Duration::from_millis(milliseconds));
        host.kill_agent();
        let _ = down.wait();
        host.start_agent();
        host.compose("app", &ten(), "down -v").succeeds();
        host.leaves_nothing();
    }
}
