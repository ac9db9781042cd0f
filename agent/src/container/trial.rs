//! Whether this host keeps the limits that not every kernel has: weights of disks, real time. They
//! are tried on a control group that is removed again, before anything is started.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use oci_spec::runtime::LinuxResources;
use scheduler::model::container::{BlockLimitKind, ContainerSpec, Resources};

use super::cgroup::Cgroup;
use super::device;
use super::spec::{self, LimitedDisk};

/// What this host cannot keep of it, a sentence each.
pub fn unkept(container: &ContainerSpec) -> Vec<String> {
    let asked = &container.resources;
    let wanted = Resources {
        cpu_rt_period: asked.cpu_rt_period,
        cpu_rt_runtime: asked.cpu_rt_runtime,
        blkio_weight: asked.blkio_weight,
        ..Resources::default()
    };
    let disks = weighed_disks(asked);
    if wanted == Resources::default() && disks.is_empty() {
        return Vec::new();
    }
    match spec::kernel_dependent(&wanted, &disks) {
        Ok(resources) => tried(&resources),
        Err(error) => vec![error.to_string()],
    }
}

/// Those that are not there have been told of already.
fn weighed_disks(asked: &Resources) -> Vec<LimitedDisk> {
    let weights = asked
        .block_devices
        .iter()
        .filter(|it| it.kind == BlockLimitKind::Weight);
    let disk = |it: &scheduler::model::container::BlockLimit| {
        let (major, minor) = device::disk(Path::new(&it.path)).ok()?;
        Some(LimitedDisk {
            major,
            minor,
            kind: it.kind,
            amount: it.amount,
        })
    };
    weights.filter_map(disk).collect()
}

fn tried(resources: &LinuxResources) -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Beside the containers: what one level was given is shared by what stands on it.
    let name = format!("wharfie/trial-{}-{number}", std::process::id());
    let cgroup = match Cgroup::at(&PathBuf::from(name)) {
        Ok(cgroup) => cgroup,
        Err(failure) => return vec![failure.message()],
    };
    let told = match cgroup.create(Some(resources)) {
        Ok(warnings) => warnings,
        Err(failure) => vec![failure.message()],
    };
    if let Err(failure) = cgroup.remove() {
        tracing::warn!(
            failure = failure.message(),
            "a cgroup made for a trial is left behind"
        );
    }
    told
}
