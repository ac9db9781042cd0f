//! The engines that wharfie is measured beside, each in namespaces of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Host, eventually, image};

fn installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn quietly(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A dockerd with a root of its own.
pub(crate) struct Dockerd {
    daemon: Child,
    directory: tempfile::TempDir,
    compose: Option<Vec<String>>,
}

impl Dockerd {
    /// `None` when it is not installed.
    pub(crate) fn start() -> Option<Self> {
        if !installed("dockerd") || !installed("docker") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let daemon = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c"])
            .arg("ip link set lo up && exec dockerd \"$@\"")
            .arg("sh")
            .args([
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
                "--pidfile",
                &path("pid"),
            ])
            .args(["--host", &format!("unix://{}", path("docker.sock"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut dockerd = Self {
            daemon,
            directory,
            compose: None,
        };
        eventually("dockerd answers", || {
            match dockerd.command("docker").arg("info").output() {
                Ok(output) if output.status.success() => Ok(()),
                output => Err(format!("{output:?}")),
            }
        });
        dockerd.docker(&[
            "import",
            "--change",
            "CMD [\"sh\"]",
            image("busybox").to_str().unwrap(),
            "busybox:1.35",
        ]);
        dockerd.compose = dockerd.find_compose();
        Some(dockerd)
    }

    fn find_compose(&self) -> Option<Vec<String>> {
        let named = std::env::var("DOCKER_COMPOSE").ok().map(|path| vec![path]);
        let plugin = vec!["docker".to_owned(), "compose".to_owned()];
        let works = |words: &Vec<String>| {
            let mut command = self.command(&words[0]);
            command
                .args(&words[1..])
                .arg("version")
                .output()
                .is_ok_and(|output| output.status.success())
        };
        [named, Some(plugin), Some(vec!["docker-compose".to_owned()])]
            .into_iter()
            .flatten()
            .find(works)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(
                "DOCKER_HOST",
                format!(
                    "unix://{}",
                    self.directory.path().join("docker.sock").display()
                ),
            )
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn docker(&self, args: &[&str]) {
        let mut command = self.command("docker");
        command.args(args);
        quietly(command);
    }

    pub(crate) fn has_compose(&self) -> bool {
        self.compose.is_some()
    }

    pub(crate) fn compose(&self, args: &[&str]) {
        let words = self.compose.as_ref().unwrap();
        let mut command = self.command(&words[0]);
        command.args(&words[1..]).args(args);
        quietly(command);
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let mut list = self.command("docker");
        if let Ok(output) = list.args(["ps", "-aq"]).output() {
            for id in String::from_utf8_lossy(&output.stdout).split_whitespace() {
                self.docker(&["rm", "-f", id]);
            }
        }
        let pid = nix::unistd::Pid::from_raw(self.daemon.id() as i32);
        // dockerd ends its containerd when it is asked to end.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.daemon.wait();
    }
}

/// podman with a root and a network of its own.
pub(crate) struct Podman {
    host: Host,
}

impl Podman {
    /// `None` when it is not installed, or does not run here.
    pub(crate) fn find() -> Option<Self> {
        if !installed("podman") {
            return None;
        }
        let podman = Self { host: Host::bare() };
        let tar = image("busybox");
        podman.run(&[
            "import",
            "--change",
            "CMD=[\"sh\"]",
            tar.to_str().unwrap(),
            "busybox:1.35",
        ]);
        let mut trial =
            podman.command(&["run", "--ulimit", "host", "--rm", "busybox:1.35", "true"]);
        let works = trial.output().is_ok_and(|output| output.status.success());
        works.then_some(podman)
    }

    pub(crate) fn run(&self, args: &[&str]) {
        quietly(self.command(args));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("podman");
        command
            .arg("--root")
            .arg(self.host.path("root"))
            .arg("--runroot")
            .arg(self.host.path("runroot"));
        // crun refuses this mix of cgroup versions, which some machines boot with.
        if installed("runc") {
            command.args(["--runtime", "runc"]);
        }
        command.args(["--cgroup-manager", "cgroupfs"]).args(args);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--force", "--all", "--time", "0"]);
    }
}

/// A bundle that runs `true`, for the bare runtimes: no image, no network, no engine.
pub(crate) struct Bundle {
    runtime: &'static str,
    directory: tempfile::TempDir,
}

impl Bundle {
    /// `None` when the runtime is not installed, or does not run here.
    pub(crate) fn new(runtime: &'static str) -> Option<Self> {
        if !installed(runtime) {
            return None;
        }
        let bundle = Self {
            runtime,
            directory: tempfile::tempdir().unwrap(),
        };
        let rootfs = bundle.directory.path().join("rootfs");
        std::fs::create_dir(&rootfs).unwrap();
        let mut unpack = Command::new("tar");
        unpack
            .arg("-xf")
            .arg(image("busybox"))
            .arg("-C")
            .arg(&rootfs);
        quietly(unpack);
        let mut spec = Command::new("runc");
        spec.arg("spec").current_dir(bundle.directory.path());
        quietly(spec);
        let config: PathBuf = bundle.directory.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text
            .replace("\"terminal\": true", "\"terminal\": false")
            .replace("\"sh\"", "\"true\"");
        std::fs::write(&config, text).unwrap();
        bundle
            .command()
            .output()
            .is_ok_and(|output| output.status.success())
            .then_some(bundle)
    }

    pub(crate) fn runtime(&self) -> &'static str {
        self.runtime
    }

    pub(crate) fn run(&self) {
        quietly(self.command());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.runtime);
        command
            .arg("--root")
            .arg(self.directory.path().join("state"))
            .args(["run", "--bundle"])
            .arg(self.directory.path())
            .arg(format!("wharfie-bench-{}", self.runtime))
            .stdin(Stdio::null());
        command
    }
}
