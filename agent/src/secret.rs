//! Secrets and configs as files in memory, ready to be bound into a container.
//!
//!     exec_root/secrets/<container>/      a tmpfs of its own, mode 0700, never swapped out
//!     exec_root/secrets/<container>/0     first file, with its owner and mode
//!
//! Nothing here ever touches a disk, and no message shows a content.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use scheduler::model::id::ContainerId;

/// One file to make.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    pub content: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, e.g. `0o400`.
    pub mode: u32,
}

/// Leaves the content out.
impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile")
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// The files of all containers.
pub struct Secrets {
    root: PathBuf,
}

impl Secrets {
    /// Keeps the files below `exec_root`, the node's directory for what is void after a reboot.
    pub fn new(exec_root: &Path) -> Self {
        Self {
            root: exec_root.join("secrets"),
        }
    }

    /// Writes the container's files to memory and gives their paths, in the same order.
    ///
    /// They are to be bound read-only at their targets. What an earlier call wrote is replaced.
    ///
    /// # Errors
    ///
    /// Nothing is left behind on error.
    pub async fn prepare(
        &self,
        container: &ContainerId,
        files: &[SecretFile],
    ) -> Result<Vec<PathBuf>, SecretError> {
        self.remove(container).await?;
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let directory = self.directory(container)?;
        let (work, files) = (directory.clone(), files.to_vec());
        let written = blocking(move || write_all(&work, &files)).await;
        if written.is_err() {
            let _ = self.remove(container).await;
        }
        written
    }

    /// Wipes the container's files; nothing happens when there are none.
    pub async fn remove(&self, container: &ContainerId) -> Result<(), SecretError> {
        let directory = self.directory(container)?;
        blocking(move || wipe(&directory)).await
    }

    /// Containers that have files here; those that do not exist any more are to be removed.
    pub fn containers(&self) -> Vec<ContainerId> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().map(ContainerId::new))
            .collect()
    }

    fn directory(&self, container: &ContainerId) -> Result<PathBuf, SecretError> {
        let id = container.as_str();
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(SecretError::InvalidContainer { id: id.to_owned() });
        }
        Ok(self.root.join(id))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, SecretError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(SecretError::Interrupted))
}

fn write_all(directory: &Path, files: &[SecretFile]) -> Result<Vec<PathBuf>, SecretError> {
    let failed = |action| {
        let path = directory.to_owned();
        move |source| SecretError::Io {
            action,
            path,
            source,
        }
    };
    fs::create_dir_all(directory).map_err(failed("create"))?;
    mount_memory(directory).map_err(failed("mount memory at"))?;
    let mut paths = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        let path = directory.join(number.to_string());
        write_one(&path, file).map_err(|source| SecretError::Io {
            action: "write",
            path: path.clone(),
            source,
        })?;
        paths.push(path);
    }
    Ok(paths)
}

fn mount_memory(directory: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mount = |options: &str| {
        mount(
            Some("secrets"),
            directory,
            Some("tmpfs"),
            flags,
            Some(options),
        )
    };
    // `noswap` came with Linux 6.4.
    match mount("mode=0700,noswap") {
        Err(Errno::EINVAL) => Ok(mount("mode=0700")?),
        result => Ok(result?),
    }
}

fn write_one(path: &Path, file: &SecretFile) -> io::Result<()> {
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    opened.write_all(&file.content)?;
    // Changing the owner clears some mode bits, so the mode comes last.
    fchown(&opened, Some(file.uid), Some(file.gid))?;
    opened.set_permissions(Permissions::from_mode(file.mode & 0o7777))
}

fn wipe(directory: &Path) -> Result<(), SecretError> {
    let failed = |action| {
        let path = directory.to_owned();
        move |source| SecretError::Io {
            action,
            path,
            source,
        }
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read")(error)),
    };
    for entry in entries.flatten() {
        overwrite(&entry.path()).map_err(failed("wipe"))?;
    }
    // More than one mount when a run ended between the two; bounded, as each goes on top.
    for _ in 0..16 {
        match umount2(directory, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(failed("unmount")(errno.into())),
        }
    }
    fs::remove_dir_all(directory).map_err(failed("remove"))
}

/// Whoever still has the file open sees nothing of it.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
    file.set_len(0)
}

/// Why files could not be put into memory.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("`{id}` is no container's identifier")]
    InvalidContainer { id: String },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the node is ending")]
    Interrupted,
}

#[cfg(test)]
mod tests;
