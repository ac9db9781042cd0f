//! The process that stays with one container: it owns its streams, its exit code and its pid.
//!
//!     agent ── sealed copy of our program ──► shim ── clone ──► container
//!       ▲                                      │ epilogue: exit.json, cgroup removed
//!       └──── socket, found again by a new agent ┘
//!
//! It has one thread, its own session, no environment, and nothing open that it did not open
//! itself. It outlives the agent, and leaves when its container has ended. `loop` below is all it
//! does: wait for signals, for the container's output, and for what agents ask.
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup, pipe2, setsid};
use oci_spec::runtime::Spec;

use super::Stdin;
use super::cgroup::Cgroup;
use super::confine::Confinement;
use super::failure::{During, Failure};
use super::kernel::{self, Close};
use super::overlay::Overlay;
use super::process::ProcessId;
use super::program::Program;
use super::protocol::{self, CreateRequest, Reply, Request};
use super::record::{self, BundleRecord, Durability, StateRecord};
use super::runtime::{self, Born, Launch, Streams};

mod client;
mod server;
mod streams;

use server::Server;
use streams::Output;

/// What the shim is called, so that the same program knows what it is to be.
pub(super) const NAME: &str = "wharfie-shim";

/// Whether this process was started to be a shim.
pub fn is_shim() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// Is the shim until the container has ended.
pub fn run() -> ExitCode {
    match prepare().and_then(|(socket, request)| serve(socket, request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Takes leave of whatever the agent was, and reads what is to be done.
fn prepare() -> Result<(OwnedFd, CreateRequest), Failure> {
    // The agent's end came as standard input, because only the first three descriptors survive.
    let control = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .during("keep socket", "")?;
    let control = above_standard(control)?;
    close_others(&control)?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .during("open", "/dev/null")?;
    for number in 0..3 {
        kernel::move_to(&null, number).during("place stream", "")?;
    }
    // A leader of a session cannot be stopped by a terminal. It fails for one who is already.
    let _ = setsid();
    umask(Mode::from_bits_truncate(0o022));
    chdir("/").during("enter", "/")?;
    // Before it becomes the program, the container's first process is a copy of this one, and
    // must not be open to others in a pid namespace it has joined.
    kernel::prctl(libc::PR_SET_DUMPABLE, 0, 0).during("hide", "")?;
    // What an exec leaves behind in the host's pid namespace comes to us.
    kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).during("adopt orphans", "")?;
    let packet = protocol::receive(&control, MsgFlags::empty())
        .during("read request", "")?
        .ok_or_else(|| Failure::refused("read request", "", "the agent has left"))?;
    match packet.parse().during("read request", "")? {
        Request::Create(request) => Ok((control, *request)),
        _ => Err(Failure::refused(
            "read request",
            "",
            "not a request to create",
        )),
    }
}

fn above_standard(fd: OwnedFd) -> Result<OwnedFd, Failure> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    dup(&fd).during("keep socket", "").and_then(above_standard)
}

/// Closes what was inherited. `LISTEN_FDS` and the like promise nothing here.
fn close_others(keep: &OwnedFd) -> Result<(), Failure> {
    for number in 3..keep.as_raw_fd() {
        let _ = nix::unistd::close(number);
    }
    kernel::close_range(keep.as_raw_fd() + 1, Close::Now).during("close descriptors", "")
}

/// Creates the container and stays with it. A failure to create is told to the agent.
fn serve(control: OwnedFd, request: CreateRequest) -> Result<(), Failure> {
    let created = create(&request);
    let reply = match &created {
        Ok(container) => Reply::Created {
            pid: container.process.pid,
        },
        Err(failure) => Reply::Failed(failure.clone()),
    };
    let message = protocol::encode(&reply).during("answer", "")?;
    protocol::widen(&control);
    // If the agent has gone meanwhile, the next one will find us by our socket.
    let _ = protocol::send(&control, &message, &[], MsgFlags::empty());
    let container = created?;
    Server::new(container, request, control)?.run();
    Ok(())
}

/// A container that is being made or runs, as the shim knows it.
struct Container {
    born: Born,
    process: ProcessId,
    cgroup: Cgroup,
    confinement: Confinement,
    program: Program,
    state: StateRecord,
    output: Output,
    listener: OwnedFd,
    signals: SignalFd,
}

/// Goes from the bundle to a process in its namespaces. What was made is taken back if it fails.
fn create(request: &CreateRequest) -> Result<Container, Failure> {
    let directory = &request.directory;
    let path = directory.join(record::CONFIG);
    let missing = |what| Failure::refused("read", directory.join(what), "missing or damaged");
    let spec: Spec =
        record::read(directory, record::CONFIG).ok_or_else(|| missing(record::CONFIG))?;
    let bundle: BundleRecord =
        record::read(directory, record::BUNDLE).ok_or_else(|| missing(record::BUNDLE))?;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Failure::refused("read", &path, "it has no process"))?;
    let profile = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let confinement = Confinement::read(process, profile)?;
    let program = runtime::program_of(process);
    let terminal = process.terminal() == Some(true);
    let size = process
        .console_size()
        .map(|size| (size.height() as u16, size.width() as u16));

    let cgroup = Cgroup::at(&cgroup_path(&spec, request))?;
    let signals = child_signals()?;
    let listener = listen_at(&request.exec_directory)?;
    let (streams, output) = open_streams(directory, &bundle, terminal, size)?;
    let resources = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    let overlay = Overlay {
        layers: bundle.layers.clone(),
        init_layer: request.init_layer.clone(),
        upper: directory.join("upper"),
        work: directory.join("work"),
        root: directory.join("rootfs"),
    };
    let launched = cgroup.create(resources).and_then(|warnings| {
        let launch = Launch {
            id: request.id.as_str(),
            bundle: directory,
            spec: &spec,
            overlay: &overlay,
            cgroup: &cgroup,
            confinement: &confinement,
            program: &program,
            init: bundle.init,
        };
        launch.fork(&streams).map(|born| (warnings, born))
    });
    let (warnings, born) = match launched {
        Ok(launched) => launched,
        Err(failure) => {
            let _ = cgroup.remove();
            return Err(failure);
        }
    };
    let gone = |_| Failure::refused("create container", "", "its process is gone");
    let process = ProcessId::of(born.pid).ok_or(()).map_err(gone)?;
    let shim = ProcessId::of(nix::unistd::getpid())
        .ok_or(())
        .map_err(gone)?;
    let state = StateRecord {
        task: request.task.clone(),
        shim,
        process: process.clone(),
        started_at: None,
        warnings,
    };
    record::write(
        &request.exec_directory,
        record::STATE,
        &state,
        Durability::Atomic,
    )
    .during("write", request.exec_directory.join(record::STATE))?;
    Ok(Container {
        born,
        process,
        cgroup,
        confinement,
        program,
        state,
        output,
        listener,
        signals,
    })
}

/// Where the container's cgroup is: where its configuration says, or `/wharfie/ID`.
fn cgroup_path(spec: &Spec, request: &CreateRequest) -> std::path::PathBuf {
    cgroup_of(spec, request.id.as_str())
}

pub(super) fn cgroup_of(spec: &Spec, id: &str) -> std::path::PathBuf {
    spec.linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().clone())
        .unwrap_or_else(|| Path::new("/wharfie").join(id))
}

fn child_signals() -> Result<SignalFd, Failure> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).during("block signals", "")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .during("watch signals", "")
}

fn listen_at(directory: &Path) -> Result<OwnedFd, Failure> {
    let path = directory.join(record::SOCKET);
    record::delete(directory, record::SOCKET).during("replace", &path)?;
    let listener = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )
    .during("make socket", &path)?;
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixAddr::new(&path).and_then(|address| bind(listener.as_raw_fd(), &address));
    umask(before);
    bound.during("bind socket", &path)?;
    let backlog = Backlog::new(128).unwrap_or(Backlog::MAXCONN);
    listen(&listener, backlog).during("listen at", &path)?;
    Ok(listener)
}

/// Makes the container's standard streams, and the shim's side of them.
fn open_streams(
    directory: &Path,
    bundle: &BundleRecord,
    terminal: bool,
    size: Option<(u16, u16)>,
) -> Result<(Streams, Output), Failure> {
    let log = bundle.log.files.as_ref().map(|limits| {
        let path = directory.join(super::LOG);
        super::log::LogWriter::open(&path, limits).during("open log", &path)
    });
    let mut output = Output::new(log.transpose()?, bundle.stdin);
    if terminal {
        return Ok((Streams::Terminal(size), output));
    }
    let pipe = || pipe2(OFlag::O_CLOEXEC).during("make pipe", "");
    let stdin = if bundle.stdin == Stdin::Closed {
        open(
            "/dev/null",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .during("open", "/dev/null")?
    } else {
        let (theirs, ours) = pipe()?;
        output.set_input(ours)?;
        theirs
    };
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    output.add_source(out, super::log::Stream::Stdout)?;
    output.add_source(err, super::log::Stream::Stderr)?;
    Ok((Streams::Pipes([stdin, stdout, stderr]), output))
}

/// Whether a call would only have to wait.
fn would_block(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EINTR)
}
