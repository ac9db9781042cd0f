//! Makes a shim, and has it make the container.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use oci_spec::runtime::Spec;
use scheduler::model::id::{ContainerId, TaskId};
use tokio::process::{Child, Command};

use super::{Containers, INIT_LAYER, blocking, doing, make_directory};
use crate::container::cgroup::Cgroup;
use crate::container::link::Link;
use crate::container::process::boot_id;
use crate::container::protocol::{CreateRequest, Reply, Request};
use crate::container::record::{self, Durability, RunRecord};
use crate::container::{ContainerError, Created, shim};

impl Containers {
    /// Makes the namespaces and the process that waits in them, for a new run.
    ///
    /// Returns as soon as the network namespace exists; the file system is built meanwhile, and
    /// what goes wrong there is told by [`Self::start`].
    ///
    /// # Errors
    ///
    /// When it fails there was no run: nobody hears of an end.
    pub async fn create(
        self: &Arc<Self>,
        id: &ContainerId,
        task: &TaskId,
    ) -> Result<Created, ContainerError> {
        if !self.creating().insert(id.clone()) {
            return Err(ContainerError::AlreadyRunning { id: id.clone() });
        }
        let created = self.create_alone(id, task).await;
        self.creating().remove(id);
        created
    }

    async fn create_alone(
        self: &Arc<Self>,
        id: &ContainerId,
        task: &TaskId,
    ) -> Result<Created, ContainerError> {
        let (this, owned_id, owned_task) = (self.clone(), id.clone(), task.clone());
        let (link, mut child, request) =
            blocking(move || this.spawn_shim(&owned_id, &owned_task)).await?;
        let answer = link.ask(&Request::Create(Box::new(request))).await;
        match answer {
            Ok(Reply::Created { pid }) => {
                self.clone()
                    .watch(id.clone(), task.clone(), Some(link), Some(child));
                Ok(Created { pid })
            }
            Ok(Reply::Failed(failure)) => {
                self.forget_run(id);
                let _ = child.wait().await;
                Err(failure.into())
            }
            other => {
                let _ = child.kill().await;
                self.forget_run(id);
                Err(ContainerError::Shim {
                    id: id.clone(),
                    reason: match other {
                        Ok(reply) => format!("unexpected answer {reply:?}"),
                        Err(error) => error.to_string(),
                    },
                })
            }
        }
    }

    /// Writes down that there will be a run, and starts its shim.
    fn spawn_shim(
        &self,
        id: &ContainerId,
        task: &TaskId,
    ) -> Result<(Link, Child, CreateRequest), ContainerError> {
        let directory = self.directory(id);
        let exec_directory = self.exec_directory(id);
        let spec: Spec = record::read(&directory, record::CONFIG)
            .ok_or_else(|| ContainerError::Unknown { id: id.clone() })?;
        if self.living(id).is_some() {
            return Err(ContainerError::AlreadyRunning { id: id.clone() });
        }
        for name in ["upper", "work", "rootfs"] {
            make_directory(&directory.join(name))?;
        }
        // Its mode is that of the container's root, whatever this process's umask is.
        let upper = directory.join("upper");
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))
            .map_err(doing("change the mode of", &upper))?;
        make_directory(&exec_directory)?;
        let cgroup = shim::cgroup_of(&spec, id.as_str());
        // What an earlier run may have left, because its shim was killed.
        Cgroup::at(&cgroup)?.remove()?;
        record::delete(&directory, record::EXIT).map_err(doing("delete", &directory))?;
        let run = RunRecord {
            task: task.clone(),
            cgroup,
            boot: boot_id().to_owned(),
        };
        record::write(&directory, record::RUN, &run, Durability::Atomic)
            .map_err(doing("write", &directory.join(record::RUN)))?;
        let request = CreateRequest {
            id: id.clone(),
            task: task.clone(),
            directory,
            exec_directory,
            init_layer: self.root.join(INIT_LAYER),
        };
        let (link, child) = self.spawn(id).map_err(|error| ContainerError::Shim {
            id: id.clone(),
            reason: error.to_string(),
        })?;
        Ok((link, child, request))
    }

    fn spawn(&self, id: &ContainerId) -> io::Result<(Link, Child)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let child = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()))
            .arg0(shim::NAME)
            .arg(id.short())
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok((Link::new(ours)?, child))
    }

    fn forget_run(&self, id: &ContainerId) {
        let directory = self.directory(id);
        if let Some(run) = record::read::<RunRecord>(&directory, record::RUN)
            && let Ok(cgroup) = Cgroup::at(&run.cgroup)
        {
            let _ = cgroup.remove();
        }
        let _ = record::delete(&directory, record::RUN);
        let _ = fs::remove_dir_all(self.exec_directory(id));
    }
}
