//! The control group of one container: limits, counting, freezing, and killing without exception.
//!
//! Kernels offer two forms, and hosts mount one or both. What counts is where the memory controller
//! is: on v1 each controller has a tree of its own, on v2 one tree has them all. The path below the
//! mount is the same in both, so a container's cgroup is found again by its path alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;

use super::Stats;
use super::failure::{During, Failure};

mod v1;
mod v2;

// Freezing waits for every task to reach a safe point: microseconds, unless one is in the disk.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);
// A cgroup stays busy until its last zombie is gone: on a loaded machine each has to get its turn to die.
const REMOVE_PATIENCE: Duration = Duration::from_secs(10);

/// How this host mounts its control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One tree for each controller, e.g. `memory` at `/sys/fs/cgroup/memory`.
    V1(Vec<Hierarchy>),
    V2(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// As in the mount's options, e.g. `cpu,cpuacct` or `name=systemd`.
    pub(super) controllers: Vec<String>,
    pub(super) mount: PathBuf,
}

impl Layout {
    /// Finds out what is mounted: once, as it stays so while the host runs, and a list of containers
    /// asks for each of them.
    pub(super) fn detect() -> Result<Arc<Self>, Failure> {
        static FOUND: OnceLock<Arc<Layout>> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(Arc::clone(found));
        }
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").during("read", "/proc/self/mountinfo")?;
        let found = Self::parse(&mounts).ok_or_else(|| {
            Failure::refused("find", "/sys/fs/cgroup", "no control groups are mounted")
        })?;
        Ok(Arc::clone(FOUND.get_or_init(|| Arc::new(found))))
    }

    /// Reads the text of `/proc/PID/mountinfo`.
    ///
    /// Source: proc_pid_mountinfo(5).
    fn parse(mounts: &str) -> Option<Self> {
        let mut hierarchies = Vec::new();
        let mut unified = None;
        for line in mounts.lines() {
            let Some((mount, system)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = mount.split(' ').nth(4) else {
                continue;
            };
            let mut system = system.split(' ');
            match (system.next(), system.nth(1)) {
                (Some("cgroup"), Some(options)) => hierarchies.push(Hierarchy {
                    controllers: options
                        .split(',')
                        .filter(|option| {
                            !matches!(*option, "rw" | "ro" | "xattr" | "clone_children")
                        })
                        .filter(|option| !option.starts_with("release_agent"))
                        .map(str::to_owned)
                        .collect(),
                    mount: PathBuf::from(point),
                }),
                (Some("cgroup2"), _) => unified = unified.or(Some(PathBuf::from(point))),
                _ => {}
            }
        }
        let has_memory = hierarchies.iter().any(|hierarchy| hierarchy.has("memory"));
        match (has_memory, unified) {
            (true, _) => Some(Self::V1(hierarchies)),
            (false, Some(mount)) => Some(Self::V2(mount)),
            (false, None) => None,
        }
    }
}

/// The controllers that containers can be limited by; `None` when no control groups are mounted.
pub fn controllers() -> Option<BTreeSet<String>> {
    Some(match &*Layout::detect().ok()? {
        Layout::V1(hierarchies) => hierarchies
            .iter()
            .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
            .collect(),
        Layout::V2(mount) => {
            let list = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            list.split_ascii_whitespace().map(str::to_owned).collect()
        }
    })
}

impl Hierarchy {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// The directory's name in `/sys/fs/cgroup` of a container.
    pub(super) fn name(&self) -> String {
        self.controllers.join(",").replace("name=", "")
    }
}

/// One container's cgroup; it need not exist.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    layout: Arc<Layout>,
    /// Relative, e.g. `wharfie/4f0c…`.
    path: PathBuf,
}

/// What a new process needs to get into the cgroup.
pub(super) enum Entry {
    /// The process writes `0` to each.
    V1(Vec<fs::File>),
    /// The process is born in it.
    V2(OwnedFd),
}

impl Entry {
    pub(super) fn birthplace(&self) -> Option<&OwnedFd> {
        match self {
            Self::V1(_) => None,
            Self::V2(directory) => Some(directory),
        }
    }

    /// To be called by the new process.
    pub(super) fn enter(&self) -> io::Result<()> {
        use std::io::Write;
        match self {
            // A thread that moves itself spares the kernel a lock that waits for all CPUs.
            Self::V1(tasks) => tasks.iter().try_for_each(|mut file| file.write_all(b"0")),
            Self::V2(_) => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freeze {
    Frozen,
    Thawed,
}

impl Cgroup {
    /// `path` is that of the OCI configuration: absolute, or relative to the root as well.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let relative: PathBuf = path
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name),
                _ => None,
            })
            .collect();
        let dotted = path
            .components()
            .any(|part| part == std::path::Component::ParentDir);
        if relative.as_os_str().is_empty() || dotted {
            return Err(Failure::refused(
                "use cgroup",
                path,
                "not a path below the root",
            ));
        }
        Ok(Self {
            layout: Layout::detect()?,
            path: relative,
        })
    }

    /// Makes it with these limits, and returns which of them this kernel cannot keep.
    pub(super) fn create(
        &self,
        resources: Option<&LinuxResources>,
    ) -> Result<Vec<String>, Failure> {
        match &*self.layout {
            Layout::V1(hierarchies) => v1::create(hierarchies, &self.path, resources),
            Layout::V2(mount) => v2::create(mount, &self.path, resources),
        }
    }

    pub(super) fn entry(&self) -> Result<Entry, Failure> {
        match &*self.layout {
            Layout::V1(_) => self
                .directories()
                .map(|directory| {
                    let file = directory.join("tasks");
                    fs::OpenOptions::new()
                        .write(true)
                        .open(&file)
                        .during("open", &file)
                })
                .collect::<Result<_, _>>()
                .map(Entry::V1),
            Layout::V2(mount) => v2::entry(&mount.join(&self.path)),
        }
    }

    /// For one more process beside the container's first one, `init`.
    ///
    /// On v2 a container may divide its cgroup, e.g. one with an engine of its own; what is divided
    /// holds processes only in its leaves, so the new one goes to where the first one went.
    ///
    /// Source: runc `libcontainer/process_linux.go`, `setnsProcess.start`; there after EBUSY.
    pub(super) fn entry_beside(&self, init: Pid) -> Result<Entry, Failure> {
        let Layout::V2(mount) = &*self.layout else {
            return self.entry();
        };
        // One that has ended takes nobody in anywhere.
        let init = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap_or_default();
        v2::entry(&v2::beside(mount, &self.path, &init))
    }

    /// The cgroup's directories on the host, with the name each has below `/sys/fs/cgroup` in a
    /// container; `None` on v2, where a namespace shows the right part.
    pub(super) fn views(&self) -> Option<Vec<(String, PathBuf)>> {
        match &*self.layout {
            Layout::V1(hierarchies) => Some(
                hierarchies
                    .iter()
                    .map(|hierarchy| (hierarchy.name(), hierarchy.mount.join(&self.path)))
                    .collect(),
            ),
            Layout::V2(_) => None,
        }
    }

    /// Every process in it and below, as the host numbers them.
    pub(super) fn pids(&self) -> Vec<u32> {
        let directory = match &*self.layout {
            Layout::V1(hierarchies) => match hierarchies
                .iter()
                .find(|hierarchy| hierarchy.has("freezer"))
                .or(hierarchies.first())
            {
                Some(hierarchy) => hierarchy.mount.join(&self.path),
                None => return Vec::new(),
            },
            Layout::V2(mount) => mount.join(&self.path),
        };
        let mut pids = Vec::new();
        for directory in tree(&directory) {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        pids
    }

    /// Freezes or thaws every process, and returns when that is done.
    pub(super) fn freeze(&self, wanted: Freeze) -> Result<(), Failure> {
        let begin = Instant::now();
        self.request_freeze(wanted)?;
        while self.freeze_state() != Some(wanted) {
            if begin.elapsed() > FREEZE_PATIENCE {
                return Err(Failure::refused("freeze", &self.path, "it took too long"));
            }
            std::thread::sleep(Duration::from_millis(1));
            // Somebody else may want the opposite, or have removed it: node and shim both kill.
            self.request_freeze(wanted)?;
        }
        Ok(())
    }

    fn request_freeze(&self, wanted: Freeze) -> Result<(), Failure> {
        match &*self.layout {
            Layout::V1(hierarchies) => v1::request_freeze(hierarchies, &self.path, wanted),
            Layout::V2(mount) => v2::request_freeze(&mount.join(&self.path), wanted),
        }
    }

    /// `None` while it is changing, or when the cgroup is gone.
    pub(super) fn freeze_state(&self) -> Option<Freeze> {
        match &*self.layout {
            Layout::V1(hierarchies) => v1::freeze_state(hierarchies, &self.path),
            Layout::V2(mount) => v2::freeze_state(&mount.join(&self.path)),
        }
    }

    /// Kills everything in it. The processes may still be dying when it returns.
    pub(super) fn kill(&self) {
        if let Layout::V2(mount) = &*self.layout
            && fs::write(mount.join(&self.path).join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        if self.pids().is_empty() {
            return;
        }
        // Frozen processes neither fork nor end, so that the list stays true while it is used.
        let frozen = self.freeze(Freeze::Frozen);
        for pid in self.pids() {
            // Only fails for one that has ended.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        if frozen.is_ok() || self.freeze_state() != Some(Freeze::Thawed) {
            let _ = self.freeze(Freeze::Thawed);
        }
    }

    /// How many processes the kernel has killed for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        match &*self.layout {
            Layout::V1(hierarchies) => v1::oom_kills(hierarchies, &self.path),
            Layout::V2(mount) => v2::oom_kills(&mount.join(&self.path)),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        match &*self.layout {
            Layout::V1(hierarchies) => v1::stats(hierarchies, &self.path),
            Layout::V2(mount) => v2::stats(&mount.join(&self.path)),
        }
    }

    /// Kills what is in it and removes it. It is no error if it does not exist.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            let refused = self
                .directories()
                .filter_map(|directory| {
                    remove_tree(&directory)
                        .err()
                        .map(|error| (directory, error))
                })
                .last();
            let Some((directory, error)) = refused else {
                return Ok(());
            };
            if begin.elapsed() > REMOVE_PATIENCE {
                return Err(error).during("remove cgroup", directory);
            }
            self.kill();
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let mounts: Vec<&PathBuf> = match &*self.layout {
            Layout::V1(hierarchies) => hierarchies
                .iter()
                .map(|hierarchy| &hierarchy.mount)
                .collect(),
            Layout::V2(mount) => vec![mount],
        };
        mounts.into_iter().map(|mount| mount.join(&self.path))
    }
}

/// A directory and those below it, the lowest first.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        next += 1;
        let Ok(entries) = fs::read_dir(&parent) else {
            continue;
        };
        found.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found.reverse();
    found
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for directory in tree(directory) {
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A file with one number; `None` if it is missing, `max`, or so large that it means no limit.
fn number(file: &Path) -> Option<u64> {
    // v1 shows "no limit" as the largest multiple of the page size.
    const NO_LIMIT: u64 = i64::MAX as u64 / 4096 * 4096;
    let value = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (value < NO_LIMIT).then_some(value)
}

/// The number after a key in a file of `key number` lines.
fn keyed(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
