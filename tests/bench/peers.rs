//! The engines that wharfie is measured beside, besides dockerd, each in namespaces of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::dockerd::{installed, quietly};
use crate::support::{Host, image};

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
