//! Commands that look into containers and reach into them: cp, export, pause, stats, wait.

use std::fs;

use crate::support::Host;

const FILE: &str = "\
services:
  web:
    image: busybox:1.35
    init: true
    command: sleep 1000000
";

#[test]
fn files_go_into_containers_and_come_back() {
    let host = Host::new();
    host.compose("app", FILE, "up -d --scale web=2").succeeds();
    let tree = host.path("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("below/leaf"), "green").unwrap();
    let here = |name: &str| host.path(name).display().to_string();
    let cp = |words: &str| host.wharfie(&format!("-p app cp {words}")).succeeds();
    cp(&format!("{} web:/srv", here("tree")));
    let read = |index: u32, path: &str| {
        let words = format!("-p app exec -T --index {index} web cat {path}");
        host.wharfie(&words).succeeds().stdout
    };
    for index in [1, 2] {
        assert_eq!(read(index, "/srv/below/leaf"), "green", "container {index}");
    }
    cp(&format!("--index 2 {} web:/one", here("tree/below/leaf")));
    assert_eq!(read(2, "/one"), "green");
    host.wharfie("-p app exec -T --index 1 web test -e /one")
        .fails_with(1);
    host.wharfie("-p app stop").succeeds();
    cp(&format!("web:/srv/below/leaf {}", here("copy")));
    assert_eq!(fs::read_to_string(host.path("copy")).unwrap(), "green");
    cp(&format!("--index 2 web:/srv {}", here("tree")));
    let back = tree.join("srv/below/leaf");
    assert_eq!(fs::read_to_string(back).unwrap(), "green");
    host.wharfie(&format!("-p app cp web:/none {}", here("copy")))
        .fails_with(1)
        .says("/none");
    host.wharfie(&format!("-p app export -o {} web", here("all.tar")))
        .succeeds();
    let listed = host
        .shell(&format!("tar tf {}", here("all.tar")))
        .succeeds();
    listed.says("srv/below/leaf");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn paused_containers_stand_still_and_go_on() {
    let host = Host::new();
    host.compose("app", FILE, "up -d").succeeds();
    let status = |host: &Host| host.inspect("app-web-1")["State"]["Status"].clone();
    host.wharfie("-p app pause web").succeeds().says("Paused");
    assert_eq!(status(&host), "paused");
    host.wharfie("-p app unpause").succeeds().says("Unpaused");
    assert_eq!(status(&host), "running");
    host.wharfie("-p app stats --no-stream")
        .succeeds()
        .says("MEM USAGE / LIMIT")
        .says("app-web-1");
    let line = host.wharfie("-p app stats --no-stream --format json");
    let seen: serde_json::Value = serde_json::from_str(line.succeeds().stdout.trim()).unwrap();
    assert_eq!(seen["Name"], "app-web-1");
    host.wharfie("-p app down --rmi all")
        .succeeds()
        .says("Image busybox:1.35 Removed");
    host.leaves_nothing();
}
