//! A host of its own for each test: a directory, containers from one busybox layer, and a check
//! that nothing is left.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::container::log::Stream;
use agent::container::{
    Bundle, Containers, Ended, ExecRequest, Exit, LogFiles, LogOptions, Phase, Stdin,
};
use oci_spec::runtime::Spec;
use scheduler::model::id::{ContainerId, TaskId};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Nothing here takes longer, on a loaded machine either: what is awaited is far quicker as a rule.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) containers: Arc<Containers>,
    pub(crate) ended: mpsc::Receiver<Ended>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        busybox(&directory.path().join("layer"));
        let (containers, ended) = open(directory.path()).await;
        Self {
            directory,
            containers,
            ended,
        }
    }

    /// As if the agent had been killed and started again.
    pub(crate) async fn restart_agent(&mut self) {
        let (containers, ended) = open(self.directory.path()).await;
        (self.containers, self.ended) = (containers, ended);
    }

    pub(crate) fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    pub(crate) fn config(&self, script: &str) -> Config {
        Config::new(script, self.layer())
    }

    pub(crate) async fn create(&self, config: Config) -> Running<'_> {
        let id = new_id();
        let task = TaskId::new(format!("task-{}", id.short()));
        self.containers.prepare(&id, config.bundle()).await.unwrap();
        self.containers.create(&id, &task).await.unwrap();
        Running { host: self, id }
    }

    pub(crate) async fn start(&self, config: Config) -> Running<'_> {
        let running = self.create(config).await;
        self.containers.start(&running.id).await.unwrap();
        running
    }

    /// A container that was started before.
    pub(crate) fn running(&self, id: &ContainerId) -> Running<'_> {
        Running {
            host: self,
            id: id.clone(),
        }
    }

    /// The first process of a running container, as the host numbers it.
    pub(crate) async fn pid(&self, id: &ContainerId) -> u32 {
        match self.containers.observe(id).await.unwrap().phase {
            Phase::Running { pid, .. } => pid,
            other => panic!("it does not run: {other:?}"),
        }
    }

    /// Runs to the end: exit code and what it printed on both streams.
    pub(crate) async fn run(&mut self, config: Config) -> (Exit, String) {
        let id = {
            let running = self.create(config).await;
            // Its failure is also in the exit.
            let _ = self.containers.start(&running.id).await;
            running.id
        };
        let exit = self.exit_of(&id).await;
        let log = fs::read_to_string(self.containers.log_path(&id)).unwrap_or_default();
        let text = log
            .lines()
            .filter_map(|line| Some(line.splitn(4, ' ').nth(3)?.to_owned() + "\n"))
            .collect();
        self.containers.remove(&id).await.unwrap();
        (exit, text)
    }

    pub(crate) async fn exit_of(&mut self, id: &ContainerId) -> Exit {
        loop {
            let ended = tokio::time::timeout(PATIENCE, self.ended.recv())
                .await
                .expect("the container should end")
                .unwrap();
            if ended.container == *id {
                return ended.exit;
            }
        }
    }

    /// What a container has logged, once all of these are in it.
    pub(crate) async fn logged(&self, id: &ContainerId, wanted: &[&str]) -> String {
        let log = self.containers.log_path(id);
        eventually("it logs", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            match wanted.iter().find(|words| !text.contains(**words)) {
                None => Ok(text),
                Some(missing) => Err(format!("{missing:?} is missing in\n{text}")),
            }
        })
        .await
    }

    /// Removes every container, and finds out whether anything is left.
    pub(crate) async fn leave_nothing(self) {
        let found = self.containers.list().await.unwrap();
        for container in &found {
            self.containers.remove(&container.id).await.unwrap();
        }
        assert!(self.containers.list().await.unwrap().is_empty());
        let root = self.directory.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&root), "mounts are left: {mounts}");
        for container in &found {
            let left = find_named(Path::new("/sys/fs/cgroup"), container.id.as_str(), 4);
            assert_eq!(left, Vec::<PathBuf>::new(), "cgroups are left");
        }
    }
}

async fn open(directory: &Path) -> (Arc<Containers>, mpsc::Receiver<Ended>) {
    let program = Path::new(env!("CARGO_BIN_EXE_wharfie"));
    Containers::open_with(
        &directory.join("containers"),
        &directory.join("run"),
        program,
    )
    .await
    .unwrap()
}

pub(crate) struct Running<'a> {
    pub(crate) host: &'a Host,
    pub(crate) id: ContainerId,
}

impl Running<'_> {
    /// Runs a shell script in it: exit code and output.
    pub(crate) async fn exec(&self, script: &str) -> (i32, String) {
        self.exec_with(ExecRequest {
            args: vec!["/bin/sh".into(), "-c".into(), script.into()],
            ..ExecRequest::default()
        })
        .await
    }

    pub(crate) async fn exec_with(&self, request: ExecRequest) -> (i32, String) {
        let mut session = self.host.containers.exec(&self.id, request).await.unwrap();
        drop(session.stdin.take());
        let finished = async {
            let mut text = Vec::new();
            for mut stream in [session.stdout.take(), session.stderr.take()]
                .into_iter()
                .flatten()
            {
                stream.read_to_end(&mut text).await.unwrap();
            }
            let code = session.control.wait().await.unwrap();
            (code, String::from_utf8_lossy(&text).into_owned())
        };
        tokio::time::timeout(PATIENCE, finished)
            .await
            .expect("the exec should end")
    }
}

/// Tries until it is so, for at most [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return value,
            Err(seen) if Instant::now() > deadline => {
                panic!("{what}: not within {PATIENCE:?}\n{seen}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A bundle in the making, as confined as a container is by default.
pub(crate) struct Config {
    pub(crate) spec: Value,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) init: bool,
    pub(crate) stdin: Stdin,
}

impl Config {
    fn new(script: &str, layer: PathBuf) -> Self {
        let capabilities = [
            "CAP_CHOWN",
            "CAP_KILL",
            "CAP_MKNOD",
            "CAP_SETUID",
            "CAP_SETGID",
        ];
        let seccomp = agent::container::seccomp::for_container(
            &scheduler::model::container::SeccompProfile::Default,
            agent::container::capability::CapabilitySet::container_default(),
        )
        .unwrap();
        let spec = json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs" },
            "hostname": "box",
            "process": {
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin", "HOME=/root"],
                "cwd": "/",
                "user": { "uid": 0, "gid": 0 },
                "noNewPrivileges": true,
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            },
            "mounts": [
                mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
                mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=1m"]),
            ],
            "linux": {
                "namespaces": [
                    { "type": "mount" }, { "type": "pid" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "network" }, { "type": "cgroup" },
                ],
                "resources": {
                    "devices": [
                        { "allow": false, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 5, "minor": 2, "access": "rwm" },
                        { "allow": true, "type": "c", "major": 136, "access": "rwm" },
                        { "allow": true, "type": "c", "access": "m" },
                        { "allow": true, "type": "b", "access": "m" },
                    ],
                    "pids": { "limit": 64 },
                },
                "maskedPaths": ["/proc/kcore", "/proc/acpi", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                "seccomp": serde_json::to_value(seccomp).unwrap(),
            },
        });
        Self {
            spec,
            layers: vec![layer],
            init: false,
            stdin: Stdin::Closed,
        }
    }

    /// Sets a value by JSON pointer, e.g. `/process/terminal`.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.spec.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    pub(crate) fn mount(mut self, mount: Value) -> Self {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    pub(crate) fn layer(mut self, layer: PathBuf) -> Self {
        self.layers.insert(0, layer);
        self
    }

    pub(crate) fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    pub(crate) fn init(mut self) -> Self {
        self.init = true;
        self
    }

    pub(crate) fn bundle(self) -> Bundle {
        let spec: Spec = serde_json::from_value(self.spec).unwrap();
        Bundle {
            spec,
            layers: self.layers,
            init: self.init,
            log: LogOptions {
                files: Some(LogFiles {
                    max_size: 1 << 20,
                    max_files: 2,
                }),
            },
            stdin: self.stdin,
        }
    }
}

pub(crate) fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

/// Reads what is attached until it ends.
pub(crate) async fn read_all(output: &mut agent::container::AttachOutput) -> String {
    let mut text = Vec::new();
    while let Some((stream, bytes)) = tokio::time::timeout(PATIENCE, output.next()).await.unwrap() {
        if stream == Stream::Stderr {
            text.extend_from_slice(b"err:");
        }
        text.extend(bytes);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Random, as cgroups are the machine's: other tests make theirs there, and one that was killed may
/// have left some.
pub(crate) fn new_id() -> ContainerId {
    let number = || RandomState::new().hash_one("a container");
    ContainerId::new(
        (0..4)
            .map(|_| format!("{:016x}", number()))
            .collect::<String>(),
    )
}

/// Makes a layer with nothing but busybox and its names.
fn busybox(layer: &Path) {
    fs::create_dir_all(layer.join("bin")).unwrap();
    fs::create_dir_all(layer.join("etc")).unwrap();
    fs::create_dir_all(layer.join("tmp")).unwrap();
    fs::create_dir_all(layer.join("root")).unwrap();
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "ls", "sleep", "true", "id", "mknod", "dd", "grep", "tty", "stty",
        "env", "kill", "hostname", "readlink", "touch", "mount", "ps", "pwd", "seq", "head",
        "mkdir", "stat", "wc", "tail", "ulimit", "unshare", "tr", "awk", "yes", "chmod", "chown",
        "find", "sort", "rm",
    ] {
        symlink("busybox", layer.join("bin").join(name)).unwrap();
    }
    fs::write(
        layer.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
    )
    .unwrap();
    fs::write(
        layer.join("etc/group"),
        "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n",
    )
    .unwrap();
}

fn find_named(directory: &Path, name: &str, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if entry.file_name().to_str() == Some(name) {
            found.push(entry.path());
        }
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(find_named(&entry.path(), name, depth - 1));
        }
    }
    found
}
