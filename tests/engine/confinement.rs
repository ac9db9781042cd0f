//! What a container cannot do, and that an exec cannot do more.

use std::fs;
use std::os::unix::fs::symlink;

use agent::container::{ContainerError, ExecRequest};
use serde_json::json;

use crate::support::{Host, mount};

const STATUS: &str = "grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|Uid)' /proc/self/status";

#[tokio::test]
async fn an_exec_is_confined_like_the_container() {
    let host = Host::new().await;
    let running = host
        .start(host.config(&format!("{STATUS}; sleep 1000000")))
        .await;
    let expected = "\
        Uid:\t0\t0\t0\t0\n\
        Groups:\t \n\
        CapInh:\t0000000000000000\n\
        CapPrm:\t00000000080000e1\n\
        CapEff:\t00000000080000e1\n\
        CapBnd:\t00000000080000e1\n\
        CapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\n\
        Seccomp:\t2\n";
    let (code, text) = running.exec(STATUS).await;
    assert_eq!((code, text.as_str()), (0, expected));
    let lines: Vec<&str> = expected.lines().map(str::trim_end).collect();
    host.logged(&running.id, &lines).await;
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn without_no_new_privileges_the_filter_is_loaded_all_the_same() {
    let mut host = Host::new().await;
    let config = host
        .config(STATUS)
        .set("/process/noNewPrivileges", json!(false));
    let (exit, text) = host.run(config).await;
    assert_eq!(exit.code, 0, "{:?}", exit.error);
    assert!(
        text.contains("NoNewPrivs:\t0\n") && text.contains("Seccomp:\t2\n"),
        "{text}"
    );
    host.leave_nothing().await;
}

#[tokio::test]
async fn another_user_has_no_capabilities_and_its_groups() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let request = ExecRequest {
        args: vec![
            "sh".into(),
            "-c".into(),
            format!("id; echo $HOME $ADDED; {STATUS}"),
        ],
        user: Some("ann".into()),
        env: vec!["ADDED=yes".into()],
        ..ExecRequest::default()
    };
    let (code, text) = running.exec_with(request).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("uid=1000(ann) gid=1000(ann) groups=50(staff),1000(ann)"),
        "{text}"
    );
    assert!(text.contains("/home/ann yes\n"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000\n"), "{text}");
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_privileged_exec_is_not_confined() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let request = ExecRequest {
        args: vec!["sh".into(), "-c".into(), STATUS.into()],
        privileged: true,
        ..ExecRequest::default()
    };
    let (_, text) = running.exec_with(request).await;
    assert!(
        text.contains("Seccomp:\t0\n") && !text.contains("CapEff:\t00000000080000e1"),
        "{text}"
    );
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn an_exec_of_nothing_fails_in_dockers_words() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let request = ExecRequest {
        args: vec!["nosuch".into()],
        ..ExecRequest::default()
    };
    let Err(error) = host.containers.exec(&running.id, request).await else {
        panic!("it ran");
    };
    assert!(
        matches!(error, ContainerError::Start { code: 127, .. }),
        "{error}"
    );
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn system_paths_are_hidden_or_read_only() {
    let mut host = Host::new().await;
    let script = "cat /proc/interrupts | wc -c; ls /proc/tty | wc -l; \
        echo 1 2>&1 > /proc/sys/kernel/printk | tail -1; \
        mkdir /sys/fs/cgroup/memory/x 2>&1; \
        ls -A /dev | tr '\\n' ' '";
    let masked = json!([
        "/proc/interrupts",
        "/proc/tty",
        "/proc/acpi",
        "/proc/nosuch"
    ]);
    let (_, text) = host
        .run(host.config(script).set("/linux/maskedPaths", masked))
        .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..2], ["0", "0"], "{text}");
    assert!(text.matches("Read-only file system").count() >= 1, "{text}");
    assert!(text.contains("null"), "{text}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_device_that_was_made_cannot_be_opened() {
    let mut host = Host::new().await;
    let script = "mknod /disk b 254 0 && dd if=/disk of=/dev/null bs=512 count=1 2>&1; \
        mknod /mem c 1 1 && dd if=/mem of=/dev/null bs=1 count=1 2>&1; echo x > /dev/null && echo fine";
    let (_, text) = host.run(host.config(script)).await;
    assert_eq!(text.matches("Operation not permitted").count(), 2, "{text}");
    assert!(text.contains("fine"), "{text}");
    host.leave_nothing().await;
}

#[tokio::test]
async fn no_descriptor_of_the_engine_is_left_open() {
    let host = Host::new().await;
    let running = host
        .start(host.config("ls /proc/self/fd; sleep 1000000"))
        .await;
    // The fourth is the directory that `ls` has open.
    let (_, text) = running.exec("ls /proc/self/fd; ls /proc/1/fd").await;
    assert_eq!(text, "0\n1\n2\n3\n0\n1\n2\n");
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn an_image_whose_dev_is_a_link_touches_nothing_outside() {
    let mut host = Host::new().await;
    let canary = host.directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("ptmx"), "mine").unwrap();
    let layer = host.directory.path().join("hostile");
    // The same directory inside the image, so that the link leads somewhere there as well.
    fs::create_dir_all(layer.join(canary.strip_prefix("/").unwrap())).unwrap();
    for name in ["dev", "proc", "sys"] {
        symlink(&canary, layer.join(name)).unwrap();
    }
    let (exit, text) = host.run(host.config("echo ran").layer(layer)).await;
    assert_eq!((exit.code, text.as_str()), (0, "ran\n"), "{:?}", exit.error);
    assert_eq!(fs::read_to_string(canary.join("ptmx")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_mount_through_a_link_of_the_image_stays_inside() {
    let mut host = Host::new().await;
    let canary = host.directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    let layer = host.directory.path().join("hostile");
    fs::create_dir_all(&layer).unwrap();
    symlink(&canary, layer.join("data")).unwrap();
    let volume = host.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "volume").unwrap();
    let config = host
        .config("cat /data/x/file; touch /data/x/new 2>/dev/null || echo read-only")
        .layer(layer)
        .mount(mount(
            "/data/x",
            "bind",
            volume.to_str().unwrap(),
            &["rbind", "ro", "rprivate"],
        ));
    let (exit, text) = host.run(config).await;
    assert_eq!(text, "volumeread-only\n", "{:?}", exit.error);
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
    host.leave_nothing().await;
}

#[tokio::test]
async fn nothing_is_mounted_over_proc_or_sys() {
    let mut host = Host::new().await;
    let layer = host.directory.path().join("links");
    fs::create_dir_all(&layer).unwrap();
    symlink("/proc/sys", layer.join("innocent")).unwrap();
    for target in [
        "/proc",
        "/proc/sys",
        "/sys/kernel",
        "/sys",
        "/",
        "/innocent",
    ] {
        let config = host.config("echo ran").layer(layer.clone()).mount(mount(
            target,
            "bind",
            "/tmp",
            &["rbind", "rw"],
        ));
        let (exit, text) = host.run(config).await;
        assert_eq!((exit.code, text.as_str()), (125, ""), "{target}");
        assert!(exit.error.unwrap().contains("cannot mount on"), "{target}");
    }
    host.leave_nothing().await;
}

#[tokio::test]
async fn only_settings_of_its_own_namespaces_can_be_made() {
    let mut host = Host::new().await;
    let set = |name: &str, value: &str| json!({ name: value });
    let config = host
        .config("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni")
        .set(
            "/linux/sysctl",
            json!({ "net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmni": "77" }),
        );
    let (_, text) = host.run(config).await;
    assert_eq!(text, "0\n77\n");
    for name in [
        "kernel.core_pattern",
        "kernel/shmmax",
        "net..x",
        "vm.swappiness",
    ] {
        let (exit, _) = host
            .run(host.config("").set("/linux/sysctl", set(name, "1")))
            .await;
        assert_eq!(exit.code, 125, "{name}");
    }
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_directory_outside_cannot_be_the_working_directory() {
    let mut host = Host::new().await;
    for number in 3..12 {
        let config = host
            .config("pwd; ls")
            .set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let (exit, text) = host.run(config).await;
        assert!(exit.code >= 125, "{number}: {text}");
    }
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_hundred_layers_are_one_root() {
    let mut host = Host::new().await;
    let mut config = host.config("cat /value; ls / | wc -l");
    for number in 0..110 {
        let layer = host
            .directory
            .path()
            .join(format!("layer-with-a-long-name-{number:060}"));
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("value"), format!("{number}\n")).unwrap();
        config = config.layer(layer);
    }
    let (exit, text) = host.run(config).await;
    assert!(text.starts_with("109\n"), "{text} {:?}", exit.error);
    host.leave_nothing().await;
}

#[tokio::test]
async fn who_joins_an_ipc_namespace_shares_its_memory_files() {
    let mut host = Host::new().await;
    let shm = |file: &str| format!("echo {file} > /dev/shm/{file}; sleep 100");
    let first = host.start(host.config(&shm("first"))).await;
    let pid = host.pid(&first.id).await;
    let id = first.id.clone();
    drop(first);
    let joining = |script: &str| {
        let mut config = host.config(script);
        for namespace in config.spec["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "ipc" {
                namespace["path"] = json!(format!("/proc/{pid}/ns/ipc"));
            }
        }
        for mounted in config.spec["mounts"].as_array_mut().unwrap() {
            if mounted["destination"] == "/dev/shm" {
                let source = format!("/proc/{pid}/root/dev/shm");
                *mounted = mount("/dev/shm", "bind", &source, &["bind", "rprivate"]);
            }
        }
        config
    };
    let script = "while ! test -s /dev/shm/first; do sleep 0.05; done; cat /dev/shm/first; \
        echo second > /dev/shm/second; grep -c ' /dev/shm .*nosuid,nodev,noexec' /proc/self/mountinfo";
    let config = joining(script);
    let (exit, text) = host.run(config).await;
    assert_eq!(text, "first\n1\n", "{:?}", exit.error);
    let first = host.running(&id);
    assert_eq!(first.exec("cat /dev/shm/second").await.1, "second\n");
    drop(first);
    host.leave_nothing().await;
}
