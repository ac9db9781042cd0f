//! What this host lacks, said before anything starts, each with what to do about it.
//!
//!     probe (the machine) ──► Facts ──► lacking (pure) ──► refuse to start
//!                                 └───► weak (pure) ─────► go on, and say so
//!
//! Keeps nothing. A kernel's modules load when they are first used, so what does not show is tried:
//! a bridge and a pair of interfaces in a scratch network namespace, an overlay without layers.

use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::{container, network};

/// The first kernel with all that the engine needs: `openat2` came with 5.6, `mount_setattr`, by
/// which mounts are made read-only at once, with 5.12.
const KERNEL: (u32, u32) = (5, 12);

/// Controllers without which a limit cannot be kept, with the limit.
const CONTROLLERS: [(&str, &str); 4] = [
    ("memory", "memory limits"),
    ("cpu", "CPU limits"),
    ("pids", "the limit of processes"),
    ("cpuset", "the choice of CPUs"),
];

/// What is known about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub root: bool,
    /// Major and minor; `None` when the kernel names itself in another way.
    pub kernel: Option<(u32, u32)>,
    pub nft: bool,
    pub overlay: bool,
    pub bridge: bool,
    pub veth: bool,
    /// `None` when no control groups are mounted.
    pub controllers: Option<BTreeSet<String>>,
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    pub what: String,
    /// A sentence that says what to do.
    pub remedy: &'static str,
}

impl Facts {
    /// Looks at this machine. Takes a few milliseconds, and needs root to see everything.
    pub fn probe() -> Self {
        let root = nix::unistd::geteuid().is_root();
        Self {
            root,
            kernel: kernel(),
            nft: network::has_nft(),
            overlay: has_overlay(),
            bridge: network::kernel_makes(network::Kind::Bridge),
            veth: network::kernel_makes(network::Kind::Veth),
            controllers: container::controllers(),
        }
    }
}

/// What no container can be run without.
pub fn lacking(facts: &Facts) -> Vec<Lack> {
    if !facts.root {
        // Nothing else is seen truly by anybody else.
        return vec![lack(
            "root: a node makes namespaces, mounts and networks",
            "Run it as root, e.g. with sudo.",
        )];
    }
    let mut lacking = Vec::new();
    if let Some((major, minor)) = facts.kernel.filter(|kernel| *kernel < KERNEL) {
        let (first_major, first_minor) = KERNEL;
        lacking.push(Lack {
            what: format!(
                "Linux {first_major}.{first_minor} or later: this is {major}.{minor}, without `mount_setattr`"
            ),
            remedy: "Boot a newer kernel; Debian 12 has 6.1.",
        });
    }
    let needed = [
        (
            facts.nft,
            "the program `nft`",
            "Install the package `nftables`.",
        ),
        (
            facts.overlay,
            "overlayfs in the kernel",
            "Load the module with `modprobe overlay`, or boot a kernel with CONFIG_OVERLAY_FS.",
        ),
        (
            facts.bridge,
            "bridges in the kernel",
            "Load the module with `modprobe bridge`, or boot a kernel with CONFIG_BRIDGE.",
        ),
        (
            facts.veth,
            "virtual interface pairs in the kernel",
            "Load the module with `modprobe veth`, or boot a kernel with CONFIG_VETH.",
        ),
        (
            facts.controllers.is_some(),
            "control groups",
            "Mount them: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`.",
        ),
    ];
    let missing = needed.into_iter().filter(|(there, ..)| !there);
    lacking.extend(missing.map(|(_, what, remedy)| lack(what, remedy)));
    lacking
}

/// What containers run without, but not as one may expect.
pub fn weak(facts: &Facts) -> Vec<Lack> {
    let Some(controllers) = &facts.controllers else {
        return Vec::new();
    };
    let missing = CONTROLLERS
        .iter()
        .filter(|(name, _)| !controllers.contains(*name));
    missing
        .map(|(name, limit)| Lack {
            what: format!("the cgroup controller `{name}`, for {limit}"),
            remedy: "Boot without `cgroup_disable=` for it, or with `cgroup_enable=memory` where that is the default.",
        })
        .collect()
}

/// All of it, for people: a line each.
pub fn sentence(lacking: &[Lack]) -> String {
    let mut text = "this host lacks what a node needs".to_owned();
    for Lack { what, remedy } in lacking {
        text += &format!("\n  {what}\n    {remedy}");
    }
    text
}

fn lack(what: &str, remedy: &'static str) -> Lack {
    Lack {
        what: what.to_owned(),
        remedy,
    }
}

fn kernel() -> Option<(u32, u32)> {
    version(nix::sys::utsname::uname().ok()?.release().to_str()?)
}

/// `6.1.0-56-cloud-amd64` → (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether overlays can be mounted: the kernel lists it, or knows it when it is asked.
fn has_overlay() -> bool {
    let listed = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if listed.lines().any(|line| line.ends_with("\toverlay")) {
        return true;
    }
    // Without layers it is refused in any case; only ENODEV says that it is not known.
    let tried = mount(
        Some("overlay"),
        "/",
        Some("overlay"),
        MsFlags::empty(),
        None::<&str>,
    );
    tried != Err(Errno::ENODEV)
}

#[cfg(test)]
mod tests;
