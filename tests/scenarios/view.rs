//! One view: whichever manager is asked, it answers for the containers of every node.

use crate::support::cluster::{Cluster, secs};

/// A service on the last host, that says what it hears.
fn far(node: &str) -> String {
    format!(
        r#"
services:
  web:
    image: busybox:1.35
    init: true
    command: ["sh", "-c", "trap 'echo signalled' USR1; echo begun; while :; do sleep 0.2; done"]
    environment: {{COLOUR: green}}
    ports: ["8080:80"]
    deploy: {{placement: {{constraints: ["node.hostname == {node}"]}}}}
"#
    )
}

#[test]
fn a_container_is_reached_by_its_services_name_from_every_manager() {
    let cluster = Cluster::of(3, 1);
    let first = cluster.host(0);
    first
        .compose("app", &far("node3"), "up -d --wait")
        .succeeds();

    for index in 0..3 {
        let host = cluster.host(index);
        // The leader has it before the others: they answer as soon as they have heard of it.
        cluster.within(secs(30), "it is known", || {
            let ran = host.exec("app", "web", "echo $COLOUR");
            (ran.stdout == "green\n")
                .then_some(())
                .ok_or_else(|| ran.to_string())
        });
        let code = host.exec("app", "web", "exit 7").code;
        assert_eq!(code, 7);
        let heard = host.shell(&format!(
            "echo over there | {} -p app exec -T web cat",
            crate::support::binary()
        ));
        assert_eq!(heard.stdout, "over there\n", "{heard}");
        host.wharfie("-p app logs web").succeeds().says("begun");
        host.wharfie("-p app top").succeeds().says("sleep 0.2");
        let stats = host.wharfie("-p app stats --no-stream").succeeds();
        stats.says("app-web-1");
        host.wharfie("-p app port web 80").succeeds().says(":8080");

        // Files go there and come back.
        let (here, back) = (host.path("here"), host.path("back"));
        std::fs::write(&here, format!("of host {index}")).unwrap();
        let target = format!("-p app cp {} web:/tmp/there", here.display());
        host.wharfie(&target).succeeds();
        let source = format!("-p app cp web:/tmp/there {}", back.display());
        host.wharfie(&source).succeeds();
        let text = std::fs::read_to_string(&back).unwrap();
        assert_eq!(text, format!("of host {index}"));
    }

    // A terminal's way in, and signals, from a manager that does not lead.
    let other = cluster.host(2);
    other.wharfie("-p app kill -s USR1 web").succeeds();
    cluster.within(secs(30), "the process has heard the signal", || {
        let said = other.logs("app", "web");
        said.contains("signalled").then_some(()).ok_or(said)
    });
    other.wharfie("-p app pause web").succeeds();
    for index in 0..3 {
        let shown = cluster.host(index).wharfie("-p app ps").succeeds();
        shown.says("(Paused)");
    }
    // What was done there by way of one manager, another one tells of.
    cluster.within(secs(30), "what was done is told", || {
        let ran = cluster
            .host(1)
            .wharfie("-p app events --since 10m --until 0s");
        let told = [" start ", "exec_start: cat", " kill ", " pause "];
        (told.iter().all(|it| ran.stdout.contains(it)))
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    // What is frozen is stopped all the same.
    first.wharfie("-p app stop -t 5").succeeds();
    cluster.within(secs(30), "the others have heard of its end", || {
        let ran = other.wharfie("-p app ps -a");
        (ran.stdout.contains("Exited"))
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    first.wharfie("-p app down").succeeds();
    cluster.host(3).leaves_nothing();
}

/// Two containers, on the second and the third host, that say who they are.
const TWO: &str = r#"
services:
  web:
    image: busybox:1.35
    init: true
    command: ["sh", "-c", "echo begun as $$(hostname); sleep 0.3; echo still $$(hostname); sleep 1000000"]
    deploy: {replicas: 2, placement: {constraints: ["node.hostname != node0"]}}
"#;

/// Who has begun, in the order in which they said so.
fn begun(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines
        .filter_map(|line| Some(line.split_once("begun as ")?.1.trim()))
        .collect()
}

#[test]
fn the_logs_of_all_nodes_are_merged_by_time_and_followed_to_another_node() {
    let mut cluster = Cluster::of(1, 2);
    cluster
        .host(0)
        .compose("app", TWO, "up -d --wait")
        .succeeds();
    let (said, _) = cluster.within(secs(30), "both have spoken", || {
        let ran = cluster.host(0).wharfie("-p app logs -t --no-color web");
        (ran.stdout.matches("still ").count() == 2)
            .then(|| ran.stdout.clone())
            .ok_or_else(|| ran.to_string())
    });
    assert!(
        said.contains("web-1  | ") && said.contains("web-2  | "),
        "{said}"
    );
    let times: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once("| ")?.1.split(' ').next())
        .collect();
    assert!(times.len() == 4 && times.is_sorted(), "{said}");

    let heard = cluster.host(0).path("heard");
    let mut follower = cluster
        .host(0)
        .command(crate::support::binary())
        .args(["-p", "app", "logs", "-f", "--no-color", "web"])
        .stdout(std::fs::File::create(&heard).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&heard).unwrap();
    cluster.within(secs(30), "what was said is told", || {
        let text = read();
        (begun(&text).len() == 2).then_some(()).ok_or(text)
    });
    cluster.power_off(2);
    cluster.within(secs(60), "the one that takes the place is heard", || {
        let text = read();
        let mut all = begun(&text);
        all.sort();
        all.dedup();
        (all.len() == 3).then_some(()).ok_or_else(|| {
            let shown = cluster.host(0).wharfie("-p app ps -a");
            format!("{text}\n{shown}")
        })
    });
    follower.kill().unwrap();
    follower.wait().unwrap();

    // What can be read is shown, and what cannot is said.
    let ran = cluster.host(0).wharfie("-p app logs web").succeeds();
    assert!(begun(&ran.stdout).len() >= 2, "{ran}");
    cluster.power_on(2);
    cluster.host(0).wharfie("-p app down").succeeds();
    cluster.host(1).leaves_nothing();
}

/// A container that can run on one node only, since its data is there.
const BOUND: &str = r#"
services:
  db:
    image: busybox:1.35
    init: true
    restart: always
    command: sleep 1000000
    volumes: ["data:/data"]
    deploy: {placement: {constraints: ["node.hostname == node1"]}}
volumes: {data: {}}
"#;

#[test]
fn a_container_on_a_node_that_is_down_is_said_to_be_there_and_out_of_reach() {
    let mut cluster = Cluster::of(1, 2);
    let first = cluster.host(0);
    first.compose("app", BOUND, "up -d --wait").succeeds();
    let shown = first.wharfie("-p app ps").succeeds();
    shown.says("NODE").says("node1");
    let shown = first.wharfie("-p app ps --format json").succeeds();
    shown.says(r#""Node":"node1""#);
    first
        .wharfie("node ps node1")
        .succeeds()
        .says("app-db-1")
        .says("Running");
    first
        .wharfie("node ps node2")
        .succeeds()
        .never_says("app-db-1");

    // A worker knows of its own only, and says so.
    let ran = cluster.host(1).exec("app", "db", "echo here");
    assert_eq!(ran.stdout, "here\n", "{ran}");
    cluster
        .host(2)
        .exec("app", "db", "true")
        .fails_with(1)
        .says("This node is a worker")
        .says("10.77.0.1");
    cluster
        .host(2)
        .wharfie("-p app why db")
        .fails_with(1)
        .says("10.77.0.1");

    cluster.power_off(1);
    cluster.within(secs(60), "the node is down", || {
        let nodes = cluster.nodes_seen_by(0)?;
        let down = nodes.iter().any(|node| node.status == "Down");
        down.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    for words in [
        "-p app exec -T db true",
        "-p app logs db",
        "-p app cp db:/etc/hosts /tmp",
        "-p app top db",
    ] {
        let ran = cluster.host(0).wharfie(words);
        assert_ne!(ran.code, 0, "{ran}");
        ran.says("node node1 is down since")
            .says("the container app-db-1 cannot be reached");
    }
    cluster
        .host(0)
        .wharfie("-p app ps")
        .succeeds()
        .says("app-db-1: node node1 is down since");
    cluster
        .host(0)
        .wharfie("-p app why db")
        .succeeds()
        .says("0 of 1 running")
        .says("node node1 is down, and it can run nowhere else");

    cluster.power_on(1);
    cluster.within(secs(60), "it is reached again", || {
        let ran = cluster.host(0).exec("app", "db", "echo back");
        (ran.stdout == "back\n")
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    cluster.host(0).wharfie("-p app down -v").succeeds();
    cluster.host(1).leaves_nothing();
}

const STUCK: &str = r#"
services:
  nowhere:
    image: busybox:1.35
    command: sleep 1000000
    deploy: {placement: {constraints: ["node.labels.disk == ssd"]}}
  broken:
    image: busybox:1.35
    init: true
    command: ["sh", "-c", "echo cannot reach the database; exit 3"]
    restart: "no"
    deploy: {placement: {constraints: ["node.hostname == node1"]}}
"#;

#[test]
fn why_says_what_each_node_objects_to_and_how_a_container_failed_wherever_it_was() {
    let cluster = Cluster::of(1, 1);
    let first = cluster.host(0);
    first.compose("app", STUCK, "up -d --wait").fails_with(1);
    cluster.within(secs(60), "it is known why it has no place", || {
        let ran = first.wharfie("-p app why nowhere");
        let rows = ["node0", "node1"]
            .iter()
            .all(|node| ran.stdout.contains(node));
        let says = ran
            .stdout
            .contains("no node can run it: 2 without `node.labels.disk==ssd`");
        (rows && says).then_some(()).ok_or_else(|| ran.to_string())
    });
    cluster.within(secs(60), "it is known how it failed", || {
        let ran = first.wharfie("-p app why broken");
        let says = |text: &str| ran.stdout.contains(text);
        (says("exit code 3") && says("on node1") && says("| cannot reach the database"))
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    first
        .wharfie("-p app ps -a")
        .succeeds()
        .says("app-nowhere-1: no node can run it");

    first
        .wharfie("node update --label-add disk=ssd node1")
        .succeeds();
    cluster.within(secs(60), "it runs", || {
        let ran = first.wharfie("-p app why nowhere");
        (ran.stdout.starts_with("nowhere: 1 of 1 running"))
            .then_some(())
            .ok_or_else(|| ran.to_string())
    });
    first.wharfie("-p app down -t 0").succeeds();
    cluster.host(1).leaves_nothing();
}

#[test]
fn what_another_node_tries_in_vain_is_told_where_down_waits_for_it() {
    let cluster = Cluster::of(1, 2);
    let first = cluster.host(0);
    first.compose("app", BOUND, "up -d --wait").succeeds();
    // Data that cannot be deleted.
    let kept = cluster.host(1).path("data/volumes/app_data/_data/kept");
    let kept = kept.display();
    let line = format!("touch {kept} && chattr +i {kept}");
    cluster.host(1).shell(&line).succeeds();
    let down = [
        "WHARFIE_PATIENCE=3",
        crate::support::binary(),
        "-p",
        "app",
        "down",
        "-v",
    ];
    let ran = first.run("env", &down);
    let folders = cluster.host(1).path("data/volumes");
    let line = format!("chattr -R -i {}", folders.display());
    cluster.host(1).shell(&line).succeeds();
    ran.fails_with(1)
        .says("Node Retrying node node1: volume app_data: ")
        .says("not permitted");
    first.wharfie("-p app down -v").succeeds();
    cluster.host(1).leaves_nothing();
}
