//! How much a container may use: limits of its cgroup and of its processes, and its devices.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType,
};
use scheduler::model::container::{BlockLimitKind, ContainerSpec, Resources, Ulimit};

use super::{LimitedDisk, SpecError, SpecInput};
use crate::container::device::{self, DeviceRule, Verdict};

/// Docker sets no limit; a fork bomb then takes the host. Far above what real services need.
const PIDS: i64 = 4096;

/// The least that Docker takes: less would not even start a process.
const MIN_MEMORY: u64 = 6 << 20;

/// Microseconds. The kernel's default, and its least quota.
const CPU_PERIOD: u64 = 100_000;
const MIN_CPU_QUOTA: u64 = 1000;

const LIMITS: [(&str, PosixRlimitType); 16] = [
    ("as", PosixRlimitType::RlimitAs),
    ("core", PosixRlimitType::RlimitCore),
    ("cpu", PosixRlimitType::RlimitCpu),
    ("data", PosixRlimitType::RlimitData),
    ("fsize", PosixRlimitType::RlimitFsize),
    ("locks", PosixRlimitType::RlimitLocks),
    ("memlock", PosixRlimitType::RlimitMemlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue),
    ("nice", PosixRlimitType::RlimitNice),
    ("nofile", PosixRlimitType::RlimitNofile),
    ("nproc", PosixRlimitType::RlimitNproc),
    ("rss", PosixRlimitType::RlimitRss),
    ("rtprio", PosixRlimitType::RlimitRtprio),
    ("rttime", PosixRlimitType::RlimitRttime),
    ("sigpending", PosixRlimitType::RlimitSigpending),
    ("stack", PosixRlimitType::RlimitStack),
];

/// Limits of each process: the user's, and for `core` and `nofile` a default.
pub(super) fn limits(container: &ContainerSpec) -> Result<Vec<PosixRlimit>, SpecError> {
    let mut limits = container.ulimits.clone();
    limits
        .entry("core".to_owned())
        .or_insert(Ulimit { soft: 0, hard: 0 });
    // What systemd gives services: programs that close every descriptor there may be stay fast.
    limits.entry("nofile".to_owned()).or_insert(Ulimit {
        soft: 1024,
        hard: 524_288,
    });
    limits
        .iter()
        .map(|(name, limit)| rlimit(name, *limit))
        .collect()
}

fn rlimit(name: &str, limit: Ulimit) -> Result<PosixRlimit, SpecError> {
    let Some((_, kind)) = LIMITS.iter().find(|(known, _)| *known == name) else {
        return Err(SpecError::UlimitName {
            name: name.to_owned(),
        });
    };
    // -1 is RLIM_INFINITY.
    let value = |number: i64| {
        if number < 0 {
            u64::MAX
        } else {
            number.cast_unsigned()
        }
    };
    let (soft, hard) = (value(limit.soft), value(limit.hard));
    if soft > hard {
        let (soft, hard) = (limit.soft, limit.hard);
        return Err(SpecError::Ulimit {
            name: name.to_owned(),
            soft,
            hard,
        });
    }
    let rlimit = PosixRlimitBuilder::default()
        .typ(*kind)
        .soft(soft)
        .hard(hard);
    Ok(rlimit
        .build()
        .expect("the builder has a default for every field"))
}

/// How gladly the kernel kills it when memory is short; never the agent's own value.
pub(super) fn oom_score_adj(container: &ContainerSpec) -> Result<i32, SpecError> {
    let score = container.oom_score_adj.unwrap_or(0);
    if !(-1000..=1000).contains(&score) {
        return Err(refused(
            "oom_score_adj",
            score,
            "it must be between -1000 and 1000",
        ));
    }
    Ok(score)
}

/// Limits of the container's cgroup.
pub(super) fn resources(
    input: &SpecInput<'_>,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, SpecError> {
    let container = input.container;
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(
        device_rules(input)?
            .iter()
            .map(|rule| rule.to_oci())
            .collect(),
    ));
    resources.set_memory(memory(container)?);
    resources.set_cpu(cpu(&container.resources, warnings)?);
    let mut pids = LinuxPids::default();
    pids.set_limit(match container.resources.pids_limit {
        None => PIDS,
        Some(limit) if limit > 0 => limit,
        Some(_) => -1,
    });
    resources.set_pids(Some(pids));
    resources.set_block_io(block_io(&container.resources, &input.disks)?);
    Ok(resources)
}

/// Of these limits, those that only some kernels have: all else is left out.
pub fn kernel_dependent(
    wanted: &Resources,
    disks: &[LimitedDisk],
) -> Result<LinuxResources, SpecError> {
    let mut resources = LinuxResources::default();
    resources.set_cpu(cpu(wanted, &mut Vec::new())?);
    resources.set_block_io(block_io(wanted, disks)?);
    Ok(resources)
}

fn device_rules(input: &SpecInput<'_>) -> Result<Vec<DeviceRule>, SpecError> {
    if input.container.privileged {
        return Ok(vec![DeviceRule::all(Verdict::Allow)]);
    }
    let mut rules = device::default_rules();
    rules.extend(input.devices.iter().map(device::GrantedDevice::rule));
    for text in &input.container.device_cgroup_rules {
        rules.push(DeviceRule::parse(text)?);
    }
    Ok(rules)
}

/// Source for the rules between the values: moby `daemon/daemon_unix.go`, `verifyPlatformContainerResources`.
fn memory(container: &ContainerSpec) -> Result<Option<LinuxMemory>, SpecError> {
    let wanted = &container.resources;
    let limit = bytes("memory limit", wanted.memory_limit)?;
    let reservation = bytes("memory reservation", wanted.memory_reservation)?;
    if limit.is_some_and(|limit| limit < MIN_MEMORY.cast_signed()) {
        let value = wanted.memory_limit.unwrap_or(0);
        return Err(refused("memory limit", value, "it must be at least 6 MiB"));
    }
    if let (Some(limit), Some(reservation)) = (limit, reservation)
        && reservation > limit
    {
        return Err(refused(
            "memory reservation",
            reservation,
            "it is more than the limit",
        ));
    }
    let swap = match (limit, wanted.memory_swap.filter(|swap| *swap != 0)) {
        (None, None) => None,
        (None, Some(-1)) => Some(-1),
        (None, Some(swap)) => {
            return Err(refused(
                "memory and swap limit",
                swap,
                "it needs a memory limit",
            ));
        }
        // As much swap as memory.
        (Some(limit), None) => Some(limit.saturating_mul(2)),
        (Some(limit), Some(swap)) if swap != -1 && swap < limit => {
            return Err(refused(
                "memory and swap limit",
                swap,
                "it is less than the memory limit",
            ));
        }
        (Some(_), Some(swap)) => Some(swap),
    };
    if wanted
        .memory_swappiness
        .is_some_and(|swappiness| swappiness > 100)
    {
        let value = wanted.memory_swappiness.unwrap_or(0);
        return Err(refused(
            "memory swappiness",
            value,
            "it must be between 0 and 100",
        ));
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(limit);
    memory.set_reservation(reservation);
    memory.set_swap(swap);
    memory.set_swappiness(wanted.memory_swappiness);
    memory.set_disable_oom_killer(container.oom_kill_disable.then_some(true));
    Ok((memory != LinuxMemory::default()).then_some(memory))
}

/// Zero is Docker's way to leave a number out.
fn bytes(name: &'static str, number: Option<u64>) -> Result<Option<i64>, SpecError> {
    match number.filter(|number| *number != 0) {
        None => Ok(None),
        Some(number) => match i64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refused(name, number, "it does not fit in 63 bits")),
        },
    }
}

fn cpu(wanted: &Resources, warnings: &mut Vec<String>) -> Result<Option<LinuxCpu>, SpecError> {
    let period = wanted.cpu_period.filter(|period| *period != 0);
    let limit = wanted.cpu_limit_millis.filter(|limit| *limit != 0);
    let quota = wanted.cpu_quota.filter(|quota| *quota != 0);
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        let value = wanted.cpu_period.unwrap_or(0);
        return Err(refused(
            "CPU period",
            value,
            "it must be between 1 ms and 1 s",
        ));
    }
    if let (Some(_), Some(quota)) = (limit, quota) {
        return Err(refused(
            "CPU quota",
            quota,
            "a number of CPUs is given as well",
        ));
    }
    if quota.is_some_and(|quota| quota > 0 && quota.cast_unsigned() < MIN_CPU_QUOTA) {
        return Err(refused(
            "CPU quota",
            wanted.cpu_quota.unwrap_or(0),
            "it must be at least 1 ms",
        ));
    }
    if let (Some(runtime), Some(period)) = (wanted.cpu_rt_runtime, wanted.cpu_rt_period)
        && u64::try_from(runtime).is_ok_and(|runtime| runtime > period)
    {
        return Err(refused(
            "real-time CPU",
            runtime,
            "it is more than its period",
        ));
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_realtime_period(wanted.cpu_rt_period.filter(|period| *period != 0));
    cpu.set_realtime_runtime(wanted.cpu_rt_runtime.filter(|runtime| *runtime != 0));
    cpu.set_shares(wanted.cpu_shares.filter(|shares| *shares != 0));
    cpu.set_period(period);
    cpu.set_quota(quota);
    cpu.set_cpus(wanted.cpuset.clone().filter(|list| !list.is_empty()));
    cpu.set_mems(wanted.cpuset_mems.clone().filter(|list| !list.is_empty()));
    if let Some(millis) = limit {
        let period = period.unwrap_or(CPU_PERIOD);
        let mut quota = millis.saturating_mul(period) / 1000;
        if quota < MIN_CPU_QUOTA {
            quota = MIN_CPU_QUOTA;
            warnings
                .push("the CPU limit was raised to the kernel's least, 1 ms a period".to_owned());
        }
        cpu.set_period(Some(period));
        cpu.set_quota(Some(i64::try_from(quota).unwrap_or(i64::MAX)));
    }
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

fn block_io(wanted: &Resources, disks: &[LimitedDisk]) -> Result<Option<LinuxBlockIo>, SpecError> {
    let weight = wanted.blkio_weight.filter(|weight| *weight != 0);
    if let Some(weight) = weight.filter(|weight| !(10..=1000).contains(weight)) {
        return Err(refused(
            "block I/O weight",
            weight,
            "it must be between 10 and 1000",
        ));
    }
    let throttles = |kind: BlockLimitKind| {
        let of_kind = disks.iter().filter(move |disk| disk.kind == kind);
        let throttles: Vec<_> = of_kind.map(throttle).collect();
        (!throttles.is_empty()).then_some(throttles)
    };
    let weights: Vec<_> = disks
        .iter()
        .filter(|disk| disk.kind == BlockLimitKind::Weight)
        .map(weight_of)
        .collect();
    let mut block_io = LinuxBlockIo::default();
    block_io.set_weight(weight);
    block_io.set_weight_device((!weights.is_empty()).then_some(weights));
    block_io.set_throttle_read_bps_device(throttles(BlockLimitKind::ReadBytes));
    block_io.set_throttle_write_bps_device(throttles(BlockLimitKind::WriteBytes));
    block_io.set_throttle_read_iops_device(throttles(BlockLimitKind::ReadOperations));
    block_io.set_throttle_write_iops_device(throttles(BlockLimitKind::WriteOperations));
    Ok((block_io != LinuxBlockIo::default()).then_some(block_io))
}

fn throttle(disk: &LimitedDisk) -> LinuxThrottleDevice {
    let throttle = LinuxThrottleDeviceBuilder::default()
        .major(disk.major)
        .minor(disk.minor)
        .rate(disk.amount);
    throttle.build().expect("every field is given")
}

fn weight_of(disk: &LimitedDisk) -> LinuxWeightDevice {
    let weight = LinuxWeightDeviceBuilder::default()
        .major(disk.major)
        .minor(disk.minor)
        // The Compose file was held against 10 to 1000.
        .weight(u16::try_from(disk.amount).unwrap_or(u16::MAX));
    weight.build().expect("every field is given")
}

fn refused(name: &'static str, value: impl ToString, why: &'static str) -> SpecError {
    SpecError::Resource {
        name,
        value: value.to_string(),
        why,
    }
}
