//! Makes the container's first process, and in it everything the program will find.
//!
//!     shim ── clone ──► cgroup · namespaces · overlay · mounts · devices · hooks · masks · pivot · limits
//!        ◄── Ready ────────────────────────────────────────────────────────────────────────── gate
//!        ─── go ─────► directory · seccomp · user · capabilities · execve
//!        ◄── end of connection: it runs (or Failed)
//!
//! The child is a copy of the single-threaded shim: nothing is parsed or passed on again, and what
//! goes wrong comes back as step, path and errno.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Pid, Uid, chdir, fchdir, fchown, pivot_root, sethostname, setsid};
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};

use super::cgroup::{Cgroup, Entry};
use super::confine::Confinement;
use super::failure::{During, Failure};
use super::kernel::{self, Forked, MountChange};
use super::overlay::Overlay;
use super::program::Program;
use super::protocol::{self, Progress};
use super::rootdir::RootDir;
use super::rootfs;
use super::{hook, init, sysctl};

/// The ends of the standard streams that the container gets.
pub(super) enum Streams {
    Pipes([OwnedFd; 3]),
    /// Rows and columns.
    Terminal(Option<(u16, u16)>),
}

/// A process on its way to become a program.
pub(super) struct Born {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// Where it tells its [`Progress`], and where the gate is opened.
    pub(super) progress: OwnedFd,
}

/// Everything that is known before the fork.
pub(super) struct Launch<'a> {
    pub(super) id: &'a str,
    /// Holds the configuration, and the root.
    pub(super) bundle: &'a Path,
    pub(super) spec: &'a Spec,
    pub(super) overlay: &'a Overlay,
    pub(super) cgroup: &'a Cgroup,
    pub(super) confinement: &'a Confinement,
    pub(super) program: &'a Program,
    pub(super) init: bool,
}

/// Which namespaces are new, and which are joined.
struct Namespaces {
    clone: CloneFlags,
    cgroup: bool,
    join: Vec<(OwnedFd, CloneFlags)>,
    /// Joined by the parent, for its next child.
    pid: Option<OwnedFd>,
}

/// Reads the program out of a configuration.
pub(super) fn program_of(process: &Process) -> Program {
    Program {
        args: process.args().clone().unwrap_or_default(),
        env: process.env().clone().unwrap_or_default(),
        cwd: process.cwd().display().to_string(),
    }
}

impl Launch<'_> {
    pub(super) fn fork(&self, streams: &Streams) -> Result<Born, Failure> {
        let namespaces = Namespaces::read(self.spec)?;
        let entry = self.cgroup.entry()?;
        let (ours, theirs) = progress_pair()?;
        let forked = fork_in_pid_namespace(
            namespaces.clone.bits() as u64,
            &entry,
            namespaces.pid.as_ref(),
        )?;
        match forked {
            Forked::Parent { pid, pidfd } => Ok(Born {
                pid,
                pidfd,
                progress: ours,
            }),
            Forked::Child => {
                drop(ours);
                become_or_tell(&theirs, || {
                    self.child(&namespaces, &entry, streams, &theirs)
                })
            }
        }
    }

    /// The new process. Returns only failures.
    fn child(
        &self,
        namespaces: &Namespaces,
        entry: &Entry,
        streams: &Streams,
        progress: &OwnedFd,
    ) -> Result<(), Failure> {
        reset_signals()?;
        entry.enter().during("enter cgroup", "")?;
        namespaces.enter()?;
        setsid().during("make a session", "")?;
        leave_keyring()?;
        let mut warnings = self.confinement.limit()?;
        let root = self.build_root(namespaces)?;
        hook::create_container(self.spec, self.id, self.bundle)?;
        let terminal = self.connect(streams, &root, progress)?;
        warnings.extend(self.finish_root(&root)?);
        drop(root);
        wait_at_gate(progress, warnings)?;
        if let Some(terminal) = terminal {
            kernel::set_controlling_terminal(&terminal).during("take the terminal", "")?;
        }
        become_program(self.confinement, self.program, self.init)
    }

    fn build_root(&self, namespaces: &Namespaces) -> Result<RootDir, Failure> {
        let linux = self.spec.linux().as_ref();
        let propagation =
            rootfs::root_propagation(linux.and_then(|linux| linux.rootfs_propagation().as_deref()));
        set_propagation(propagation, &self.overlay.root)?;
        if namespaces.clone.contains(CloneFlags::CLONE_NEWUTS) {
            self.name_host()?;
        }
        let root = RootDir::new(self.overlay.mount()?);
        let mounts = self.spec.mounts().as_deref().unwrap_or_default();
        rootfs::mount_all(&root, mounts, self.cgroup.views().as_ref())?;
        let devices = linux.and_then(|linux| linux.devices().as_deref());
        rootfs::make_devices(&root, devices.unwrap_or_default(), mounts)?;
        Ok(root)
    }

    fn name_host(&self) -> Result<(), Failure> {
        if let Some(name) = self.spec.hostname() {
            sethostname(name).during("set host name", name)?;
        }
        if let Some(name) = self.spec.domainname() {
            kernel::set_domain_name(name).during("set domain name", name)?;
        }
        Ok(())
    }

    /// Puts the standard streams in place; returns the terminal to be controlled by, if any.
    fn connect(
        &self,
        streams: &Streams,
        root: &RootDir,
        progress: &OwnedFd,
    ) -> Result<Option<OwnedFd>, Failure> {
        match streams {
            Streams::Pipes(pipes) => {
                place_streams([&pipes[0], &pipes[1], &pipes[2]], self.confinement)?;
                Ok(None)
            }
            Streams::Terminal(size) => {
                let (master, terminal) = rootfs::open_terminal(root)?;
                hand_over_terminal(&master, *size, progress)?;
                place_streams([&terminal; 3], self.confinement)?;
                Ok(Some(terminal))
            }
        }
    }

    /// The last steps, after which nothing of the host can be reached.
    fn finish_root(&self, root: &RootDir) -> Result<Vec<String>, Failure> {
        let linux = self.spec.linux().as_ref();
        if let Some(wanted) = linux.and_then(|linux| linux.sysctl().as_ref()) {
            sysctl::set_all(wanted, self.spec)?;
        }
        let directory = Path::new(&self.program.cwd);
        root.make_directory(directory, Mode::from_bits_truncate(0o755))
            .map_err(|errno| working_directory_failure(directory, errno))?;
        if let Some(linux) = linux {
            rootfs::mask(root, linux.masked_paths().as_deref().unwrap_or_default())?;
            rootfs::protect(root, linux.readonly_paths().as_deref().unwrap_or_default())?;
        }
        let read_only = self.spec.root().as_ref().and_then(|root| root.readonly());
        if read_only == Some(true) {
            let change = MountChange {
                set: 1,
                ..MountChange::default()
            };
            kernel::change_mount(root, change).during("make read-only", "/")?;
        }
        switch_root(root)?;
        Ok(Vec::new())
    }
}

fn working_directory_failure(directory: &Path, errno: Errno) -> Failure {
    Failure {
        step: super::failure::Step::WorkingDirectory,
        path: directory.display().to_string(),
        errno: errno as i32,
        reason: None,
    }
}

impl Namespaces {
    fn read(spec: &Spec) -> Result<Self, Failure> {
        let listed = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        let mut namespaces = Self {
            clone: CloneFlags::empty(),
            cgroup: false,
            join: Vec::new(),
            pid: None,
        };
        for namespace in listed.into_iter().flatten() {
            let flag = match namespace.typ() {
                LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
                LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
                LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
                LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
                LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
                LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
                other @ (LinuxNamespaceType::User | LinuxNamespaceType::Time) => {
                    let reason = format!("{other} namespaces are not supported");
                    return Err(Failure::refused("create container", "", reason));
                }
            };
            match namespace.path() {
                // Its root must be the container's cgroup, which the process has yet to enter.
                None if flag == CloneFlags::CLONE_NEWCGROUP => namespaces.cgroup = true,
                None => namespaces.clone |= flag,
                Some(path) => {
                    let opened = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                        .during("join namespace", path)?;
                    if flag == CloneFlags::CLONE_NEWPID {
                        namespaces.pid = Some(opened);
                    } else {
                        namespaces.join.push((opened, flag));
                    }
                }
            }
        }
        if namespaces.clone.contains(CloneFlags::CLONE_NEWNS) {
            return Ok(namespaces);
        }
        let reason = "it needs a mount namespace of its own";
        Err(Failure::refused("create container", "", reason))
    }

    fn enter(&self) -> Result<(), Failure> {
        if self.cgroup {
            unshare(CloneFlags::CLONE_NEWCGROUP).during("make cgroup namespace", "")?;
        }
        for (namespace, flag) in &self.join {
            setns(namespace, *flag).during("join namespace", "")?;
        }
        Ok(())
    }
}

/// Two ends that keep messages apart and are closed by execve.
pub(super) fn progress_pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .during("make socket", "")
}

/// Forks; the child's pid namespace is `pid` when one is given.
///
/// Joining a pid namespace only concerns later children, so the shim takes it back at once.
pub(super) fn fork_in_pid_namespace(
    flags: u64,
    entry: &Entry,
    pid: Option<&OwnedFd>,
) -> Result<Forked, Failure> {
    let birthplace = entry.birthplace().map(AsFd::as_fd);
    let Some(joined) = pid else {
        return kernel::fork_into(flags, birthplace).during("make namespaces", "");
    };
    let path = "/proc/self/ns/pid";
    let own = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during("open", path)?;
    setns(joined, CloneFlags::CLONE_NEWPID).during("join pid namespace", "")?;
    let forked = kernel::fork_into(flags, birthplace).during("make namespaces", "");
    if !matches!(forked, Ok(Forked::Child)) {
        setns(&own, CloneFlags::CLONE_NEWPID).during("return to pid namespace", path)?;
    }
    forked
}

/// Runs a child's work; whatever it returns or panics with is told, and the process ends.
pub(super) fn become_or_tell(progress: &OwnedFd, work: impl FnOnce() -> Result<(), Failure>) -> ! {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => kernel::leave(0),
        Ok(Err(failure)) => failure,
        Err(_) => Failure::refused("set up the container", "", "the engine panicked"),
    };
    let code = failure.exit_code();
    if let Ok(bytes) = protocol::encode(&Progress::Failed(failure)) {
        let _ = protocol::send(progress, &bytes, &[], MsgFlags::empty());
    }
    kernel::leave(code)
}

/// The shim blocks SIGCHLD, and the Rust runtime ignores SIGPIPE: programs expect neither.
pub(super) fn reset_signals() -> Result<(), Failure> {
    kernel::default_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).during("unblock signals", "")
}

/// Takes the keys of whoever started the engine out of reach: keyrings belong to no namespace.
///
/// The new ring's name says nothing, so that no other container can join it.
pub(super) fn leave_keyring() -> Result<(), Failure> {
    match kernel::new_keyring() {
        // The kernel has no keys, or a filter around the engine forbids them to all that is in it.
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno).during("make a keyring", ""),
    }
}

/// Sends the engine's end of a terminal to the shim.
pub(super) fn hand_over_terminal(
    master: &OwnedFd,
    size: Option<(u16, u16)>,
    progress: &OwnedFd,
) -> Result<(), Failure> {
    if let Some((rows, columns)) = size {
        kernel::set_terminal_size(master, rows, columns).during("size the terminal", "")?;
    }
    let message = protocol::encode(&Progress::Terminal).during("send terminal", "")?;
    protocol::send(progress, &message, &[master.as_fd()], MsgFlags::empty())
        .during("send terminal", "")
}

/// Makes these the standard streams, and the user their owner, so that it may open `/dev/stdout`.
pub(super) fn place_streams(
    streams: [&OwnedFd; 3],
    confinement: &Confinement,
) -> Result<(), Failure> {
    let (uid, gid) = (
        Uid::from_raw(confinement.uid),
        Gid::from_raw(confinement.gid),
    );
    for (number, stream) in (0..).zip(streams) {
        kernel::move_to(stream, number).during("place stream", "")?;
        let null = nix::sys::stat::fstat(stream)
            .is_ok_and(|stat| stat.st_rdev == nix::sys::stat::makedev(1, 3));
        if !null && confinement.uid != 0 {
            // A file of the host on a read-only mount may refuse: then it stays as it is.
            let _ = fchown(stream, Some(uid), Some(gid));
        }
    }
    Ok(())
}

fn wait_at_gate(progress: &OwnedFd, warnings: Vec<String>) -> Result<(), Failure> {
    let ready = protocol::encode(&Progress::Ready { warnings }).during("report", "")?;
    protocol::send(progress, &ready, &[], MsgFlags::empty()).during("report", "")?;
    let mut go = [0; 1];
    match nix::unistd::read(progress, &mut go).during("wait at the gate", "")? {
        // The shim is gone: nobody would ever learn what becomes of this.
        0 => kernel::leave(125),
        _ => Ok(()),
    }
}

/// The last steps of every program, first process or exec.
pub(super) fn become_program(
    confinement: &Confinement,
    program: &Program,
    init: bool,
) -> Result<(), Failure> {
    // As root, and where root may not (a user's file system over the network), as the user.
    let entered = program.enter_directory();
    confinement.apply()?;
    if entered.is_err() {
        program.enter_directory()?;
    }
    let path = program.find()?;
    Err(if init {
        init::run(program, &path)
    } else {
        program.execute(&path)
    })
}

/// Sets how mounts spread between the container and the host.
fn set_propagation(flags: MsFlags, root: &Path) -> Result<(), Failure> {
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during("set propagation of", "/")?;
    if !flags.contains(MsFlags::MS_SHARED) {
        return Ok(());
    }
    // Or the overlay itself would appear on the host: the mount it lies on must be private.
    for ancestor in root.ancestors().skip(1) {
        let private = MsFlags::MS_PRIVATE;
        match mount(None::<&str>, ancestor, None::<&str>, private, None::<&str>) {
            Ok(()) => return Ok(()),
            // Not a mount point.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno).during("set propagation of", ancestor),
        }
    }
    Ok(())
}

/// Makes the container's root the only one there is.
fn switch_root(root: &RootDir) -> Result<(), Failure> {
    fchdir(root).during("enter", "the new root")?;
    // The old root is stacked on the new one and taken off: pivot_root(2), "pivot_root(".", ".")".
    pivot_root(".", ".").during("switch root", "")?;
    umount2(".", MntFlags::MNT_DETACH).during("leave the old root", "")?;
    chdir("/").during("enter", "/")
}
