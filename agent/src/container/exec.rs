//! Puts another program into a running container, confined like its first process.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::{Pid, setsid};

use super::ExecRequest;
use super::cgroup::Cgroup;
use super::confine::Confinement;
use super::failure::{During, Failure};
use super::kernel::{self, Forked};
use super::program::Program;
use super::rootdir::RootDir;
use super::runtime::{self, Born, Streams};
use super::user::{self, UserFiles};

// Account files that are larger are not read: they are the image's, and may be anything.
const MAX_ACCOUNT_FILE: u64 = 4 * 1024 * 1024;

/// What all programs of a container share.
pub(super) struct Inhabited<'a> {
    /// The container's first process, as the host numbers it, and by descriptor.
    pub(super) init: Pid,
    pub(super) pidfd: &'a OwnedFd,
    pub(super) cgroup: &'a Cgroup,
    pub(super) confinement: &'a Confinement,
    /// The container's own program, for its environment and directory.
    pub(super) program: &'a Program,
}

impl Inhabited<'_> {
    /// Starts a program. It runs as soon as its [`Born::progress`] ends without a message.
    pub(super) fn fork(&self, request: &ExecRequest, streams: &Streams) -> Result<Born, Failure> {
        let entry = self.cgroup.entry_beside(self.init)?;
        let (ours, theirs) = runtime::progress_pair()?;
        match runtime::fork_in_pid_namespace(0, &entry, Some(self.pidfd))? {
            Forked::Parent { pid, pidfd } => Ok(Born {
                pid,
                pidfd,
                progress: ours,
            }),
            Forked::Child => {
                drop(ours);
                runtime::become_or_tell(&theirs, || {
                    runtime::reset_signals()?;
                    entry.enter().during("enter cgroup", "")?;
                    self.child(request, streams, &theirs)
                })
            }
        }
    }

    fn child(
        &self,
        request: &ExecRequest,
        streams: &Streams,
        progress: &OwnedFd,
    ) -> Result<(), Failure> {
        let mut confinement = if request.privileged {
            self.confinement.lifted()
        } else {
            self.confinement.clone()
        };
        // Reads the host's /proc, so before that is out of sight. What it warns of was said when
        // the container was created.
        confinement.limit()?;
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        kernel::join_namespaces(self.pidfd, all.bits()).during("join the container", "")?;
        setsid().during("make a session", "")?;
        runtime::leave_keyring()?;
        let root = RootDir::open_host(Path::new("/")).during("open", "/")?;
        let program = self.program(request, &root, &mut confinement)?;
        match streams {
            Streams::Pipes(pipes) => {
                runtime::place_streams([&pipes[0], &pipes[1], &pipes[2]], &confinement)?;
            }
            Streams::Terminal(size) => {
                let ptmx = Path::new("/dev/pts/ptmx");
                let master = root
                    .open(ptmx, OFlag::O_RDWR | OFlag::O_NOCTTY)
                    .during("open", ptmx)?;
                let terminal = kernel::terminal_peer(&master).during("open terminal", ptmx)?;
                runtime::hand_over_terminal(&master, *size, progress)?;
                runtime::place_streams([&terminal; 3], &confinement)?;
                kernel::set_controlling_terminal(&terminal).during("take the terminal", "")?;
            }
        }
        drop(root);
        runtime::become_program(&confinement, &program, false)
    }

    /// The program asked for, in the container's surroundings; sets who it runs as.
    fn program(
        &self,
        request: &ExecRequest,
        root: &RootDir,
        confinement: &mut Confinement,
    ) -> Result<Program, Failure> {
        let mut env = self.program.env.clone();
        if request.tty {
            set_default(&mut env, "TERM", "xterm");
        }
        if let Some(name) = &request.user {
            let files = UserFiles {
                passwd: read_account_file(root, Path::new("/etc/passwd")),
                group: read_account_file(root, Path::new("/etc/group")),
            };
            let user = user::resolve(name, &[], &files)
                .map_err(|error| Failure::refused("use user", name, error.to_string()))?;
            set(&mut env, &format!("HOME={}", user.home));
            (confinement.uid, confinement.gid) = (user.uid, user.gid);
            confinement.groups = user.memberships();
        }
        for entry in &request.env {
            set(&mut env, entry);
        }
        Ok(Program {
            args: request.args.clone(),
            env,
            cwd: request
                .working_dir
                .clone()
                .unwrap_or_else(|| self.program.cwd.clone()),
        })
    }
}

/// Empty when there is none, or when it is no ordinary file.
fn read_account_file(root: &RootDir, path: &Path) -> Vec<u8> {
    // A fifo would keep us waiting.
    let Ok(fd) = root.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) else {
        return Vec::new();
    };
    let file = File::from(fd);
    let mut bytes = Vec::new();
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {
            let _ = file.take(MAX_ACCOUNT_FILE).read_to_end(&mut bytes);
            bytes
        }
        _ => bytes,
    }
}

/// Sets `KEY=VALUE`, in place of an earlier one.
fn set(env: &mut Vec<String>, entry: &str) {
    let key = entry.split('=').next().unwrap_or(entry);
    env.retain(|old| old.split('=').next() != Some(key));
    if entry.contains('=') {
        env.push(entry.to_owned());
    }
}

fn set_default(env: &mut Vec<String>, key: &str, value: &str) {
    if !env.iter().any(|old| old.split('=').next() == Some(key)) {
        env.push(format!("{key}={value}"));
    }
}
