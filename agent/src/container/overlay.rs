//! The root file system: the image's layers, a layer that pins what mounts go on, and a writable one.
//!
//!     upper       what the container writes; kept as long as the container
//!     init layer  /dev, /proc, /sys, /etc/hosts, … as plain directories and files; shared, read-only
//!     layers      the image's
//!
//! Without the init layer, an image whose `/dev` is a symlink would decide where the engine makes
//! its device nodes. It is mounted inside the container's mount namespace: nothing is left on the
//! host, whatever is killed.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};

use super::failure::{During, Failure};

/// The directories of one container's root.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    /// Uppermost first, the init layer not among them.
    pub(super) layers: Vec<PathBuf>,
    pub(super) init_layer: PathBuf,
    pub(super) upper: PathBuf,
    pub(super) work: PathBuf,
    /// Where it is mounted (seen only in the container's mount namespace).
    pub(super) root: PathBuf,
}

impl Overlay {
    /// Mounts it, and returns its root directory.
    ///
    /// The mount options must fit in one page, which the paths of a hundred layers do not: the
    /// layers are opened, and named by their descriptors' numbers relative to `/proc/self/fd`.
    pub(super) fn mount(&self) -> Result<OwnedFd, Failure> {
        let home = open_directory(Path::new("."))?;
        let lower: Vec<OwnedFd> = std::iter::once(&self.init_layer)
            .chain(&self.layers)
            .map(|layer| open_directory(layer))
            .collect::<Result<_, _>>()?;
        let (upper, work) = (open_directory(&self.upper)?, open_directory(&self.work)?);
        let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},index=off",
            numbers.join(":"),
            upper.as_raw_fd(),
            work.as_raw_fd(),
        );
        chdir("/proc/self/fd").during("enter", "/proc/self/fd")?;
        let mounted = mount(
            Some("overlay"),
            &self.root,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        );
        fchdir(&home).during("leave", "/proc/self/fd")?;
        mounted.during("mount overlay on", &self.root)?;
        open_directory(&self.root)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).during("open", path)
}

/// Makes the init layer at `path`, unless it is there.
///
/// Source: moby `daemon/initlayer/setup_unix.go`.
pub(super) fn make_init_layer(path: &Path) -> io::Result<()> {
    const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
    const FILES: [&str; 5] = [
        "dev/console",
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
        ".dockerenv",
    ];
    if path.exists() {
        return Ok(());
    }
    // Made aside and renamed, so that a half-made one is never used.
    let making = path.with_extension("new");
    let _ = fs::remove_dir_all(&making);
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o755);
    builder.create(&making)?;
    for directory in DIRECTORIES {
        builder.create(making.join(directory))?;
        fs::set_permissions(making.join(directory), fs::Permissions::from_mode(0o755))?;
    }
    for file in FILES {
        fs::write(making.join(file), "")?;
        fs::set_permissions(making.join(file), fs::Permissions::from_mode(0o644))?;
    }
    symlink("/proc/mounts", making.join("etc/mtab"))?;
    fs::rename(&making, path)
}
