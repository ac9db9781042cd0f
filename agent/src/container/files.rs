//! A container's files, as its programs see them, for those outside: `cp` and `export`.
//!
//!     runs     /proc/PID/root of process 1: its mount namespace, volumes and all
//!     stopped  the overlay and its bind mounts, mounted in a namespace that ends with the thread
//!
//! Whoever is in the container may swap every name for a symlink while we look (CVE-2018-15664),
//! so nothing is ever joined to a path of the host: each name is resolved by the kernel below the
//! root's descriptor, and no program or library of the container is run or loaded
//! (CVE-2019-14271). One whose process waits at the gate has no root of its own yet: its files
//! are taken as those of a stopped one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat, stat};
use oci_spec::runtime::{Mount, Spec};
use scheduler::model::id::ContainerId;

use super::driver::{Containers, INIT_LAYER, doing, make_directory};
use super::failure::{During, Failure};
use super::overlay::Overlay;
use super::record::{self, BundleRecord, StateRecord};
use super::rootdir::RootDir;
use super::{ContainerError, rootfs};

/// The root directory of a container, and how names below it are found.
pub(crate) struct Root {
    directory: RootDir,
    /// The image and what was written to it may not be changed; volumes may.
    read_only: bool,
}

impl Root {
    /// Opens what is there, following symlinks inside the root. Without `O_PATH` a device or a
    /// FIFO would be opened too: find out first.
    pub(crate) fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.directory.open(path, flags)
    }

    /// Finds a directory, and makes it and those above it where they are missing.
    pub(crate) fn make_directory(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.directory
            .make_directory(path, Mode::from_bits_truncate(0o755))
    }

    /// The path of something in the container that was opened; `None` when it has none any more.
    pub(crate) fn path_of(&self, found: &OwnedFd) -> Option<PathBuf> {
        let link = |fd: i32| nix::fcntl::readlink(format!("/proc/self/fd/{fd}").as_str()).ok();
        let root = self.open(Path::new("/"), OFlag::O_PATH).ok()?;
        let (root, path) = (link(root.as_raw_fd())?, link(found.as_raw_fd())?);
        let below = Path::new(&path).strip_prefix(&root).ok()?.to_owned();
        Some(Path::new("/").join(below))
    }

    /// Refuses (`EROFS`) a directory of a root file system that was wanted read-only.
    pub(crate) fn check_writable(&self, directory: &OwnedFd) -> nix::Result<()> {
        let root = self.open(Path::new("/"), OFlag::O_PATH)?;
        match self.read_only && fstat(&root)?.st_dev == fstat(directory)?.st_dev {
            true => Err(Errno::EROFS),
            false => Ok(()),
        }
    }
}

impl Containers {
    /// Does something with a container's files, in a thread of its own.
    pub(crate) async fn with_root<T: Send + 'static>(
        self: &Arc<Self>,
        id: &ContainerId,
        work: impl FnOnce(&Root) -> T + Send + 'static,
    ) -> Result<T, ContainerError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (this, owned) = (self.clone(), id.clone());
        let done = move || {
            let result = this.root(&owned).map(|root| work(&root));
            // Nobody waits any more when the client has left.
            let _ = sender.send(result);
        };
        // Its mount namespace is its own, so it cannot be one of the runtime's threads.
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(done)
            .map_err(doing("start a thread for", &self.directory(id)))?;
        receiver.await.unwrap_or_else(|_| {
            let failure = Failure::refused("reach the files of", id.as_str(), "it broke off");
            Err(failure.into())
        })
    }

    fn root(&self, id: &ContainerId) -> Result<Root, ContainerError> {
        let directory = self.directory(id);
        let spec: Spec = record::read(&directory, record::CONFIG)
            .ok_or_else(|| ContainerError::Unknown { id: id.clone() })?;
        let read_only = spec
            .root()
            .as_ref()
            .is_some_and(|root| root.readonly() == Some(true));
        let running = self.living(id).filter(|state| state.started_at.is_some());
        let root = match running.and_then(|state| root_of(&state)) {
            Some(root) => root,
            None => self.mounted(id, &directory, &spec)?,
        };
        Ok(Root {
            directory: RootDir::new(root),
            read_only,
        })
    }

    /// Mounts a stopped container's file system, in this thread's own mount namespace.
    fn mounted(
        &self,
        id: &ContainerId,
        directory: &Path,
        spec: &Spec,
    ) -> Result<OwnedFd, ContainerError> {
        let bundle: BundleRecord = record::read(directory, record::BUNDLE)
            .ok_or_else(|| ContainerError::Unknown { id: id.clone() })?;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
            .during("leave", "the host's mounts")?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SLAVE,
            None::<&str>,
        )
        .during("keep apart", "the host's mounts")?;
        for name in ["upper", "work", "rootfs"] {
            make_directory(&directory.join(name))?;
        }
        let overlay = Overlay {
            layers: bundle.layers,
            init_layer: self.root_path().join(INIT_LAYER),
            upper: directory.join("upper"),
            work: directory.join("work"),
            root: directory.join("rootfs"),
        };
        let root = RootDir::new(overlay.mount()?);
        for mount in binds(spec) {
            if let Err(failure) = rootfs::mount_all(&root, std::slice::from_ref(mount), None) {
                // A source may have gone with the run that had it.
                tracing::debug!(?failure, "a mount of a stopped container is left out");
            }
        }
        Ok(root
            .open(Path::new("/"), OFlag::O_PATH | OFlag::O_DIRECTORY)
            .during("open", "/")?)
    }
}

fn binds(spec: &Spec) -> impl Iterator<Item = &Mount> {
    let is_bind = |it: &&Mount| {
        let mut options = it.options().iter().flatten();
        it.typ().as_deref() == Some("bind")
            || options.any(|it| matches!(it.as_str(), "bind" | "rbind"))
    };
    spec.mounts().iter().flatten().filter(is_bind)
}

/// The root of a container's process 1; `None` when it has just ended.
fn root_of(state: &StateRecord) -> Option<OwnedFd> {
    let process = state.process.open()?;
    let path = format!("/proc/{}/root", state.process.pid);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(path.as_str(), flags, Mode::empty()).ok()?;
    // The pid was still that process's after the path was used.
    super::kernel::pidfd_signal(&process, 0).ok()?;
    // It has been given a root of its own long ago; if not, this is the host's.
    let (own, host) = (fstat(&root).ok()?, stat("/").ok()?);
    ((own.st_dev, own.st_ino) != (host.st_dev, host.st_ino)).then_some(root)
}
