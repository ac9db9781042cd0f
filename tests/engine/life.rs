//! From create to exit: codes, signals, limits, restarts of the agent.

use std::time::Duration;

use agent::container::{ContainerError, Phase};
use scheduler::model::id::ContainerId;
use serde_json::json;

use crate::support::{Host, Running, eventually, mount};

#[tokio::test]
async fn a_program_runs_and_its_exit_code_is_told() {
    let mut host = Host::new().await;
    let (exit, text) = host.run(host.config("echo hello; hostname; exit 7")).await;
    assert_eq!(
        (exit.code, exit.error, text.as_str()),
        (7, None, "hello\nbox\n")
    );
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_program_that_cannot_run_fails_in_dockers_words() {
    let mut host = Host::new().await;
    for (args, code, message) in [
        (
            json!(["nosuch"]),
            127,
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            json!(["/nosuch"]),
            127,
            "exec: \"/nosuch\": stat /nosuch: no such file or directory",
        ),
        (
            json!(["/etc/passwd"]),
            126,
            "exec: \"/etc/passwd\": permission denied",
        ),
        (json!(["/etc"]), 126, "exec: \"/etc\": is a directory"),
    ] {
        let (exit, _) = host.run(host.config("").set("/process/args", args)).await;
        assert_eq!((exit.code, exit.error.as_deref()), (code, Some(message)));
        assert_eq!(exit.started_at, None);
    }
    host.leave_nothing().await;
}

#[tokio::test]
async fn start_tells_why_a_program_cannot_run() {
    let host = Host::new().await;
    let running = host
        .create(host.config("").set("/process/args", json!(["nosuch"])))
        .await;
    let error = host.containers.start(&running.id).await.unwrap_err();
    assert!(
        matches!(error, ContainerError::Start { code: 127, .. }),
        "{error}"
    );
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_signal_ends_it_with_128_and_its_number() {
    let mut host = Host::new().await;
    let id = host
        .start(host.config("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"))
        .await
        .id;
    host.logged(&id, &["ready"]).await;
    host.containers.signal(&id, 15).await.unwrap();
    assert_eq!(host.exit_of(&id).await.code, 5);
    let id = host.start(host.config("sleep 1000000")).await.id;
    host.containers.signal(&id, 9).await.unwrap();
    assert_eq!(host.exit_of(&id).await.code, 137);
    host.leave_nothing().await;
}

#[tokio::test]
async fn the_small_init_forwards_reaps_and_keeps_the_code() {
    let mut host = Host::new().await;
    // The orphan is init's, and a signal finds it for as long as nobody has reaped it. A shell as
    // process 1 would ignore SIGTERM; as a child of init it dies of it.
    let config = host.config(
        "(sleep 0.01 & echo $! > /orphan); while kill -0 $(cat /orphan); do sleep 0.01; done; \
        echo reaped; exec sleep 1000000",
    );
    let id = host.start(config.init()).await.id;
    host.logged(&id, &["reaped"]).await;
    host.containers.signal(&id, 15).await.unwrap();
    assert_eq!(host.exit_of(&id).await.code, 143);
    let (exit, _) = host.run(host.config("exit 9").init()).await;
    assert_eq!(exit.code, 9);
    let nosuch = host
        .config("")
        .set("/process/args", json!(["nosuch"]))
        .init();
    let (exit, _) = host.run(nosuch).await;
    assert_eq!(exit.code, 127);
    host.leave_nothing().await;
}

#[tokio::test]
async fn what_it_wrote_is_there_when_it_starts_again() {
    let mut host = Host::new().await;
    let config = host.config("cat /kept 2>/dev/null || echo new; echo old > /kept");
    let id = host.start(config).await.id;
    host.exit_of(&id).await;
    let task = scheduler::model::id::TaskId::new("second");
    host.containers.create(&id, &task).await.unwrap();
    host.containers.start(&id).await.unwrap();
    host.exit_of(&id).await;
    let log = std::fs::read_to_string(host.containers.log_path(&id)).unwrap();
    assert!(log.contains(" new\n") && log.contains(" old\n"), "{log}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn too_much_memory_is_an_oom_kill() {
    let mut host = Host::new().await;
    let config = host
        .config("head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null; exit 3")
        .set(
            "/linux/resources/memory",
            json!({ "limit": 16 << 20, "swap": 16 << 20 }),
        );
    let (exit, _) = host.run(config).await;
    assert!(exit.oom_killed, "{exit:?}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit() {
    let mut host = Host::new().await;
    // The shell gives up at the first fork that is refused.
    let script = "i=0; while [ $i -lt 200 ]; do sleep 1000000 & i=$((i+1)); echo $i; done";
    let (exit, text) = host.run(host.config(script)).await;
    assert_ne!(exit.code, 0);
    let forks = text
        .lines()
        .filter(|line| line.parse::<u32>().is_ok())
        .count();
    assert!((32..=64).contains(&forks), "{forks}: {text}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_new_agent_takes_over() {
    let mut host = Host::new().await;
    let wait = "until [ -e /go ]; do sleep 0.05; done; exit 4";
    let id = host.start(host.config(wait)).await.id;
    let quick = host.start(host.config("exit 6")).await.id;
    host.exit_of(&quick).await;
    host.restart_agent().await;
    let running = host.containers.observe(&id).await.unwrap();
    assert!(
        matches!(running.phase, Phase::Running { .. }),
        "{running:?}"
    );
    let found = Running { host: &host, id };
    assert_eq!(found.exec("touch /go").await, (0, String::new()));
    let id = found.id;
    let ended = host.containers.observe(&quick).await.unwrap();
    assert!(
        matches!(&ended.phase, Phase::Ended(exit) if exit.code == 6),
        "{ended:?}"
    );
    assert_eq!(host.exit_of(&id).await.code, 4);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_killed_shim_ends_the_run_with_a_reason() {
    let mut host = Host::new().await;
    let id = host.start(host.config("sleep 1000000")).await.id;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim_of(&host, &id)),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let exit = host.exit_of(&id).await;
    assert!(exit.error.unwrap().contains("shim"), "a reason is given");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_paused_container_stands_still_and_can_be_killed() {
    let mut host = Host::new().await;
    // In a file of the host's, where no pipe and no log stand between a tick and its sight.
    let folder = host.directory.path().join("ticks");
    std::fs::create_dir(&folder).unwrap();
    let options = ["rbind", "rw", "rprivate"];
    let ticking = host
        .config("while :; do echo tick >> /ticks/file; sleep 0.02; done")
        .mount(mount("/ticks", "bind", folder.to_str().unwrap(), &options));
    let id = host.start(ticking).await.id;
    let length = || std::fs::metadata(folder.join("file")).map_or(0, |file| file.len());
    let ticks_on = async |before: u64| {
        let more = || Some(()).filter(|()| length() > before);
        eventually("it ticks", || more().ok_or_else(|| length().to_string())).await;
    };
    ticks_on(0).await;
    host.containers.pause(&id).await.unwrap();
    assert!(host.containers.is_paused(&id).unwrap());
    let before = length();
    // Ten ticks' time: what is frozen misses them all, however slow the machine.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(length(), before);
    host.containers.unpause(&id).await.unwrap();
    ticks_on(before).await;
    host.containers.pause(&id).await.unwrap();
    host.containers.kill(&id).await.unwrap();
    assert_eq!(host.exit_of(&id).await.code, 137);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_container_at_the_gate_can_be_removed() {
    let mut host = Host::new().await;
    let id = host.create(host.config("echo never")).await.id;
    assert!(matches!(
        host.containers.observe(&id).await.unwrap().phase,
        Phase::Created { .. }
    ));
    host.containers.kill(&id).await.unwrap();
    assert_eq!(host.exit_of(&id).await.started_at, None);
    host.containers.remove(&id).await.unwrap();
    host.containers.remove(&id).await.unwrap();
    host.leave_nothing().await;
}

#[tokio::test]
async fn namespaces_of_another_container_can_be_joined() {
    let mut host = Host::new().await;
    let first = host.start(host.config("sleep 1000000")).await.id;
    let pid = match host.containers.observe(&first).await.unwrap().phase {
        Phase::Running { pid, .. } => pid,
        other => panic!("{other:?}"),
    };
    let of_first =
        |kind: &str, name: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") });
    let config = host
        .config("readlink /proc/self/ns/net; ps | grep -c 'sleep 1000000'")
        .set(
            "/linux/namespaces",
            json!([
                { "type": "mount" }, { "type": "ipc" }, { "type": "cgroup" },
                of_first("network", "net"), of_first("pid", "pid"), of_first("uts", "uts"),
            ]),
        );
    let (exit, text) = host.run(config).await;
    let net = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(exit.code, 0, "{:?} {text}", exit.error);
    assert!(text.starts_with(&format!("{}\n", net.display())), "{text}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn the_hosts_namespaces_can_be_used() {
    let mut host = Host::new().await;
    let config = host
        .config("readlink /proc/self/ns/pid; readlink /proc/self/ns/net; sleep 1000000 & exit 0")
        .set("/linux/namespaces", json!([{ "type": "mount" }]));
    let (exit, text) = host.run(config).await;
    assert_eq!(exit.code, 0, "{:?}", exit.error);
    for kind in ["pid", "net"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(text.contains(&own.display().to_string()), "{text}");
    }
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_read_only_root_has_writable_mounts_only() {
    let mut host = Host::new().await;
    let config = host
        .config("touch /a 2>&1; touch /tmp/b && echo written")
        .set("/root/readonly", json!(true))
        .mount(mount("/tmp", "tmpfs", "tmpfs", &["mode=1777", "size=1m"]));
    let (_, text) = host.run(config).await;
    assert_eq!(text, "touch: /a: Read-only file system\nwritten\n");
    host.leave_nothing().await;
}

#[tokio::test]
async fn another_user_can_use_the_root_and_its_streams() {
    let mut host = Host::new().await;
    let config = host
        .config("id -u; ls / >/dev/null && echo listed; echo through > /dev/stdout")
        .set(
            "/process/user",
            json!({ "uid": 1000, "gid": 1000, "additionalGids": [50] }),
        );
    let (_, text) = host.run(config).await;
    assert_eq!(text, "1000\nlisted\nthrough\n");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_shim_keeps_nothing_of_the_programs_that_were_executed() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let shim = shim_of(&host, &running.id);
    let descriptors = || {
        let open = std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap();
        open.count()
    };
    let before = descriptors();
    for _ in 0..30 {
        assert_eq!(running.exec("exit 3").await.0, 3);
    }
    // It hears a moment later that we have hung up.
    eventually("they are closed", || match descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} instead of {before}")),
    })
    .await;
    drop(running);
    host.leave_nothing().await;
}

/// The process that stays with a container.
fn shim_of(host: &Host, id: &ContainerId) -> i32 {
    let directory = host.directory.path().join("run").join(id.short());
    let state = std::fs::read(directory.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    i32::try_from(state["shim"]["pid"].as_i64().unwrap()).unwrap()
}
