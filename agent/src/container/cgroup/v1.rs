//! Control groups, version 1: a tree for each controller.
//!
//! Source: Linux `Documentation/admin-guide/cgroup-v1/`.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::{Freeze, Hierarchy, keyed, number};
use crate::container::Stats;
use crate::container::device::{DeviceRule, Verdict};
use crate::container::failure::{During, Failure};

pub(super) fn create(
    hierarchies: &[Hierarchy],
    path: &Path,
    resources: Option<&LinuxResources>,
) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for hierarchy in hierarchies {
        let directory = hierarchy.mount.join(path);
        fs::create_dir_all(&directory).during("create cgroup", &directory)?;
        if hierarchy.has("cpuset") {
            inherit_cpuset(&hierarchy.mount, path)?;
        }
        let Some(resources) = resources else {
            continue;
        };
        let mut limits = Limits {
            directory,
            warnings: &mut warnings,
        };
        if let Some(memory) = resources
            .memory()
            .as_ref()
            .filter(|_| hierarchy.has("memory"))
        {
            limits.memory(memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            limits.cpu(cpu, hierarchy)?;
        }
        if let Some(pids) = resources.pids().as_ref().filter(|_| hierarchy.has("pids")) {
            limits.pids(pids)?;
        }
        if let Some(io) = resources
            .block_io()
            .as_ref()
            .filter(|_| hierarchy.has("blkio"))
        {
            limits.io(io)?;
        }
        if hierarchy.has("devices") {
            for rule in resources.devices().iter().flatten() {
                limits.device(rule)?;
            }
        }
    }
    Ok(warnings)
}

/// One directory to write limits into.
struct Limits<'a> {
    directory: PathBuf,
    warnings: &'a mut Vec<String>,
}

impl Limits<'_> {
    fn memory(&mut self, memory: &LinuxMemory) -> Result<(), Failure> {
        if let Some(limit) = memory.limit() {
            self.set("memory.limit_in_bytes", &limit.to_string())?;
        }
        if let Some(swap) = memory.swap() {
            self.wish(
                "memory.memsw.limit_in_bytes",
                &swap.to_string(),
                "swap limit",
            );
        }
        if let Some(reservation) = memory.reservation() {
            self.set("memory.soft_limit_in_bytes", &reservation.to_string())?;
        }
        if let Some(swappiness) = memory.swappiness() {
            self.wish("memory.swappiness", &swappiness.to_string(), "swappiness");
        }
        if memory.disable_oom_killer() == Some(true) {
            self.wish("memory.oom_control", "1", "disabling the OOM killer");
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &LinuxCpu, hierarchy: &Hierarchy) -> Result<(), Failure> {
        if hierarchy.has("cpu") {
            if let Some(shares) = cpu.shares() {
                self.set("cpu.shares", &shares.to_string())?;
            }
            if let Some(period) = cpu.period() {
                self.set("cpu.cfs_period_us", &period.to_string())?;
            }
            if let Some(quota) = cpu.quota() {
                self.set("cpu.cfs_quota_us", &quota.to_string())?;
            }
            if cpu.realtime_period().is_some() || cpu.realtime_runtime().is_some() {
                self.real_time(cpu, &hierarchy.mount)?;
            }
        }
        if hierarchy.has("cpuset") {
            if let Some(cpus) = cpu.cpus() {
                self.set("cpuset.cpus", cpus)?;
            }
            if let Some(mems) = cpu.mems() {
                self.set("cpuset.mems", mems)?;
            }
        }
        Ok(())
    }

    /// A new cgroup has no real time at all, and hands down no more than it has: each level above is
    /// given as much as the root leaves.
    ///
    /// Source: `Documentation/scheduler/sched-rt-group.rst`.
    fn real_time(&mut self, cpu: &LinuxCpu, root: &Path) -> Result<(), Failure> {
        const RUNTIME: &str = "cpu.rt_runtime_us";
        let read = |directory: &Path| number(&directory.join(RUNTIME)).unwrap_or(0);
        let wanted = cpu.realtime_runtime().unwrap_or(0);
        let above: Vec<PathBuf> = self
            .directory
            .ancestors()
            .skip(1)
            .take_while(|it| *it != root)
            .map(Path::to_owned)
            .collect();
        for directory in above.iter().rev() {
            let has = read(directory);
            let enough = has.saturating_add(u64::try_from(wanted).unwrap_or(0));
            // Other trees beside it may have taken their part: then only what is needed.
            if fs::write(directory.join(RUNTIME), read(root).to_string()).is_err() {
                let _ = fs::write(directory.join(RUNTIME), enough.to_string());
            }
        }
        if let Some(period) = cpu.realtime_period() {
            self.set("cpu.rt_period_us", &period.to_string())?;
        }
        self.set(RUNTIME, &wanted.to_string())
    }

    fn pids(&mut self, pids: &LinuxPids) -> Result<(), Failure> {
        let limit = pids.limit();
        let text = if limit > 0 {
            limit.to_string()
        } else {
            "max".to_owned()
        };
        self.set("pids.max", &text)
    }

    fn io(&mut self, io: &LinuxBlockIo) -> Result<(), Failure> {
        if let Some(weight) = io.weight() {
            self.weight("weight", &weight.to_string(), "block I/O weight");
        }
        for device in io.weight_device().iter().flatten() {
            let weight = device.weight().unwrap_or_default();
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            self.weight("weight_device", &line, "block I/O weight of a device");
        }
        for (list, file) in [
            (
                io.throttle_read_bps_device(),
                "blkio.throttle.read_bps_device",
            ),
            (
                io.throttle_write_bps_device(),
                "blkio.throttle.write_bps_device",
            ),
            (
                io.throttle_read_iops_device(),
                "blkio.throttle.read_iops_device",
            ),
            (
                io.throttle_write_iops_device(),
                "blkio.throttle.write_iops_device",
            ),
        ] {
            for limit in list.iter().flatten() {
                let line = format!("{}:{} {}", limit.major(), limit.minor(), limit.rate());
                self.set(file, &line)?;
            }
        }
        Ok(())
    }

    /// Which file there is depends on the scheduler of the disks.
    fn weight(&mut self, name: &str, value: &str, what: &str) {
        if fs::write(self.directory.join(format!("blkio.bfq.{name}")), value).is_err() {
            self.wish(&format!("blkio.{name}"), value, what);
        }
    }

    fn device(&mut self, rule: &oci_spec::runtime::LinuxDeviceCgroup) -> Result<(), Failure> {
        let rule = DeviceRule::from_oci(rule)
            .map_err(|error| Failure::refused("use device rule", "", error.to_string()))?;
        let file = match rule.verdict {
            Verdict::Allow => "devices.allow",
            Verdict::Deny => "devices.deny",
        };
        self.set(file, &rule.v1_line())
    }

    fn set(&mut self, file: &str, value: &str) -> Result<(), Failure> {
        let file = self.directory.join(file);
        fs::write(&file, value).during(&format!("write `{value}` to"), file)
    }

    /// Kernels are built without some controls: what they cannot do is told, and no reason to refuse.
    fn wish(&mut self, file: &str, value: &str, what: &str) {
        if let Err(error) = fs::write(self.directory.join(file), value) {
            self.warnings
                .push(format!("{what} is not supported by this kernel: {error}"));
        }
    }
}

/// A new cpuset is empty, and nothing may enter an empty one: takes over the parent's, level by level.
fn inherit_cpuset(mount: &Path, path: &Path) -> Result<(), Failure> {
    let mut parent = mount.to_owned();
    for name in path.iter() {
        let directory = parent.join(name);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let target = directory.join(file);
            let present = fs::read_to_string(&target).during("read", &target)?;
            if present.trim().is_empty() {
                let source = parent.join(file);
                let inherited = fs::read_to_string(&source).during("read", &source)?;
                fs::write(&target, inherited.trim()).during("write", &target)?;
            }
        }
        parent = directory;
    }
    Ok(())
}

fn directory(hierarchies: &[Hierarchy], controller: &str, path: &Path) -> Option<PathBuf> {
    hierarchies
        .iter()
        .find(|hierarchy| hierarchy.has(controller))
        .map(|hierarchy| hierarchy.mount.join(path))
}

pub(super) fn request_freeze(
    hierarchies: &[Hierarchy],
    path: &Path,
    wanted: Freeze,
) -> Result<(), Failure> {
    let Some(directory) = directory(hierarchies, "freezer", path) else {
        return Err(Failure::refused(
            "freeze",
            path,
            "this kernel has no freezer",
        ));
    };
    let file = directory.join("freezer.state");
    let text = match wanted {
        Freeze::Frozen => "FROZEN",
        Freeze::Thawed => "THAWED",
    };
    fs::write(&file, text).during("write", file)
}

pub(super) fn freeze_state(hierarchies: &[Hierarchy], path: &Path) -> Option<Freeze> {
    let file = directory(hierarchies, "freezer", path)?.join("freezer.state");
    match fs::read_to_string(file).ok()?.trim() {
        "FROZEN" => Some(Freeze::Frozen),
        "THAWED" => Some(Freeze::Thawed),
        _ => None,
    }
}

pub(super) fn oom_kills(hierarchies: &[Hierarchy], path: &Path) -> u64 {
    directory(hierarchies, "memory", path)
        .and_then(|directory| fs::read_to_string(directory.join("memory.oom_control")).ok())
        .map_or(0, |text| keyed(&text, "oom_kill"))
}

pub(super) fn stats(hierarchies: &[Hierarchy], path: &Path) -> Stats {
    let file = |controller: &str, name: &str| {
        directory(hierarchies, controller, path)
            .map(|directory| directory.join(name))
            .unwrap_or_default()
    };
    let read = |controller, name| number(&file(controller, name));
    let memory = fs::read_to_string(file("memory", "memory.stat")).unwrap_or_default();
    let io =
        fs::read_to_string(file("blkio", "blkio.throttle.io_service_bytes")).unwrap_or_default();
    Stats {
        cpu_nanos: read("cpuacct", "cpuacct.usage").unwrap_or(0),
        cpu_user_nanos: read("cpuacct", "cpuacct.usage_user").unwrap_or(0),
        cpu_system_nanos: read("cpuacct", "cpuacct.usage_sys").unwrap_or(0),
        memory: read("memory", "memory.usage_in_bytes").unwrap_or(0),
        memory_inactive_file: keyed(&memory, "total_inactive_file"),
        memory_limit: read("memory", "memory.limit_in_bytes"),
        pids: read("pids", "pids.current").unwrap_or(0),
        pids_limit: read("pids", "pids.max"),
        io_read: device_sum(&io, "Read"),
        io_written: device_sum(&io, "Write"),
    }
}

/// Sums the lines `MAJOR:MINOR Operation N`.
fn device_sum(text: &str, operation: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_device, name) = (fields.next()?, fields.next()?);
            (name == operation).then(|| fields.next()?.parse::<u64>().ok())?
        })
        .sum()
}
