//! Images in a cluster: what one node has, the others get from it, and all run the same bytes.

use std::fs;

use crate::registry::{Registry, log_in, only_anna};
use crate::support::binary;
use crate::support::cluster::{Cluster, REGISTRY, secs};

/// One container on each of so many hosts, that answers with its files.
fn file(image: &str, replicas: usize) -> String {
    format!(
        r#"
services:
  web:
    image: {image}
    init: true
    command: httpd -f -p 80 -h /
    ports: ["8080:80"]
    deploy: {{replicas: {replicas}, placement: {{max_replicas_per_node: 1}}}}
"#
    )
}

/// What the container of each host says is in `/marker`: a host asks its own, if it has one.
fn markers(cluster: &Cluster) -> Vec<String> {
    let hosts = 0..cluster.count();
    let marker = |index: usize| {
        let (answer, _) = cluster.within(secs(60), "the container answers", || {
            let ask = "curl -sf --max-time 5 http://127.0.0.1:8080/marker";
            match cluster.host(index).shell(ask) {
                ran if ran.code == 0 => Ok(ran.stdout.trim().to_owned()),
                ran => Err(ran.to_string()),
            }
        });
        answer
    };
    hosts.map(marker).collect()
}

/// The registry that every host reaches.
fn url() -> String {
    format!("http://{REGISTRY}")
}

fn images(cluster: &Cluster, index: usize) -> String {
    cluster.host(index).wharfie("image ls").succeeds().stdout
}

#[test]
fn an_image_that_one_manager_has_runs_on_every_node_and_no_registry_is_asked() {
    let cluster = Cluster::without_images(2, 1);
    let changes = ["--change", r#"CMD ["sh"]"#];
    // Not where it is deployed.
    cluster.host(1).import("busybox", "busybox:1.35", &changes);
    let text = file("busybox:1.35", 3);
    cluster
        .host(0)
        .compose("app", &text, "up -d --wait --pull never")
        .succeeds();
    for index in 0..3 {
        assert!(images(&cluster, index).contains("1.35"), "host {index}");
    }
    // It is the same one: nothing changes when another manager is asked.
    cluster
        .host(1)
        .compose("app", &text, "up -d --wait")
        .succeeds()
        .never_says("Recreated");

    let unknown = "services: {web: {image: \"nowhere.invalid/box:1\"}}";
    let ran = cluster.host(0).compose("other", unknown, "up -d --wait");
    assert!(ran.code != 0, "{ran}");
    ran.says("no manager had nowhere.invalid/box:1 when it was deployed, and pulling failed: ");

    for project in ["other", "app"] {
        cluster
            .host(0)
            .wharfie(&format!("-p {project} down"))
            .succeeds();
    }
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}

#[test]
fn an_image_goes_on_coming_from_another_node_when_the_one_that_sends_it_dies() {
    let mut cluster = Cluster::without_images(3, 1);
    // Half a minute's worth of a slow cable, which nothing can pack.
    let noise = cluster.host(1).path("noise");
    cluster
        .host(1)
        .shell(&format!(
            "head -c 24000000 /dev/urandom > {}",
            noise.display()
        ))
        .succeeds();
    let archive = cluster.host(1).path("archive.tar");
    let layer = cluster.host(1).path("layer.tar");
    cluster
        .host(1)
        .shell(&format!(
            "cp {busybox} {layer} && tar -C {folder} -rf {layer} noise",
            busybox = crate::support::image("busybox").display(),
            layer = layer.display(),
            folder = noise.parent().unwrap().display(),
        ))
        .succeeds();
    let wharfie = |index: usize, words: &str| cluster.host(index).wharfie(words).succeeds();
    wharfie(1, &format!("image import {} big:1", layer.display()));
    cluster
        .host(1)
        .shell(&format!(
            "curl -sf --unix-socket {} -o {} 'http://node/images/get?names=big:1'",
            cluster.host(1).path("run/wharfie.sock").display(),
            archive.display()
        ))
        .succeeds();
    wharfie(2, &format!("image load -i {}", archive.display()));
    for index in [1, 2] {
        cluster
            .host(index)
            .shell("tc qdisc add dev cable0 root tbf rate 16mbit burst 64kb latency 400ms")
            .succeeds();
    }
    let text = "services:\n  web:\n    image: big:1\n    init: true\n    command: sleep 1000000\n    \
                deploy: {placement: {constraints: [\"node.hostname == node3\"]}}\n";
    let file = cluster.host(2).path("compose.yaml");
    fs::write(&file, text).unwrap();
    let mut up = cluster.host(2).command(binary());
    up.args(["-p", "app", "-f"]).arg(&file);
    let mut up = up.args(["up", "-d", "--wait"]).spawn().unwrap();
    cluster.within(secs(60), "it is on its way", || {
        let coming = fs::read_dir(cluster.host(3).path("data/images/tmp"));
        let coming = coming.into_iter().flatten().flatten();
        let bytes: u64 = coming
            .filter_map(|it| Some(it.metadata().ok()?.len()))
            .sum();
        (bytes > 1_000_000)
            .then_some(())
            .ok_or(format!("{bytes} bytes"))
    });
    // The leader may be the one that dies.
    cluster.kill(1);
    assert!(up.wait().unwrap().success());
    assert!(images(&cluster, 3).contains("big"));
    cluster.start(1);
    cluster.host(2).wharfie("-p app down").succeeds();
    for index in 0..4 {
        cluster.host(index).leaves_nothing();
    }
}

#[test]
fn replicas_run_the_same_bytes_although_the_tag_moves_between_them() {
    let cluster = Cluster::without_images(1, 2);
    let registry = Registry::serve(cluster.switch(), &url(), "", "", "");
    registry.push(cluster.switch(), "tools/box", "1", "one");
    let image = format!("{REGISTRY}/tools/box:1");
    let up = |replicas: usize, words: &str| {
        let ran = cluster
            .host(0)
            .compose("app", &file(&image, replicas), words);
        ran.succeeds()
    };
    up(1, "up -d --wait");
    registry.push(cluster.switch(), "tools/box", "1", "two");
    up(3, "up -d --wait");
    assert_eq!(markers(&cluster), ["one", "one", "one"]);
    up(3, "up -d --wait --pull always");
    cluster.within(secs(60), "all have been replaced", || {
        let markers = markers(&cluster);
        let all = markers.iter().all(|it| it == "two");
        all.then_some(()).ok_or(format!("{markers:?}"))
    });
    up(3, "up -d --wait").never_says("Recreated");
    cluster.host(0).wharfie("-p app down").succeeds();
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}

#[test]
fn a_login_reaches_the_node_that_has_to_pull_and_lies_nowhere_in_clear() {
    let cluster = Cluster::without_images(1, 2);
    let auth = only_anna(cluster.switch());
    let registry = Registry::serve(cluster.switch(), &url(), "", &auth, "-u anna:secret");
    registry.push(cluster.switch(), "tools/box", "1", "closed");
    let text = format!(
        "services:\n  web:\n    image: {REGISTRY}/tools/box:1\n    init: true\n    \
         command: sleep 1000000\n    deploy: {{placement: {{constraints: [\"node.hostname == node2\"]}}}}\n"
    );
    let ran = cluster.host(0).compose("app", &text, "up -d --wait");
    assert!(ran.code != 0, "{ran}");
    ran.says("login");

    log_in(cluster.host(0), REGISTRY, "anna:secret");
    cluster
        .host(0)
        .compose("app", &text, "up -d --wait")
        .succeeds();
    assert!(images(&cluster, 2).contains("tools/box"));
    assert!(!images(&cluster, 1).contains("tools/box"));
    for index in 0..3 {
        // As it is, and as base64 of an object that begins with it.
        let found = cluster.host(index).shell(&format!(
            "grep -rlaE 'anna|eyJwYXNzd29yZCI|eyJ1c2VybmFtZSI' {} || true",
            cluster.host(index).path("data").display()
        ));
        assert_eq!(found.stdout, "", "host {index}");
    }
    cluster.host(0).wharfie("-p app down").succeeds();
    for index in 0..3 {
        cluster.host(index).leaves_nothing();
    }
}

#[test]
fn an_image_that_only_a_worker_has_is_found_by_its_name() {
    let cluster = Cluster::without_images(1, 2);
    let host = cluster.host(1);
    host.import(
        "busybox",
        "brought.invalid/box:1",
        &["--change", r#"CMD ["sh"]"#],
    );
    let file = "
services:
  web:
    image: brought.invalid/box:1
    init: true
    command: sleep 1000000
    deploy: {mode: global}
";
    let ran = cluster.host(0).compose("app", file, "up -d").succeeds();
    ran.says("brought.invalid/box:1 is what node1 has: no manager has it");
    let shown = cluster.host(0).wharfie("-p app ps --format {{.State}}");
    assert_eq!(shown.stdout, "running\nrunning\nrunning\n");
    // Whatever it was called when it was made: it is on all of them.
    let networks = cluster.host(0).wharfie("network ls").succeeds();
    let line = networks
        .stdout
        .lines()
        .find(|it| it.contains("app_default"));
    assert!(line.is_some_and(|it| it.contains("swarm")), "{networks}");
    cluster.host(0).wharfie("-p app down").succeeds();
}
