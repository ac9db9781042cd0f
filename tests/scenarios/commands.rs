//! What each command does to a running stack.

use std::collections::BTreeSet;

use crate::support::Host;

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

fn two() -> String {
    format!("services:\n  web:\n{SLEEP}  db:\n{SLEEP}")
}

fn ids(host: &Host, words: &str) -> BTreeSet<String> {
    let listed = host
        .wharfie(&format!("-p app ps -q --no-trunc {words}"))
        .succeeds();
    listed.stdout.lines().map(str::to_owned).collect()
}

fn status(host: &Host, container: &str) -> String {
    host.inspect(container)["State"]["Status"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn stop_start_restart_and_kill_act_on_the_named_service_alone() {
    let host = Host::new();
    host.compose("app", &two(), "up -d").succeeds();
    let before = ids(&host, "");
    host.wharfie("-p app stop web").succeeds();
    assert_eq!(
        (status(&host, "app-web-1"), status(&host, "app-db-1")),
        ("exited".into(), "running".into())
    );
    assert_eq!(host.inspect("app-web-1")["State"]["ExitCode"], 143);
    host.wharfie("-p app start web").succeeds();
    assert_eq!(ids(&host, ""), before, "the same container runs again");
    let pid = |host: &Host| host.inspect("app-web-1")["State"]["Pid"].clone();
    let first = pid(&host);
    host.wharfie("-p app restart web").succeeds();
    assert_ne!(pid(&host), first);
    assert_eq!(ids(&host, ""), before);
    host.wharfie("-p app kill web").succeeds();
    assert_eq!(host.inspect("app-web-1")["State"]["ExitCode"], 137);
    assert_eq!(status(&host, "app-db-1"), "running");
    host.compose("app", &two(), "up -d").succeeds();
    assert_eq!(status(&host, "app-web-1"), "running");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn rm_removes_what_is_stopped_and_up_makes_it_anew() {
    let host = Host::new();
    host.compose("app", &two(), "up -d").succeeds();
    host.wharfie("-p app rm -f web").succeeds();
    assert_eq!(ids(&host, "-a").len(), 2, "what runs is not removed");
    host.wharfie("-p app rm -s -f web").succeeds();
    assert_eq!(ids(&host, "-a").len(), 1);
    host.compose("app", &two(), "up -d").succeeds();
    assert_eq!(ids(&host, "").len(), 2);
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn scale_adds_and_removes_the_last_ones() {
    let host = Host::new();
    host.compose("app", &two(), "up -d --scale web=3")
        .succeeds();
    let three = ids(&host, "web");
    assert_eq!(three.len(), 3);
    host.compose("app", &two(), "scale web=1").succeeds();
    assert!(ids(&host, "web").is_subset(&three));
    assert_eq!(ids(&host, "web").len(), 1);
    assert_eq!(status(&host, "app-web-1"), "running");
    host.compose("app", &two(), "scale web=0").succeeds();
    assert_eq!(ids(&host, "-a").len(), 1, "only db is left");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn force_recreate_replaces_all_and_up_of_a_service_touches_no_other() {
    let host = Host::new();
    host.compose("app", &two(), "up -d web").succeeds();
    let first = ids(&host, "-a");
    assert_eq!(first.len(), 1);
    host.compose("app", &two(), "up -d").succeeds();
    let both = ids(&host, "-a");
    assert!(both.is_superset(&first));
    host.compose("app", &two(), "up -d --force-recreate")
        .succeeds();
    let new = ids(&host, "-a");
    assert_eq!(new.len(), 2);
    assert!(new.is_disjoint(&both));
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn orphans_are_named_and_removed_when_asked() {
    let host = Host::new();
    host.compose("app", &two(), "up -d").succeeds();
    let one = format!("services:\n  web:\n{SLEEP}");
    host.compose("app", &one, "up -d").succeeds().says("db");
    assert_eq!(ids(&host, "--orphans=true").len(), 2);
    host.compose("app", &one, "up -d --remove-orphans")
        .succeeds();
    assert_eq!(ids(&host, "-a").len(), 1);
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn profiles_choose_services() {
    let host = Host::new();
    let file = format!("{}  debug:\n{SLEEP}    profiles: [tools]\n", two());
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(ids(&host, "-a").len(), 2);
    host.compose("app", &file, "--profile tools up -d")
        .succeeds();
    assert_eq!(ids(&host, "-a").len(), 3);
    host.compose("app", &file, "--profile tools down")
        .succeeds();
    host.leaves_nothing();
}

#[test]
fn a_container_has_the_name_that_it_was_given() {
    let host = Host::new();
    let file =
        format!("services:\n  web:\n{SLEEP}    container_name: the-one\n    hostname: box\n");
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(status(&host, "the-one"), "running");
    assert_eq!(host.exec("app", "web", "hostname").stdout.trim(), "box");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_run_leaves_nothing_with_rm_and_keeps_its_container_without() {
    let host = Host::new();
    host.compose("app", &two(), "up -d").succeeds();
    host.compose("app", &two(), "run --rm -T web echo hello")
        .succeeds()
        .says("hello");
    assert_eq!(ids(&host, "-a").len(), 2);
    host.wharfie_with(&[
        "-f",
        host.project("app", &two()).to_str().unwrap(),
        "run",
        "-T",
        "--name",
        "kept",
        "web",
        "sh",
        "-c",
        "exit 9",
    ])
    .fails_with(9);
    assert_eq!(host.inspect("kept")["State"]["ExitCode"], 9);
    host.compose("app", &two(), "down --remove-orphans")
        .succeeds();
    host.leaves_nothing();
}

#[test]
fn files_go_in_and_out_of_containers_and_never_past_their_root() {
    let host = Host::new();
    host.compose("app", &two(), "up -d").succeeds();
    let id = ids(&host, "web").into_iter().next().expect("one runs");
    let socket = host.path("run/wharfie.sock");
    let archive = |method: &str, path: &str, rest: &str| {
        host.shell(&format!(
            "curl -sS --fail-with-body --max-time 60 --unix-socket {} -X {method} \
             'http://node/containers/{id}/archive?path={path}' {rest}",
            socket.display()
        ))
    };
    let canary = host.path("canary");
    std::fs::create_dir_all(&canary).expect("a directory of the host");
    host.shell(&format!("echo hello > {}/greeting", canary.display()))
        .succeeds();
    let tar = host.path("in.tar");
    host.shell(&format!(
        "tar -C {} -cf {} greeting",
        canary.display(),
        tar.display()
    ))
    .succeeds();
    let upload = format!("--data-binary @{}", tar.display());
    archive("PUT", "/tmp", &upload).succeeds();
    archive("GET", "/tmp/greeting", "| tar -xO")
        .succeeds()
        .says("hello");
    archive("GET", "/nowhere", "").says("Could not find the file /nowhere");
    // A link that leads to a directory of the host leads nowhere in the container.
    let link = format!("ln -s {} /tmp/out", canary.display());
    host.wharfie_with(&["-p", "app", "exec", "-T", "web", "sh", "-c", &link])
        .succeeds();
    archive("GET", "/tmp/out/greeting", "").says("Could not find the file");
    archive("PUT", "/tmp/out", &upload).says("Could not find the file");
    let inside = std::fs::read_dir(&canary).expect("it is there").count();
    assert_eq!(inside, 1, "nothing was written to the host");
    host.wharfie("-p app stop -t 0").succeeds();
    archive("GET", "/tmp/greeting", "| tar -xO")
        .succeeds()
        .says("hello");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
