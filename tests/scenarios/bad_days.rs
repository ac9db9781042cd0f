//! What goes wrong outside is said in one sentence, and the next command works.

use crate::support::{Host, binary, eventually};

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

#[test]
fn a_full_disk_is_named_and_up_works_when_there_is_room_again() {
    let mut host = Host::bare();
    let data = host.path("data");
    std::fs::create_dir_all(&data).unwrap();
    host.shell(&format!(
        "mount -t tmpfs -o size=12m none {}",
        data.display()
    ))
    .succeeds();
    host.start_agent();
    host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
    host.shell(&format!(
        "dd if=/dev/zero of={}/filler bs=64k; sync",
        data.display()
    ));
    let file =
        format!("services:\n  web:\n{SLEEP}    volumes: [\"data:/var\"]\nvolumes: {{data: }}\n");
    let ran = host.compose("app", &file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("No space left");
    host.shell(&format!("rm {}/filler", data.display()))
        .succeeds();
    host.compose("app", &file, "up -d").succeeds();
    host.exec("app", "web", "true").succeeds();
    host.compose("app", &file, "down -v").succeeds();
}

#[test]
fn when_not_even_decisions_can_be_written_that_is_said_and_all_goes_on_when_there_is_room() {
    let mut host = Host::bare();
    let data = host.path("data");
    std::fs::create_dir_all(&data).unwrap();
    host.shell(&format!(
        "mount -t tmpfs -o size=24m none {}",
        data.display()
    ))
    .succeeds();
    host.start_agent();
    host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
    let file = "services:\n  web:\n    image: busybox:1.35\n    init: true\n    command: sh -c 'while sleep 0.1; do echo tick; done'\n";
    host.compose("app", file, "up -d").succeeds();
    host.shell(&format!(
        "dd if=/dev/zero of={}/filler bs=64k; true",
        data.display()
    ));

    // The log of decisions has room set aside; this uses it up.
    let label = "x".repeat(100_000);
    let body = host.path("volume.json");
    let refused = (0..100).find_map(|number| {
        let text = serde_json::json!({ "Name": format!("v{number}"), "Labels": { "big": label } });
        std::fs::write(&body, text.to_string()).unwrap();
        let ran = host.shell(&format!(
            "curl -s --max-time 20 -X POST -H 'Content-Type: application/json' --data @{} --unix-socket {} http://node/volumes/create",
            body.display(),
            host.path("run/wharfie.sock").display()
        ));
        assert!(ran.code == 0, "it does not answer in time: {ran}");
        ran.stdout.contains("no room").then_some(ran)
    });
    refused
        .expect("the room is used up at some time")
        .says("No space left");
    let changed = file.replace("tick", "tock");
    let began = std::time::Instant::now();
    let ran = host.compose("app", &changed, "up -d").fails_with(1);
    ran.says("no room").says("No space left").says("hint: ");
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "it waits"
    );
    host.wharfie("-p app down").fails_with(1).says("no room");
    // What runs knows nothing of it.
    host.exec("app", "web", "echo fine").succeeds().says("fine");

    host.shell(&format!("rm {}/filler", data.display()))
        .succeeds();
    eventually("it takes on work again", || {
        let ran = host.compose("app", &changed, "up -d");
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.to_string())
        }
    });
    eventually("the new container speaks", || {
        let said = host.logs("app", "web");
        if said.contains("tock") {
            Ok(())
        } else {
            Err(said)
        }
    });
    host.compose("app", file, "down -v").succeeds();
    host.shell(&format!("umount --lazy {}", data.display()))
        .succeeds();
    host.leaves_nothing();
}

#[test]
fn on_a_full_disk_a_stack_still_comes_down_and_a_pull_is_refused_in_a_sentence() {
    let mut host = Host::bare();
    let data = host.path("data");
    std::fs::create_dir_all(&data).unwrap();
    host.shell(&format!(
        "mount -t tmpfs -o size=24m none {}",
        data.display()
    ))
    .succeeds();
    host.start_agent();
    host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
    // Its own writes and its output meet the full disk as well.
    let file = "services:\n  web:\n    image: busybox:1.35\n    init: true\n    command: sh -c 'while sleep 0.05; do echo tick; done'\n";
    host.compose("app", file, "up -d").succeeds();
    host.shell(&format!(
        "dd if=/dev/zero of={}/filler bs=64k; true",
        data.display()
    ));
    let ran = host.exec("app", "web", "dd if=/dev/zero of=/file bs=64k count=20");
    assert!(ran.code != 0, "{ran}");
    ran.says("No space left");
    let tar = crate::support::image("busybox");
    let ran = host.wharfie_with(&["image", "import", &tar.to_string_lossy(), "other:1"]);
    assert!(ran.code != 0, "{ran}");
    ran.says("no space left").never_says("panicked");
    // A node that is started again there goes on.
    host.kill_agent();
    host.start_agent();
    assert_eq!(host.inspect("app-web-1")["State"]["Status"], "running");
    host.wharfie("-p app down").succeeds();
    host.shell(&format!("umount --lazy {}", data.display()))
        .succeeds();
    host.leaves_nothing();
}

#[test]
fn without_root_no_node_is_started_and_that_is_said() {
    let host = Host::bare();
    let ran = host.run(
        "setpriv",
        &[
            "--reuid",
            "65534",
            "--clear-groups",
            binary(),
            "agent",
            "--data-root",
            "/tmp/nowhere",
        ],
    );
    assert!(ran.code != 0, "{ran}");
    ran.says("root").never_says("panicked");
}

#[test]
fn what_the_host_lacks_is_named_at_once_also_by_an_up_that_starts_the_node() {
    let host = Host::bare();
    host.shell(
        "umount --recursive --lazy /sys/fs/cgroup && mount --bind /dev/null $(command -v nft)",
    )
    .succeeds();
    let file = host.project("app", &format!("services:\n  web:\n{SLEEP}"));
    let line = format!(
        "unset WHARFIE_HOST; WHARFIE_DATA_ROOT={} WHARFIE_EXEC_ROOT={} {} -f {} up -d",
        host.path("data").display(),
        host.path("run").display(),
        binary(),
        file.display()
    );
    host.shell(&line)
        .fails_with(1)
        .says("the program `nft`")
        .says("Install the package `nftables`.")
        .says("control groups")
        .never_says("panicked");
    let node = host.shell(&format!("ls {}", host.path("run/wharfie.sock").display()));
    assert!(node.code != 0, "a node was started: {node}");
}

#[test]
fn without_root_an_up_says_so() {
    let host = Host::bare();
    let file = host.project("app", &format!("services:\n  web:\n{SLEEP}"));
    let folder = host.path("");
    let line = format!(
        "unset WHARFIE_HOST; chmod -R a+rwX {0}; cd {0}; WHARFIE_DATA_ROOT={0}/data WHARFIE_EXEC_ROOT={0}/run \
         setpriv --reuid 65534 --clear-groups {1} -f {2} up -d",
        folder.display(),
        binary(),
        file.display()
    );
    let ran = host.shell(&line);
    assert!(ran.code != 0, "{ran}");
    ran.says("root").never_says("panicked");
}

#[test]
fn a_container_that_cannot_be_killed_does_not_keep_down_waiting_for_ever() {
    let host = Host::new();
    let frozen = "/sys/fs/cgroup/freezer";
    if !std::path::Path::new(frozen).is_dir() {
        // With cgroup v2 there is nothing that SIGKILL does not end, but a disk that hangs.
        return;
    }
    let parent = format!("wharfie-frozen-{}", std::process::id());
    let file = format!("services:\n  web:\n{SLEEP}    cgroup_parent: /{parent}\n");
    host.compose("app", &file, "up -d").succeeds();
    let state = |text: &str| {
        host.shell(&format!("echo {text} > {frozen}/{parent}/freezer.state"))
            .succeeds()
    };
    state("FROZEN");
    let began = std::time::Instant::now();
    let ran = host.run(
        "env",
        &[
            "WHARFIE_PATIENCE=3",
            binary(),
            "-p",
            "app",
            "down",
            "-t",
            "1",
        ],
    );
    let took = began.elapsed();
    state("THAWED");
    ran.fails_with(1)
        .says("project \"app\" is not gone after 4 seconds")
        .says("app-web-1")
        .says("hint: ");
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
    host.shell(&format!(
        "rmdir /sys/fs/cgroup/*/{parent} 2>/dev/null; true"
    ))
    .succeeds();
}

#[test]
fn what_cannot_be_started_ends_with_dockers_codes_and_its_reason() {
    let host = Host::new();
    let file = format!(
        "services:\n  web:\n{SLEEP}  bad:\n    image: busybox:1.35\n    command: sleep 1000000\n    sysctls: {{net.ipv4.ip_forward: odd}}\n"
    );
    host.compose("app", &file, "up -d web").succeeds();
    let run = |words: &str| host.compose("app", &file, &format!("run --rm -T {words}"));
    run("web no-such-program")
        .fails_with(127)
        .says("executable file not found in $PATH");
    run("web /bin").fails_with(126).says("is a directory");
    run("bad").fails_with(125).says("net/ipv4/ip_forward");
    let exec = |words: &str| host.wharfie(&format!("-p app exec -T web {words}"));
    exec("no-such-program").fails_with(127);
    exec("/bin").fails_with(126);
    for words in ["up -d bad", "up bad"] {
        host.compose("app", &file, words)
            .fails_with(1)
            .says("could not be started")
            .says("net/ipv4/ip_forward");
    }
    host.wharfie("-p app ps -a").says("Exited (125)");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_dead_registry_and_a_missing_image_are_told_apart() {
    let host = Host::new();
    let file = format!(
        "services:\n  web:\n{}",
        SLEEP.replace("busybox:1.35", "127.0.0.1:5999/nothing:1")
    );
    let ran = host.compose("app", &file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("127.0.0.1:5999").says("refused");
    let file = file.replace("    init: true", "    pull_policy: never\n    init: true");
    let ran = host.compose("app", &file, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("nothing:1");
    host.compose("app", &file, "down").succeeds();
    host.leaves_nothing();
}
