//! A machine for tests: a network and mount namespace, data directories, and a node in it.
//!
//! Everything that it made is gone when it is dropped, or the test fails: see [`Host::leftovers`].

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for; far more than it should.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Host {
    /// Holds the namespaces open.
    anchor: Child,
    agent: Option<Child>,
    directory: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub struct Ran {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.code == 0, "{self}");
        self
    }

    #[track_caller]
    pub fn fails_with(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}: {self}");
        self
    }

    /// One of the outputs contains the text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "`{text}` is not said: {self}");
        self
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "`{text}` is said: {self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "`{command}` exited with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Host {
    /// A host whose node runs, with busybox as its only image.
    pub fn new() -> Self {
        let mut host = Self::bare();
        host.start_agent();
        host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
        host
    }

    /// A host without a node.
    pub fn bare() -> Self {
        let anchor = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c"])
            .arg("ip link set lo up && echo up && exec sleep infinity")
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) is part of util-linux");
        let mut host = Self { anchor, agent: None, directory: tempfile::tempdir().expect("a temporary directory") };
        let mut said = [0; 3];
        let stdout = host.anchor.stdout.as_mut().expect("it is piped");
        std::io::Read::read_exact(stdout, &mut said).expect("the namespaces can be made: are you root?");
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn socket(&self) -> String {
        format!("unix://{}", self.path("run/wharfie.sock").display())
    }

    /// Runs a program inside the host's namespaces, with a bound on its time.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", &format!("--target={}", self.anchor.id()), "--wd=."])
            .args(["timeout", "--kill-after=5", "120", program])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("WHARFIE_HOST", self.socket())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.args(args);
        finish(&mut command, &format!("{program} {}", args.join(" ")))
    }

    /// Runs `wharfie` with words separated by spaces.
    pub fn wharfie(&self, words: &str) -> Ran {
        self.run(binary(), &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `wharfie` with exactly these arguments.
    pub fn wharfie_with(&self, args: &[&str]) -> Ran {
        self.run(binary(), args)
    }

    /// Runs `wharfie -f FILE WORDS`, in the project of that name, with a file of this text.
    pub fn compose(&self, project: &str, text: &str, words: &str) -> Ran {
        let file = self.project(project, text);
        let file = file.to_str().expect("temporary paths are UTF-8");
        let mut args = vec!["-f", file];
        args.extend(words.split_whitespace());
        self.run(binary(), &args)
    }

    /// Writes a compose file into a folder of its own and gives its path.
    pub fn project(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("a folder for the project");
        let file = folder.join("compose.yaml");
        fs::write(&file, text).expect("the compose file");
        file
    }

    pub fn start_agent(&mut self) {
        let log = fs::File::create(self.path("agent.log")).expect("the agent's log");
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", &format!("--target={}", self.anchor.id()), "--wd=."])
            .args([binary(), "agent", "--data-root"])
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("run"))
            .args(["--host", &self.socket()])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log)
            .process_group(0);
        self.agent = Some(command.spawn().expect("the agent"));
        let socket = self.path("run/wharfie.sock");
        eventually("the node answers", || {
            if socket.exists() && self.wharfie("version").code == 0 {
                return Ok(());
            }
            Err(self.agent_log())
        });
    }

    /// Kills the node's process as a crash would; containers are not its children.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().expect("it can be killed");
            agent.wait().expect("it was running");
        }
    }

    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Imports one of the examples' file systems.
    pub fn import(&self, name: &str, tag: &str, changes: &[&str]) {
        let tar = image(name);
        let mut args = vec!["image", "import"];
        args.extend(changes);
        args.extend([tar.to_str().expect("UTF-8"), tag]);
        self.run(binary(), &args).succeeds();
    }

    /// Runs a shell line in the host.
    pub fn shell(&self, line: &str) -> Ran {
        self.run("sh", &["-c", line])
    }

    /// What an HTTP server answers, asked from the host.
    pub fn get(&self, url: &str) -> Result<String, String> {
        let ran = self.run("curl", &["--silent", "--show-error", "--fail", "--max-time", "5", url]);
        if ran.code == 0 { Ok(ran.stdout) } else { Err(ran.stderr) }
    }

    /// Kernel objects that belong to containers and networks: nothing may be left after `down`.
    pub fn leftovers(&self) -> String {
        let mut left = String::new();
        let mut add = |what: &str, text: String| {
            if !text.trim().is_empty() {
                let _ = writeln!(left, "{what}:\n{}", text.trim_end());
            }
        };
        add("links", self.shell("ip -o link | grep -vE ': lo:' || true").stdout);
        add("mounts", self.shell(&format!("grep -F '{}' /proc/self/mountinfo || true", self.directory.path().display())).stdout);
        add("dnat elements", self.shell("nft list ruleset | grep -E 'dnat to|elements' || true").stdout);
        add("shims", self.shell(&format!("pgrep -af 'wharfie-shim.*{}' || true", self.directory.path().display())).stdout);
        let containers = fs::read_dir(self.path("data/containers")).into_iter().flatten().flatten();
        add("containers", containers.map(|entry| format!("{}\n", entry.path().display())).collect());
        left
    }

    #[track_caller]
    pub fn leaves_nothing(&self) {
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
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("--- agent.log\n{}\n", tail.join("\n")).as_bytes());
        }
        self.remove_containers();
        self.kill_agent();
        let _ = self.anchor.kill();
        let _ = self.anchor.wait();
    }
}

impl Host {
    /// Whatever a failed test left running: its processes would outlive the namespaces.
    fn remove_containers(&mut self) {
        let containers = fs::read_dir(self.path("data/containers")).into_iter().flatten().flatten();
        let ids: Vec<String> = containers.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        if ids.is_empty() {
            return;
        }
        let _ = self.shell(&format!(
            "for id in {}; do curl -s -X DELETE --max-time 20 --unix-socket {} \"http://localhost/containers/$id?force=1\"; done",
            ids.join(" "),
            self.path("run/wharfie.sock").display()
        ));
    }
}

fn finish(command: &mut Command, words: &str) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{words}: {error}"));
    Ran {
        command: words.replace(binary(), "wharfie"),
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Tries until it succeeds, for at most [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return value,
            Err(why) if Instant::now() > deadline => panic!("{what}: not within {PATIENCE:?}\n{why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_wharfie")
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file system of the examples, made from Debian packages when it is not there yet.
pub fn image(name: &str) -> PathBuf {
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let folder = root().join("target/images");
    let tar = folder.join(format!("{name}.tar"));
    let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !tar.exists() {
        // Test processes run side by side: flock keeps the second from making it again.
        fs::create_dir_all(&folder).expect("target/images");
        let made = Command::new("flock")
            .arg(folder.join("lock"))
            .arg(root().join("examples/images.sh"))
            .arg(name)
            .env("WHARFIE_IMAGES", &folder)
            .env("WHARFIE_IMPORT", "no")
            .status()
            .expect("examples/images.sh");
        assert!(made.success(), "examples/images.sh {name} failed");
    }
    tar
}
