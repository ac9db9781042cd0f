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
    // What is frozen is stopped all the same.
    first.wharfie("-p app stop -t 5").succeeds();
    other.wharfie("-p app ps -a").succeeds().says("Exited");
    first.wharfie("-p app down").succeeds();
    cluster.host(3).leaves_nothing();
}
