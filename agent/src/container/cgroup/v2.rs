//! Control groups, version 2: one tree, with the controllers that each level hands down.
//!
//! Source: Linux `Documentation/admin-guide/cgroup-v2.rst`; conversions as in runc and crun.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::{Entry, Freeze, keyed, number};
use crate::container::Stats;
use crate::container::device::{self, DeviceRule};
use crate::container::failure::{During, Failure};

const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

pub(super) fn create(
    mount: &Path,
    path: &Path,
    resources: Option<&LinuxResources>,
) -> Result<Vec<String>, Failure> {
    let mut directory = mount.to_owned();
    for name in path.iter() {
        hand_down(&directory);
        directory.push(name);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).during("create cgroup", directory);
            }
            _ => {}
        }
    }
    let mut limits = Limits {
        directory,
        warnings: Vec::new(),
    };
    if let Some(resources) = resources {
        limits.all(resources)?;
    }
    Ok(limits.warnings)
}

/// Lets children use every controller that this level has. What cannot be handed down shows when
/// a limit is set that needs it.
fn hand_down(directory: &Path) {
    let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    let has = |list: &str, wanted: &str| list.split_ascii_whitespace().any(|name| name == wanted);
    for controller in CONTROLLERS {
        if has(&available, controller) && !has(&enabled, controller) {
            let _ = fs::write(&file, format!("+{controller}"));
        }
    }
}

/// For a process that is to be born in this cgroup.
pub(super) fn entry(directory: &Path) -> Result<Entry, Failure> {
    let file = fs::File::open(directory).during("open", directory)?;
    Ok(Entry::V2(file.into()))
}

/// Whether controllers are handed down from here: then only cgroups below may hold processes.
///
/// Source: `cgroup-v2.rst`, "No Internal Process Constraint".
fn is_divided(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.subtree_control"))
        .is_ok_and(|controllers| !controllers.trim().is_empty())
}

/// Where a process belongs that joins one in the cgroup `path`, whose `/proc/PID/cgroup` is given.
///
/// Source: cgroups(7), "/proc files".
pub(super) fn beside(mount: &Path, path: &Path, init: &str) -> PathBuf {
    let own = mount.join(path);
    if !is_divided(&own) {
        return own;
    }
    let place = init.lines().find_map(|line| line.strip_prefix("0::/"));
    // Elsewhere it would get around the container's limits.
    let plain = |place: &Path| !place.components().any(|part| part == Component::ParentDir);
    match place.map(Path::new) {
        Some(place) if place.starts_with(path) && plain(place) => mount.join(place),
        _ => own,
    }
}

struct Limits {
    directory: PathBuf,
    warnings: Vec<String>,
}

impl Limits {
    fn all(&mut self, resources: &LinuxResources) -> Result<(), Failure> {
        if let Some(memory) = resources.memory() {
            self.memory(memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            self.cpu(cpu)?;
        }
        if let Some(pids) = resources.pids() {
            self.pids(pids)?;
        }
        if let Some(io) = resources.block_io() {
            self.io(io)?;
        }
        for (file, value) in resources.unified().iter().flatten() {
            if file.contains('/') {
                return Err(Failure::refused(
                    "write",
                    file,
                    "not the name of a cgroup file",
                ));
            }
            self.set(file, value)?;
        }
        match resources.devices().as_deref() {
            Some(rules) if !rules.is_empty() => self.devices(rules),
            _ => Ok(()),
        }
    }

    fn memory(&mut self, memory: &LinuxMemory) -> Result<(), Failure> {
        if let Some(limit) = memory.limit() {
            self.set("memory.max", &or_max(limit))?;
        }
        if let Some(swap) = swap_alone(memory.limit(), memory.swap())? {
            self.wish("memory.swap.max", &swap, "swap limit");
        }
        if let Some(reservation) = memory.reservation() {
            self.set("memory.low", &or_max(reservation))?;
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &LinuxCpu) -> Result<(), Failure> {
        if cpu.realtime_period().is_some() || cpu.realtime_runtime().is_some() {
            let why = "control groups of version 2 do not divide real time";
            return Err(Failure::refused("set", "cpu_rt_runtime", why));
        }
        if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
            self.set("cpu.weight", &weight_of_shares(shares).to_string())?;
        }
        if cpu.quota().is_some() || cpu.period().is_some() {
            let quota = cpu.quota().map_or_else(|| "max".to_owned(), or_max);
            self.set(
                "cpu.max",
                &format!(
                    "{quota} {}",
                    cpu.period().filter(|period| *period > 0).unwrap_or(100_000)
                ),
            )?;
        }
        if let Some(cpus) = cpu.cpus() {
            self.set("cpuset.cpus", cpus)?;
        }
        if let Some(mems) = cpu.mems() {
            self.set("cpuset.mems", mems)?;
        }
        Ok(())
    }

    fn pids(&mut self, pids: &LinuxPids) -> Result<(), Failure> {
        let limit = pids.limit();
        self.set("pids.max", &or_max(if limit > 0 { limit } else { -1 }))
    }

    fn io(&mut self, io: &LinuxBlockIo) -> Result<(), Failure> {
        if let Some(weight) = io.weight().filter(|weight| *weight > 0) {
            self.weight("default", weight, "block I/O weight");
        }
        for device in io.weight_device().iter().flatten() {
            let name = format!("{}:{}", device.major(), device.minor());
            let weight = device.weight().unwrap_or_default();
            self.weight(&name, weight, "block I/O weight of a device");
        }
        // One key a line; what is not named stays as it is.
        for (list, key) in [
            (io.throttle_read_bps_device(), "rbps"),
            (io.throttle_write_bps_device(), "wbps"),
            (io.throttle_read_iops_device(), "riops"),
            (io.throttle_write_iops_device(), "wiops"),
        ] {
            for limit in list.iter().flatten() {
                let line = format!("{}:{} {key}={}", limit.major(), limit.minor(), limit.rate());
                self.set("io.max", &line)?;
            }
        }
        Ok(())
    }

    fn weight(&mut self, of: &str, weight: u16, what: &str) {
        let bfq = format!("{of} {weight}");
        if fs::write(self.directory.join("io.bfq.weight"), bfq).is_err() {
            // 10..1000 becomes 1..10000.
            let weight = 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
            self.wish("io.weight", &format!("{of} {weight}"), what);
        }
    }

    /// Without a filter every device could be used: what cannot be attached is an error.
    fn devices(&self, rules: &[oci_spec::runtime::LinuxDeviceCgroup]) -> Result<(), Failure> {
        let rules = rules
            .iter()
            .map(DeviceRule::from_oci)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::refused("use device rule", "", error.to_string()))?;
        let filter =
            device::load_v2(&device::v2_program(&rules)).during("load device filter", "")?;
        let directory = fs::File::open(&self.directory).during("open", &self.directory)?;
        device::attach_v2(directory.as_fd(), filter.as_fd())
            .during("attach device filter to", &self.directory)
    }

    fn set(&self, file: &str, value: &str) -> Result<(), Failure> {
        let file = self.directory.join(file);
        fs::write(&file, value).during(&format!("write `{value}` to"), file)
    }

    fn wish(&mut self, file: &str, value: &str, what: &str) {
        if let Err(error) = fs::write(self.directory.join(file), value) {
            self.warnings
                .push(format!("{what} is not supported by this kernel: {error}"));
        }
    }
}

fn or_max(value: i64) -> String {
    if value > 0 {
        value.to_string()
    } else {
        "max".to_owned()
    }
}

/// What goes into `memory.swap.max`: OCI counts memory and swap together, v2 swap alone.
///
/// `None` when nothing was said: 0 in OCI, but no swap at all in v2.
///
/// Source: runc `libcontainer/cgroups/utils.go`, `ConvertMemorySwapToCgroupV2Value`.
pub(super) fn swap_alone(
    memory: Option<i64>,
    both: Option<i64>,
) -> Result<Option<String>, Failure> {
    let memory = memory.unwrap_or(0);
    match both.unwrap_or(0) {
        // Without a limit of memory there is none of swap either.
        0 => Ok((memory == -1).then(|| "max".to_owned())),
        both if both < 0 => Ok(Some("max".to_owned())),
        both if memory <= 0 || both < memory => Err(Failure::refused(
            "limit memory and swap to",
            both.to_string(),
            "it must be at least the memory limit",
        )),
        both => Ok(Some((both - memory).to_string())),
    }
}

/// 2..262144 becomes 1..10000.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142
}

pub(super) fn request_freeze(directory: &Path, wanted: Freeze) -> Result<(), Failure> {
    let file = directory.join("cgroup.freeze");
    let text = match wanted {
        Freeze::Frozen => "1",
        Freeze::Thawed => "0",
    };
    fs::write(&file, text).during("write", file)
}

pub(super) fn freeze_state(directory: &Path) -> Option<Freeze> {
    let events = fs::read_to_string(directory.join("cgroup.events")).ok()?;
    Some(match keyed(&events, "frozen") {
        1 => Freeze::Frozen,
        _ => Freeze::Thawed,
    })
}

pub(super) fn oom_kills(directory: &Path) -> u64 {
    fs::read_to_string(directory.join("memory.events")).map_or(0, |text| keyed(&text, "oom_kill"))
}

pub(super) fn stats(directory: &Path) -> Stats {
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let (cpu, memory, io) = (text("cpu.stat"), text("memory.stat"), text("io.stat"));
    let nanos = |key| keyed(&cpu, key).saturating_mul(1000);
    Stats {
        cpu_nanos: nanos("usage_usec"),
        cpu_user_nanos: nanos("user_usec"),
        cpu_system_nanos: nanos("system_usec"),
        memory: number(&directory.join("memory.current")).unwrap_or(0),
        memory_inactive_file: keyed(&memory, "inactive_file"),
        memory_limit: number(&directory.join("memory.max")),
        pids: number(&directory.join("pids.current")).unwrap_or(0),
        pids_limit: number(&directory.join("pids.max")),
        io_read: device_sum(&io, "rbytes="),
        io_written: device_sum(&io, "wbytes="),
    }
}

/// Sums one field of the lines `MAJOR:MINOR rbytes=N wbytes=N …`.
fn device_sum(text: &str, field: &str) -> u64 {
    text.split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(field)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests;
