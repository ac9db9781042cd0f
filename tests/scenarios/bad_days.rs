//! What goes wrong outside is said in one sentence, and the next command works.

use crate::support::{Host, binary};

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
