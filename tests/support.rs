//! A machine for tests: a network and mount namespace, data directories, and a node in it.
//!
//! Everything that it made is gone when it is dropped, or the test fails: see [`Host::leftovers`].

#![allow(dead_code, reason = "no test program needs all of it")]

#[path = "support/cluster.rs"]
pub(crate) mod cluster;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take that a test waits for; far more than it should, as a machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command may run, in seconds, as timeout(1) takes it.
const COMMAND_LIMIT: &str = "300";

pub(crate) struct Host {
    /// Holds the namespaces open.
    anchor: Child,
    agent: Option<Child>,
    /// What the node is started with beside what all are.
    pub(crate) options: Vec<String>,
    directory: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!(self.code == 0, "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}: {self}");
        self
    }

    /// One of the outputs contains the text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` is not said: {self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "`{text}` is said: {self}"
        );
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "`{command}` exited with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

impl Host {
    /// A host whose node runs, with busybox as its only image.
    pub(crate) fn new() -> Self {
        let mut host = Self::bare();
        host.start_agent();
        host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
        host
    }

    /// A host without a node.
    pub(crate) fn bare() -> Self {
        Self {
            anchor: anchor(),
            agent: None,
            options: Vec::new(),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A socket of this process in the host's network namespace.
    pub(crate) fn udp_socket(&self, address: &str) -> std::net::UdpSocket {
        let address = address.to_owned();
        self.inside(move || std::net::UdpSocket::bind(address).expect("the address is free"))
    }

    /// The same, for a server of the test.
    pub(crate) fn tcp_listener(&self, address: &str) -> std::net::TcpListener {
        let address = address.to_owned();
        self.inside(move || std::net::TcpListener::bind(address).expect("the address is free"))
    }

    /// Runs on a thread that has entered the network namespace: the test's stays where it is.
    pub(crate) fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        in_network_of(self.anchor.id().into(), work)
    }

    /// Gives the host an `/etc/resolv.conf` of its own.
    pub(crate) fn resolv_conf(&self, text: &str) {
        let file = self.path("resolv.conf");
        fs::write(&file, text).expect("a file for the host");
        self.shell(&format!("mount --bind {} /etc/resolv.conf", file.display()))
            .succeeds();
    }

    /// Joins two hosts by a cable, with these addresses and prefix lengths.
    pub(crate) fn join(&self, other: &Self, own: &str, others: &str) {
        let line = format!(
            "ip link add cable0 type veth peer name cable0 netns {}",
            other.anchor.id()
        );
        self.shell(&line).succeeds();
        for (host, address) in [(self, own), (other, others)] {
            host.shell(&format!(
                "ip addr add {address} dev cable0 && ip link set cable0 up"
            ))
            .succeeds();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path("run/wharfie.sock").display())
    }

    /// Runs a program inside the host's namespaces, with a bound on its time.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--net",
                "--mount",
                "--uts",
                &format!("--target={}", self.anchor.id()),
                "--wd=.",
            ])
            .args(["timeout", "--kill-after=5", COMMAND_LIMIT, program])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.directory.path())
            .env("WHARFIE_HOST", self.socket())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.args(args);
        finish(&mut command, &format!("{program} {}", args.join(" ")))
    }

    /// Runs `wharfie` with words separated by spaces.
    pub(crate) fn wharfie(&self, words: &str) -> Ran {
        self.run(binary(), &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `wharfie` with exactly these arguments.
    pub(crate) fn wharfie_with(&self, args: &[&str]) -> Ran {
        self.run(binary(), args)
    }

    /// Runs `wharfie -f FILE WORDS`, in the project of that name, with a file of this text.
    pub(crate) fn compose(&self, project: &str, text: &str, words: &str) -> Ran {
        let file = self.project(project, text);
        let file = file.to_str().expect("temporary paths are UTF-8");
        let mut args = vec!["-f", file];
        args.extend(words.split_whitespace());
        self.run(binary(), &args)
    }

    /// Writes a compose file into a folder of its own and gives its path.
    pub(crate) fn project(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("a folder for the project");
        let file = folder.join("compose.yaml");
        fs::write(&file, text).expect("the compose file");
        file
    }

    pub(crate) fn start_agent(&mut self) {
        self.spawn_agent();
        self.wait_for_agent();
    }

    /// Starts the node's process; its log goes on where the last one's ended.
    fn spawn_agent(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .expect("the agent's log");
        let mut command = Command::new("nsenter");
        command
            .args([
                "--net",
                "--mount",
                "--uts",
                &format!("--target={}", self.anchor.id()),
                "--wd=.",
            ])
            .args([binary(), "agent", "--data-root"])
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("run"))
            .args(["--host", &self.socket()])
            .args(["--insecure-registry", cluster::REGISTRY])
            .args(&self.options)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log)
            .process_group(0);
        self.agent = Some(command.spawn().expect("the agent"));
    }

    #[track_caller]
    fn wait_for_agent(&self) {
        let socket = self.path("run/wharfie.sock");
        eventually("the node answers", || {
            let asked = format!(
                "curl -sf --max-time 30 --unix-socket {} http://node/_ping",
                socket.display()
            );
            if self.shell(&asked).code == 0 {
                Ok(())
            } else {
                Err(self.agent_log())
            }
        });
    }

    /// Kills the node's process as a crash would; containers are not its children.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().expect("it can be killed");
            agent.wait().expect("it was running");
        }
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        // nsenter(1) becomes the program that it starts.
        self.agent.as_ref().expect("it was started").id()
    }

    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Imports one of the examples' file systems.
    pub(crate) fn import(&self, name: &str, tag: &str, changes: &[&str]) {
        let tar = image(name);
        let mut args = vec!["image", "import"];
        args.extend(changes);
        args.extend([tar.to_str().expect("UTF-8"), tag]);
        self.run(binary(), &args).succeeds();
    }

    /// Makes an image of busybox and these files, each with its owner, group and mode.
    pub(crate) fn import_with(&self, tag: &str, files: &[(&str, &str, &str)]) {
        let root = self.path("rootfs");
        fs::create_dir_all(&root).expect("a folder for the image");
        let unpack = format!(
            "tar -C {} -xf {}",
            root.display(),
            image("busybox").display()
        );
        self.shell(&unpack).succeeds();
        for (path, owner_and_mode, text) in files {
            let (owner, mode) = owner_and_mode.split_once(' ').expect("`uid:gid mode`");
            let file = root.join(path);
            let folder = file.parent().expect("it lies in a folder");
            fs::create_dir_all(folder).expect("a folder in the image");
            fs::write(&file, text).expect("a file in the image");
            self.shell(&format!(
                "chown -R {owner} {0} && chmod {mode} {0}",
                folder.display()
            ))
            .succeeds();
        }
        let tar = self.path("image.tar");
        self.shell(&format!(
            "tar -C {} -cf {} .",
            root.display(),
            tar.display()
        ))
        .succeeds();
        self.wharfie_with(&["image", "import", &tar.to_string_lossy(), tag])
            .succeeds();
        fs::remove_dir_all(&root).expect("it was made above");
    }

    /// Runs a shell line in the host.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        self.run("sh", &["-c", line])
    }

    /// What an HTTP server answers, asked from the host.
    pub(crate) fn get(&self, url: &str) -> Result<String, String> {
        let ran = self.run(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "30",
                url,
            ],
        );
        if ran.code == 0 {
            Ok(ran.stdout)
        } else {
            Err(ran.stderr)
        }
    }

    /// Kernel objects that belong to containers and networks: nothing may be left after `down`.
    pub(crate) fn leftovers(&self) -> String {
        let mut left = String::new();
        let mut add = |what: &str, text: String| {
            if !text.trim().is_empty() {
                let _ = writeln!(left, "{what}:\n{}", text.trim_end());
            }
        };
        add(
            "links",
            self.shell("ip -o link | grep -vE ': (lo:|cable0@)' || true")
                .stdout,
        );
        add(
            "mounts",
            self.shell(&format!(
                "grep -E '{0}/(data|run)' /proc/self/mountinfo || true",
                self.directory.path().display()
            ))
            .stdout,
        );
        add(
            "dnat elements",
            self.shell("nft list ruleset | grep -E 'dnat to|elements' || true")
                .stdout,
        );
        add("shims", self.shims());
        add(
            "containers",
            self.containers()
                .into_iter()
                .map(|id| format!("{id}\n"))
                .collect(),
        );
        left
    }

    /// The processes that hold this host's containers, a line each.
    fn shims(&self) -> String {
        let mut found = String::new();
        for process in self.processes() {
            let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            if command.starts_with(b"wharfie-shim") {
                let _ = writeln!(found, "{process} {}", String::from_utf8_lossy(&command));
            }
        }
        found
    }

    /// All that run in the host's mount namespace, which nobody else enters.
    fn processes(&self) -> Vec<u32> {
        let namespace = |process: u32| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
        let Some(own) = namespace(self.anchor.id()) else {
            return Vec::new();
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|process| namespace(*process).as_ref() == Some(&own))
            .collect()
    }

    /// Identifiers of all containers that have files.
    fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("data/containers"))
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // Beside them lies what they all share.
        names.filter(|name| name != "init-layer").collect()
    }

    /// What the Engine API says of a container.
    #[track_caller]
    pub(crate) fn inspect(&self, container: &str) -> serde_json::Value {
        let socket = self.path("run/wharfie.sock");
        let url = format!("http://node/containers/{container}/json");
        let ran = self
            .run(
                "curl",
                &[
                    "-s",
                    "--max-time",
                    "60",
                    "--unix-socket",
                    &socket.to_string_lossy(),
                    &url,
                ],
            )
            .succeeds();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
    }

    /// Runs a shell line in a service's container.
    pub(crate) fn exec(&self, project: &str, service: &str, line: &str) -> Ran {
        self.wharfie_with(&["-p", project, "exec", "-T", service, "sh", "-c", line])
    }

    /// What a service has written so far.
    pub(crate) fn logs(&self, project: &str, service: &str) -> String {
        self.wharfie_with(&[
            "-p",
            project,
            "logs",
            "--no-log-prefix",
            "--no-color",
            service,
        ])
        .succeeds()
        .stdout
    }

    #[track_caller]
    pub(crate) fn leaves_nothing(&self) {
        eventually("nothing is left", || match self.leftovers() {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.agent_log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("--- agent.log\n{}\n", tail.join("\n")).as_bytes(),
            );
        }
        self.remove_containers();
        self.kill_agent();
        self.kill_processes();
        let _ = self.anchor.kill();
        let _ = self.anchor.wait();
    }
}

impl Host {
    /// Whatever a failed test left running: its processes would outlive the namespaces.
    fn remove_containers(&mut self) {
        let ids = self.containers();
        if ids.is_empty() {
            return;
        }
        let _ = self.shell(&format!(
            "for id in {}; do curl -s -X DELETE --max-time 20 --unix-socket {} \"http://localhost/containers/$id?force=1\"; done",
            ids.join(" "),
            self.path("run/wharfie.sock").display()
        ));
        // The node may be dead, or busy with dying: no cgroup must be left for the next run to find.
        let deadline = Instant::now() + Duration::from_secs(10);
        for directory in ids.iter().flat_map(|id| cgroups(id)) {
            let _ = try_until(deadline, || empty(&directory));
        }
    }

    /// What a failed test left in the host's mount namespace: a node, shims, servers of its own.
    fn kill_processes(&self) {
        for process in self.processes() {
            if process != self.anchor.id() {
                let _ = kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL);
            }
        }
    }
}

/// Kills what runs in a cgroup and removes it.
fn empty(directory: &Path) -> Result<(), String> {
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines().filter_map(|line| line.parse().ok()) {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// The cgroups of a container, in every hierarchy.
fn cgroups(id: &str) -> Vec<PathBuf> {
    let found = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-maxdepth",
            "4",
            "-type",
            "d",
            "-name",
            id,
        ])
        // Cgroups of other tests come and go while it looks.
        .stderr(Stdio::null())
        .output();
    let text = found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect()
}

/// A process that holds the namespaces of one machine open.
fn anchor() -> Child {
    let mut anchor = Command::new("unshare")
        .args(["--net", "--mount", "--uts", "--propagation", "private"])
        .args(["sh", "-c"])
        .arg("ip link set lo up && echo up && exec sleep infinity")
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare(1) is part of util-linux");
    let mut said = [0; 3];
    let stdout = anchor.stdout.as_mut().expect("it is piped");
    std::io::Read::read_exact(stdout, &mut said)
        .expect("the namespaces can be made: are you root?");
    anchor
}

fn finish(command: &mut Command, words: &str) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{words}: {error}"));
    Ran {
        command: words.replace(binary(), "wharfie"),
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Tries until it succeeds, for at most [`PATIENCE`].
#[track_caller]
/// Runs on a thread that has entered the network namespace of a process.
pub(crate) fn in_network_of<T: Send + 'static>(
    pid: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).expect("the process lives");
    let entered = std::thread::spawn(move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("it can be entered");
        work()
    });
    entered.join().expect("the thread ends")
}

pub(crate) fn eventually<T>(what: &str, check: impl FnMut() -> Result<T, String>) -> T {
    match try_until(Instant::now() + PATIENCE, check) {
        Ok(value) => value,
        Err(why) => panic!("{what}: not within {PATIENCE:?}\n{why}"),
    }
}

fn try_until<T>(
    deadline: Instant,
    mut check: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    loop {
        match check() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            decided => return decided,
        }
    }
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_wharfie")
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file system of the examples, made from Debian packages when it is not there yet, or older than
/// its recipe.
pub(crate) fn image(name: &str) -> PathBuf {
    static MADE: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let folder = root().join("target/images");
    let mut made = MADE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !made.iter().any(|it| it == name) {
        // Test processes run side by side: flock keeps the second from making it again.
        fs::create_dir_all(&folder).expect("target/images");
        let status = Command::new("flock")
            .arg(folder.join("lock"))
            .arg(root().join("examples/images.sh"))
            .arg(name)
            .env("WHARFIE_IMAGES", &folder)
            .env("WHARFIE_IMPORT", "no")
            .status()
            .expect("examples/images.sh");
        assert!(status.success(), "examples/images.sh {name} failed");
        made.push(name.to_owned());
    }
    folder.join(format!("{name}.tar"))
}
