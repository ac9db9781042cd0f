//! Fills the container's root: mounts, device nodes, what is hidden and what is read-only.
//!
//! Runs in the new process, inside its mount namespace, before the root is switched. Every target
//! is found through [`RootDir`], and a bind mount is finished while it is detached: an image or a
//! neighbour on a shared volume that swaps symlinks meanwhile changes nothing outside the root.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};

use super::failure::{During, Failure};
use super::kernel::{self, Depth, MountChange};
use super::rootdir::{RootDir, kind};

mod neighbour;
mod options;
use neighbour::Neighbour;
use options::Options;
pub(super) use options::root_propagation;

/// What the container sees of its own cgroup: names below the target, and directories of the host.
pub(super) type CgroupViews = Vec<(String, PathBuf)>;

/// Makes every mount of the configuration, in its order.
pub(super) fn mount_all(
    root: &RootDir,
    mounts: &[Mount],
    cgroups: Option<&CgroupViews>,
) -> Result<(), Failure> {
    for wanted in mounts {
        let options = Options::parse(wanted.options().as_deref().unwrap_or_default());
        let target = wanted.destination();
        match wanted.typ().as_deref().unwrap_or("none") {
            _ if options.bind => bind(root, wanted, &options)?,
            "bind" => bind(root, wanted, &options)?,
            "cgroup" => match cgroups {
                Some(views) => cgroup_v1(root, target, views, &options)?,
                None => file_system(root, wanted, "cgroup2", &options)?,
            },
            kind @ ("proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "cgroup2" | "overlay") => {
                file_system(root, wanted, kind, &options)?;
            }
            other => {
                let reason = format!("a mount of type `{other}` is not supported");
                return Err(Failure::refused("mount on", target, reason));
            }
        }
    }
    Ok(())
}

fn file_system(
    root: &RootDir,
    wanted: &Mount,
    kind: &str,
    options: &Options,
) -> Result<(), Failure> {
    let target = wanted.destination();
    let action = format!("mount {kind} on");
    let directory = match kind {
        // Whoever could redirect these could fake everything that is read from them.
        "proc" | "sysfs" => match root.find_without_links(target) {
            Err(Errno::ENOENT) => root.make_directory(target, Mode::from_bits_truncate(0o755)),
            found => found,
        },
        _ => root.make_directory(target, Mode::from_bits_truncate(0o755)),
    }
    .during(&action, target)?;
    if kind == "overlay" {
        refuse_system_target(root, target, &directory)?;
    }
    let source = wanted.source().as_deref().unwrap_or(Path::new(kind));
    let data = (!options.data.is_empty()).then(|| options.data.join(","));
    let mounted = mount(
        Some(source),
        proc_path(&directory).as_str(),
        Some(kind),
        options.flags,
        data.as_deref(),
    );
    match mounted {
        // The kernel has no POSIX queues, or the host's pid namespace is not ours to mount sysfs for.
        Err(Errno::ENODEV) if kind == "mqueue" => Ok(()),
        // Without a network namespace of one's own the kernel refuses a new sysfs: show the host's.
        Err(Errno::EPERM) if kind == "sysfs" => {
            let host = open_path(Path::new("/sys"))?;
            put(&host, &directory, options).during(&action, target)
        }
        mounted => mounted.during(&action, target),
    }
}

fn bind(root: &RootDir, wanted: &Mount, options: &Options) -> Result<(), Failure> {
    let target = wanted.destination();
    let Some(source) = wanted.source() else {
        return Err(Failure::refused(
            "mount on",
            target,
            "a bind needs a source",
        ));
    };
    // Elsewhere a path below `/proc` is what anybody may have written: one of the host's.
    let shared_memory = target == Path::new("/dev/shm");
    if let Some(neighbour) = Neighbour::parse(source).filter(|_| shared_memory) {
        let target_fd = root.make_directory(target, Mode::from_bits_truncate(0o755));
        let target_fd = target_fd.during("make mount point", target)?;
        refuse_system_target(root, target, &target_fd)?;
        let clone = neighbour.clone_mount()?;
        return put_clone(&clone, &target_fd, options).during("bind mount on", target);
    }
    let source_fd = open_path(source).map_err(|mut failure| {
        failure.step = super::failure::Step::Setup("bind mount".to_owned());
        failure
    })?;
    let is_directory = kind(&source_fd).during("look at", source)? == SFlag::S_IFDIR;
    let target_fd = if is_directory {
        root.make_directory(target, Mode::from_bits_truncate(0o755))
    } else {
        root.make_file(target)
    }
    .during("make mount point", target)?;
    refuse_system_target(root, target, &target_fd)?;
    put(&source_fd, &target_fd, options).during("bind mount on", target)
}

/// Puts a clone of the mount at `source` on `target`, with the options already in force.
fn put(source: &OwnedFd, target: &OwnedFd, options: &Options) -> nix::Result<()> {
    let depth = if options.recursive {
        Depth::Below
    } else {
        Depth::This
    };
    put_clone(&kernel::clone_mount(source, depth)?, target, options)
}

/// The same with a mount that is detached already.
fn put_clone(clone: &OwnedFd, target: &OwnedFd, options: &Options) -> nix::Result<()> {
    let depth = if options.recursive {
        Depth::Below
    } else {
        Depth::This
    };
    let propagation = options.propagation.unwrap_or(MsFlags::MS_PRIVATE);
    let propagation_depth = if propagation.contains(MsFlags::MS_REC) {
        Depth::Below
    } else {
        depth
    };
    kernel::change_mount(
        clone,
        MountChange {
            propagation: (propagation & !MsFlags::MS_REC).bits(),
            depth: propagation_depth,
            ..MountChange::default()
        },
    )?;
    if options.attributes != 0 {
        kernel::change_mount(
            clone,
            MountChange {
                set: options.attributes,
                depth: if options.recursive_attributes {
                    Depth::Below
                } else {
                    Depth::This
                },
                ..MountChange::default()
            },
        )?;
    }
    kernel::attach_mount(clone, target)
}

/// A volume over `/proc` or `/sys` could fake what programs and the engine itself read there.
///
/// What counts is where the target lies after symlinks were followed: on which file system.
/// `/proc` and `/sys` themselves are found by the file system that is mounted there, so this also
/// holds for a target that leads there through a symlink of the image.
fn refuse_system_target(root: &RootDir, target: &Path, found: &OwnedFd) -> Result<(), Failure> {
    const SYSTEM: [&str; 2] = ["/proc", "/sys"];
    let device = fstat(found).during("look at", target)?.st_dev;
    for system in SYSTEM {
        let inside = root
            .find(Path::new(system))
            .and_then(fstat)
            .is_ok_and(|stat| stat.st_dev == device && is_kernel_file_system(found));
        if inside || target.starts_with(system) && target == Path::new(system) {
            let reason = format!("nothing may be mounted in {system}");
            return Err(Failure::refused("mount on", target, reason));
        }
    }
    if target == Path::new("/") {
        return Err(Failure::refused(
            "mount on",
            target,
            "the root is the image's",
        ));
    }
    Ok(())
}

fn is_kernel_file_system(fd: &OwnedFd) -> bool {
    use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
    fstatfs(fd).is_ok_and(|fs| matches!(fs.filesystem_type(), PROC_SUPER_MAGIC | SYSFS_MAGIC))
}

/// Shows the container's own cgroup of each v1 tree below one tmpfs.
fn cgroup_v1(
    root: &RootDir,
    target: &Path,
    views: &CgroupViews,
    options: &Options,
) -> Result<(), Failure> {
    let directory = root
        .make_directory(target, Mode::from_bits_truncate(0o755))
        .during("mount cgroup on", target)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("tmpfs"),
        proc_path(&directory).as_str(),
        Some("tmpfs"),
        flags,
        Some("mode=755,size=64k"),
    )
    .during("mount cgroup on", target)?;
    for (name, source) in views {
        let source = open_path(source)?;
        let at = target.join(name);
        let place = root
            .make_directory(&at, Mode::from_bits_truncate(0o755))
            .during("mount cgroup on", &at)?;
        put(&source, &place, options).during("mount cgroup on", &at)?;
    }
    let mounted = root.find(target).during("find", target)?;
    kernel::change_mount(
        &mounted,
        MountChange {
            set: options.attributes,
            ..MountChange::default()
        },
    )
    .during("change the mount on", target)
}

/// Makes the device nodes, and the links every program expects in `/dev`.
///
/// Nothing is done if `/dev` is a bind mount: it is somebody else's.
pub(super) fn make_devices(
    root: &RootDir,
    devices: &[LinuxDevice],
    mounts: &[Mount],
) -> Result<(), Failure> {
    let bound = mounts.iter().any(|mount| {
        mount.destination() == Path::new("/dev")
            && (mount.typ().as_deref() == Some("bind")
                || Options::parse(mount.options().as_deref().unwrap_or_default()).bind)
    });
    if bound {
        return Ok(());
    }
    for (path, kind, major, minor) in [
        ("/dev/null", SFlag::S_IFCHR, 1, 3),
        ("/dev/zero", SFlag::S_IFCHR, 1, 5),
        ("/dev/full", SFlag::S_IFCHR, 1, 7),
        ("/dev/random", SFlag::S_IFCHR, 1, 8),
        ("/dev/urandom", SFlag::S_IFCHR, 1, 9),
        ("/dev/tty", SFlag::S_IFCHR, 5, 0),
    ] {
        let node = Node {
            kind,
            device: makedev(major, minor),
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        node.make(root, Path::new(path))?;
    }
    for device in devices {
        let kind = match device.typ() {
            LinuxDeviceType::B => SFlag::S_IFBLK,
            LinuxDeviceType::P => SFlag::S_IFIFO,
            LinuxDeviceType::A | LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        };
        let node = Node {
            kind,
            device: makedev(device.major() as u64, device.minor() as u64),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        };
        node.make(root, device.path())?;
    }
    // Not every kernel has it.
    let core = Path::new("/proc/kcore")
        .exists()
        .then_some(("/dev/core", "/proc/kcore"));
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    for (path, to) in links.into_iter().chain(core) {
        let (directory, name) = root.parent(Path::new(path)).during("make link", path)?;
        match symlinkat(to, &directory, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).during("make link", path),
        }
    }
    Ok(())
}

struct Node {
    kind: SFlag,
    device: u64,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    fn make(&self, root: &RootDir, path: &Path) -> Result<(), Failure> {
        let (directory, name) = root.parent(path).during("make device", path)?;
        let mode = Mode::from_bits_truncate(self.mode);
        match mknodat(&directory, name, self.kind, mode, self.device) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(()),
            Err(errno) => return Err(errno).during("make device", path),
        }
        // mknod obeys the umask.
        fchmodat(&directory, name, mode, FchmodatFlags::FollowSymlink)
            .during("make device", path)?;
        let owner = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchownat(
            &directory,
            name,
            Some(owner.0),
            Some(owner.1),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .during("make device", path)
    }
}

/// Hides paths: directories under an empty one, files under `/dev/null`. Missing ones are left.
pub(super) fn mask(root: &RootDir, paths: &[String]) -> Result<(), Failure> {
    if paths.is_empty() {
        return Ok(());
    }
    let null = null_device(root)?;
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let path = Path::new(path);
        let target = match root.find(path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            found => found.during("mask", path)?,
        };
        if kind(&target).during("mask", path)? != SFlag::S_IFDIR {
            let clone = kernel::clone_mount(&null, Depth::This).during("mask", path)?;
            kernel::attach_mount(&clone, &target).during("mask", path)?;
            continue;
        }
        // One empty file system serves all of them.
        if let Some(empty) = &empty {
            let clone = kernel::clone_mount(empty, Depth::This).during("mask", path)?;
            kernel::attach_mount(&clone, &target).during("mask", path)?;
            continue;
        }
        let options = "size=0k,nr_inodes=2,mode=755";
        mount(
            Some("tmpfs"),
            proc_path(&target).as_str(),
            Some("tmpfs"),
            MsFlags::MS_RDONLY,
            Some(options),
        )
        .during("mask", path)?;
        empty = Some(root.find(path).during("mask", path)?);
    }
    Ok(())
}

/// The container's null device, or the host's where `/dev` is somebody else's and has none.
///
/// What was found is checked by its descriptor, because what is bound from it must hide
/// (CVE-2025-31133).
fn null_device(root: &RootDir) -> Result<OwnedFd, Failure> {
    let path = Path::new("/dev/null");
    let is_null = |fd: &OwnedFd| {
        fstat(fd).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
                && stat.st_rdev == makedev(1, 3)
        })
    };
    if let Some(own) = root.find(path).ok().filter(is_null) {
        return Ok(own);
    }
    let null = open_path(path)?;
    if is_null(&null) {
        return Ok(null);
    }
    Err(Failure::refused("use", path, "it is not the null device"))
}

/// Makes paths read-only. Missing ones are left.
pub(super) fn protect(root: &RootDir, paths: &[String]) -> Result<(), Failure> {
    const READ_ONLY: u64 = 1;
    for path in paths {
        let path = Path::new(path);
        let target = match root.find(path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            found => found.during("protect", path)?,
        };
        let clone = kernel::clone_mount(&target, Depth::Below).during("protect", path)?;
        let change = MountChange {
            set: READ_ONLY,
            depth: Depth::Below,
            ..MountChange::default()
        };
        kernel::change_mount(&clone, change).during("protect", path)?;
        kernel::attach_mount(&clone, &target).during("protect", path)?;
    }
    Ok(())
}

/// Opens a terminal of the container's own devpts and shows it as `/dev/console`.
///
/// Returns the engine's end and the container's.
pub(super) fn open_terminal(root: &RootDir) -> Result<(OwnedFd, OwnedFd), Failure> {
    let path = Path::new("/dev/pts/ptmx");
    let master = root
        .open(path, OFlag::O_RDWR | OFlag::O_NOCTTY)
        .during("open", path)?;
    let terminal = kernel::terminal_peer(&master).during("open terminal", path)?;
    let console = Path::new("/dev/console");
    let place = root.make_file(console).during("make", console)?;
    kernel::clone_mount(&terminal, Depth::This)
        .and_then(|clone| kernel::attach_mount(&clone, &place))
        .during("mount terminal on", console)?;
    Ok((master, terminal))
}

fn open_path(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during("open", path)
}

/// A name for what a descriptor stands for, for calls that take only paths.
fn proc_path(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}
