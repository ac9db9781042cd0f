//! What is mounted where: Docker's seven, the files in `/etc`, and what the user wants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use scheduler::model::container::ContainerSpec;

use super::command::{clean, no_nul};
use super::{Namespace, ResolvedMount, ResolvedSource, SpecError, SpecInput};

/// Source: Docker's default for `--shm-size`.
const SHM_SIZE: u64 = 64 << 20;

/// Files of /proc that may be covered by a bind, for lxcfs. Source: runc `checkProcMount`.
const COVERABLE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// All mounts, parents before what lies below them.
pub(super) fn mounts(input: &SpecInput<'_>) -> Result<Vec<Mount>, SpecError> {
    let mut own = Vec::new();
    let mut targets = BTreeSet::new();
    for mount in &input.mounts {
        let target = target(mount, input.container)?;
        if !targets.insert(target.clone()) {
            return Err(SpecError::TargetTwice {
                target: mount.target.clone(),
            });
        }
        own.push(user_mount(mount, target)?);
    }
    let covered = |mount: &Mount| {
        let target = mount.destination();
        let below_dev = target.starts_with("/dev") && targets.contains(Path::new("/dev"));
        targets.contains(target) || below_dev
    };
    let mut all: Vec<Mount> = system_mounts(input)
        .into_iter()
        .chain(etc_mounts(input))
        .collect();
    all.retain(|mount| !covered(mount));
    own.sort_by_key(|mount| mount.destination().components().count());
    all.extend(own);
    Ok(all)
}

/// How mounts on the root propagate: as far as the most open bind needs.
pub(super) fn rootfs_propagation(mounts: &[ResolvedMount]) -> Option<String> {
    let asks_for = |wanted: &str| {
        mounts.iter().any(|mount| match &mount.source {
            ResolvedSource::Host {
                propagation: Some(given),
                ..
            } => given.ends_with(wanted),
            ResolvedSource::Host { .. }
            | ResolvedSource::Layers(_)
            | ResolvedSource::Tmpfs { .. } => false,
        })
    };
    let propagation = if asks_for("shared") {
        "rshared"
    } else if asks_for("slave") {
        "rslave"
    } else {
        return None;
    };
    Some(propagation.to_owned())
}

/// Source: moby `daemon/pkg/oci/defaults.go`.
fn system_mounts(input: &SpecInput<'_>) -> Vec<Mount> {
    let container = input.container;
    // A privileged container may change the kernel's settings, unless its root is read-only.
    let sys = if container.privileged && !container.read_only {
        "rw"
    } else {
        "ro"
    };
    let plain = ["nosuid", "noexec", "nodev"];
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    vec![
        mount("/proc", "proc", "proc", plain),
        mount("/dev", "tmpfs", "tmpfs", dev),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", sys]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            [sys, "nosuid", "noexec", "nodev"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", plain),
        shm(input),
    ]
}

fn shm(input: &SpecInput<'_>) -> Mount {
    let host = match (&input.namespaces.shm, &input.namespaces.ipc) {
        (Some(path), _) => Some(path.as_path()),
        (None, Namespace::Host) => Some(Path::new("/dev/shm")),
        (None, Namespace::Private | Namespace::Join(_)) => None,
    };
    if let Some(path) = host {
        return mount("/dev/shm", "bind", path, ["bind", "rprivate"]);
    }
    let size = format!("size={}", input.container.shm_size.unwrap_or(SHM_SIZE));
    mount(
        "/dev/shm",
        "tmpfs",
        "shm",
        ["nosuid", "noexec", "nodev", "mode=1777", &size],
    )
}

fn etc_mounts(input: &SpecInput<'_>) -> Vec<Mount> {
    let access = if input.container.read_only {
        "ro"
    } else {
        "rw"
    };
    [
        ("/etc/resolv.conf", &input.etc.resolv_conf),
        ("/etc/hostname", &input.etc.hostname),
        ("/etc/hosts", &input.etc.hosts),
    ]
    .into_iter()
    .filter_map(|(target, source)| {
        Some(mount(
            target,
            "bind",
            source.as_ref()?,
            ["rbind", "rprivate", access],
        ))
    })
    .collect()
}

fn user_mount(mount_wanted: &ResolvedMount, target: PathBuf) -> Result<Mount, SpecError> {
    let read_only = mount_wanted.read_only;
    match &mount_wanted.source {
        ResolvedSource::Host {
            path,
            recursive,
            writable_below,
            propagation,
        } => {
            let propagation = match propagation.as_deref() {
                None | Some("") => "rprivate",
                Some(
                    known @ ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave"),
                ) => known,
                Some(other) => {
                    return Err(SpecError::Propagation {
                        propagation: other.to_owned(),
                    });
                }
            };
            let mut options = vec![if *recursive { "rbind" } else { "bind" }, propagation];
            match (read_only, *recursive && !writable_below) {
                (false, _) => options.push("rw"),
                (true, false) => options.push("ro"),
                // Without `rro`, what is mounted below could be written to.
                (true, true) => options.extend(["ro", "rro"]),
            }
            Ok(mount(target, "bind", path, options))
        }
        ResolvedSource::Layers(layers) => {
            let lower = lower_directories(layers).ok_or_else(|| SpecError::TooManyLayers {
                target: mount_wanted.target.clone(),
            })?;
            Ok(mount(
                target,
                "overlay",
                "overlay",
                ["ro", "nosuid", "nodev", &lower],
            ))
        }
        ResolvedSource::Tmpfs {
            size,
            mode,
            uid,
            gid,
            options,
        } => {
            let mut all = TmpfsOptions::new();
            let numbers = [
                size.map(|size| format!("size={size}")),
                mode.map(|mode| format!("mode={mode:o}")),
                uid.map(|uid| format!("uid={uid}")),
                gid.map(|gid| format!("gid={gid}")),
            ];
            for option in options.iter().cloned().chain(numbers.into_iter().flatten()) {
                all.set(&option)?;
            }
            if read_only {
                all.set("ro")?;
            }
            Ok(mount(
                target,
                "tmpfs",
                "tmpfs",
                all.0.iter().map(String::as_str),
            ))
        }
    }
}

/// The option of overlayfs that names the layers; `None` when it would be too long.
///
/// Source: kernel `filesystems/overlayfs.rst`, and mount(2): options fit into a page.
fn lower_directories(layers: &[PathBuf]) -> Option<String> {
    const PAGE: usize = 4096;
    // The kernel takes a backslash to mean the character after it.
    let escaped = |path: &PathBuf| {
        let text = path.to_str()?;
        Some(
            text.replace('\\', "\\\\")
                .replace(':', "\\:")
                .replace(',', "\\,"),
        )
    };
    let layers: Option<Vec<String>> = layers.iter().map(escaped).collect();
    let option = format!("lowerdir={}", layers?.join(":"));
    (option.len() < PAGE - "nosuid,nodev,ro,".len()).then_some(option)
}

/// Options of a tmpfs, each kind once, the later ones winning.
struct TmpfsOptions(Vec<String>);

impl TmpfsOptions {
    const FLAGS: [[&str; 2]; 6] = [
        ["nosuid", "suid"],
        ["nodev", "dev"],
        ["noexec", "exec"],
        ["ro", "rw"],
        ["noatime", "atime"],
        ["nodiratime", "diratime"],
    ];
    const VALUES: [&str; 7] = [
        "size",
        "mode",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "mpol",
    ];

    fn new() -> Self {
        Self(["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec())
    }

    fn set(&mut self, option: &str) -> Result<(), SpecError> {
        let bad = || SpecError::TmpfsOption {
            option: option.to_owned(),
        };
        if let Some(pair) = Self::FLAGS.iter().find(|pair| pair.contains(&option)) {
            self.0.retain(|known| !pair.contains(&known.as_str()));
        } else {
            let (key, value) = option.split_once('=').ok_or_else(bad)?;
            let known = Self::VALUES.contains(&key) && !value.is_empty();
            // The kernel would take what follows a comma for another option.
            if !known
                || !value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"%:-".contains(&b))
            {
                return Err(bad());
            }
            self.0.retain(|known| known.split('=').next() != Some(key));
        }
        self.0.push(option.to_owned());
        Ok(())
    }
}

/// Checks and cleans a target.
///
/// The kernel's own directories are not to be covered: a process that writes to a false `/proc` tells
/// the runtime lies (CVE-2019-16884). Monitoring tools show the host's `/sys` to themselves, though;
/// read-only that does no harm, and a privileged container may do it anyway.
fn target(mount: &ResolvedMount, container: &ContainerSpec) -> Result<PathBuf, SpecError> {
    no_nul("a mount target", [&mount.target])?;
    if !mount.target.starts_with('/') {
        return Err(SpecError::TargetRelative {
            target: mount.target.clone(),
        });
    }
    let clean = clean(&mount.target);
    let bind = matches!(mount.source, ResolvedSource::Host { .. });
    let coverable = bind && COVERABLE.iter().any(|path| clean == Path::new(path));
    let harmless = container.privileged || (bind && mount.read_only);
    let why = if clean == Path::new("/") {
        "it would cover the whole image"
    } else if clean.starts_with("/proc") && !coverable {
        "/proc belongs to the kernel"
    } else if clean.starts_with("/sys") && !harmless {
        "/sys belongs to the kernel; only a read-only bind may cover it"
    } else if clean == Path::new("/dev") && !container.privileged {
        "/dev belongs to the runtime"
    } else {
        return Ok(clean);
    };
    Err(SpecError::TargetForbidden {
        target: mount.target.clone(),
        why,
    })
}

fn mount<'a>(
    target: impl Into<PathBuf>,
    kind: &str,
    source: impl AsRef<Path>,
    options: impl IntoIterator<Item = &'a str>,
) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(target.into());
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(source.as_ref().to_owned()));
    mount.set_options(Some(options.into_iter().map(str::to_owned).collect()));
    mount
}
