//! The shim's loop, and what it does when the container has ended.
//!
//!     Preparing ──Ready──► Waiting ──Start──► Starting ──connection ends──► Running ──► ended
//!         └────────────────────┴───── Failed ─────┴──────────────────────────────────────▲

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use scheduler::model::time::Timestamp;

use super::Container;
use super::client::{Client, Role, accept};
use super::streams::Piece;
use super::would_block;
use crate::clock::wall_time;
use crate::container::exec::Inhabited;
use crate::container::failure::Failure;
use crate::container::kernel;
use crate::container::protocol::{self, CreateRequest, Packet, Progress, Reply, Request, Tag};
use crate::container::record::{self, Durability, ExitRecord};
use crate::container::runtime::Streams;
use crate::container::{ExecRequest, Exit};

// How long those attached may take nothing of the rest, after the container has ended, before we leave.
// Who reads slowly loses nothing; it keeps nobody waiting but who removes the container.
const FAREWELL: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Stage {
    /// It has not reached the gate; somebody may already have asked to open it.
    Preparing {
        start: Option<u64>,
    },
    Waiting,
    /// The gate is open; the client will be told.
    Starting {
        client: u64,
    },
    Running {
        at: Timestamp,
    },
    Failed(Failure),
}

/// A program that an agent has put into the container.
struct Exec {
    pid: Pid,
    client: u64,
    /// Until it has become its program.
    progress: Option<OwnedFd>,
}

pub(super) struct Server {
    container: Container,
    request: CreateRequest,
    stage: Stage,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    execs: Vec<Exec>,
}

/// What a descriptor that is ready belongs to.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener,
    Progress,
    Output(usize),
    Input,
    Client(u64),
    Exec(Pid),
}

impl Server {
    pub(super) fn new(
        container: Container,
        request: CreateRequest,
        control: OwnedFd,
    ) -> Result<Self, Failure> {
        // Who asked for the container watches it, too.
        let first = Client::new(control, Role::Watching);
        Ok(Self {
            container,
            request,
            stage: Stage::Preparing { start: None },
            clients: BTreeMap::from([(0, first)]),
            next_client: 1,
            execs: Vec::new(),
        })
    }

    /// Serves until the container has ended, and leaves nothing behind but its record.
    pub(super) fn run(mut self) {
        loop {
            let ready = self.wait();
            for (source, events) in ready {
                match source {
                    Source::Signals => {
                        if let Some(code) = self.reap() {
                            return self.epilogue(code);
                        }
                    }
                    Source::Listener => self.accept(),
                    Source::Progress => self.advance(),
                    Source::Output(index) => drop(self.copy(index)),
                    Source::Input => self.container.output.push(),
                    Source::Client(id) => self.serve(id, events),
                    Source::Exec(pid) => self.advance_exec(pid),
                }
            }
            self.dismiss();
        }
    }

    /// Waits until something is ready. The outputs come last to first, so that one that ends does
    /// not change the meaning of the other's index.
    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        let mut watch = |source: Source, fd, events: PollFlags| {
            sources.push(source);
            polled.push(PollFd::new(fd, events));
        };
        let read = PollFlags::POLLIN;
        watch(Source::Signals, self.container.signals.as_fd(), read);
        watch(Source::Listener, self.container.listener.as_fd(), read);
        if !matches!(self.stage, Stage::Running { .. } | Stage::Failed(_)) {
            watch(Source::Progress, self.container.born.progress.as_fd(), read);
        }
        if !self.clients.values().any(Client::is_full) {
            let outputs: Vec<_> = self.container.output.sources().enumerate().collect();
            for (index, fd) in outputs.into_iter().rev() {
                watch(Source::Output(index), fd, read);
            }
        }
        if let Some(fd) = self.container.output.blocked_input() {
            watch(Source::Input, fd, PollFlags::POLLOUT);
        }
        for exec in &self.execs {
            if let Some(progress) = &exec.progress {
                watch(Source::Exec(exec.pid), progress.as_fd(), read);
            }
        }
        for (id, client) in &self.clients {
            let mut events = PollFlags::empty();
            if client.role != Role::Attached || self.container.output.takes_input() {
                events |= PollFlags::POLLIN;
            }
            if client.has_waiting() {
                events |= PollFlags::POLLOUT;
            }
            watch(Source::Client(*id), client.as_fd(), events);
        }
        if poll(&mut polled, PollTimeout::NONE).is_err() {
            return Vec::new();
        }
        sources
            .into_iter()
            .zip(polled)
            .filter_map(|(source, polled)| Some((source, polled.revents()?)))
            .filter(|(_, events)| !events.is_empty())
            .collect()
    }

    fn accept(&mut self) {
        if let Some(client) = accept(&self.container.listener) {
            self.clients.insert(self.next_client, client);
            self.next_client += 1;
        }
    }

    /// Forgets the clients that have left.
    fn dismiss(&mut self) {
        let mut input_left = false;
        self.clients.retain(|_, client| {
            input_left |= client.gone && client.role == Role::Attached;
            !client.gone
        });
        if input_left {
            self.container.output.client_is_done();
        }
    }

    fn tell(&mut self, client: u64, reply: &Reply) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.tell(reply);
        }
    }

    /// Takes in what the container's process says on its way to become the program.
    fn advance(&mut self) {
        match next_progress(&self.container.born.progress) {
            Step::NothingNow => {}
            Step::Said(Progress::Terminal, Some(master)) => {
                // Without the terminal the container would be mute; its process ends by itself.
                let _ = self.container.output.set_terminal(master);
            }
            Step::Said(Progress::Terminal, None) => {}
            Step::Said(Progress::Ready { warnings }, _) => {
                self.container.state.warnings.extend(warnings);
                let before = std::mem::replace(&mut self.stage, Stage::Waiting);
                if let Stage::Preparing {
                    start: Some(client),
                } = before
                {
                    self.open_gate(client);
                }
            }
            Step::Said(Progress::Failed(failure), _) => self.fail(failure),
            Step::End => self.program_runs(),
        }
    }

    fn open_gate(&mut self, client: u64) {
        let opened = nix::unistd::write(&self.container.born.progress, b"g");
        match opened {
            Ok(_) => self.stage = Stage::Starting { client },
            Err(errno) => self.fail(Failure::program("gate", errno, None)),
        }
    }

    /// The connection has ended without a complaint: execve has closed it (or the process was killed).
    fn program_runs(&mut self) {
        let Stage::Starting { client } = self.stage else {
            // Killed before its time; its exit will tell.
            let failure = Failure::refused("start container", "", "it was killed before it ran");
            return self.fail(failure);
        };
        let at = wall_time();
        self.stage = Stage::Running { at };
        self.container.state.started_at = Some(at);
        // Only a hint for agents that come later: the stage itself is here.
        let _ = record::write(
            &self.request.exec_directory,
            record::STATE,
            &self.container.state,
            Durability::Atomic,
        );
        self.tell(client, &Reply::Started { at });
        kernel::release_memory();
    }

    fn fail(&mut self, failure: Failure) {
        let before = std::mem::replace(&mut self.stage, Stage::Failed(failure.clone()));
        if let Stage::Starting { client }
        | Stage::Preparing {
            start: Some(client),
        } = before
        {
            self.tell(client, &Reply::Failed(failure));
        }
    }

    fn copy(&mut self, index: usize) -> Copied {
        match self.container.output.read(index) {
            Piece::Data(piece) => {
                for client in self.clients.values_mut() {
                    if client.role == Role::Attached {
                        client.send(piece.clone());
                    }
                }
                Copied::Some
            }
            Piece::NothingNow | Piece::End => Copied::Nothing,
        }
    }

    fn serve(&mut self, id: u64, events: PollFlags) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if events.contains(PollFlags::POLLOUT) {
            client.flush();
        }
        if !events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return;
        }
        let role = client.role;
        let Some(packet) = client.receive() else {
            return;
        };
        if role == Role::Attached {
            return self.take_input(&packet.bytes);
        }
        match packet.parse() {
            Ok(request) => self.answer(id, request, packet),
            Err(_) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.gone = true;
                }
            }
        }
    }

    fn take_input(&mut self, packet: &[u8]) {
        let Some((tag, bytes)) = packet.split_first() else {
            return;
        };
        match Tag::of(*tag) {
            Some(Tag::Stdin) => self.container.output.put(bytes),
            Some(Tag::StdinEnd) => self.container.output.client_is_done(),
            Some(Tag::Stdout | Tag::Stderr) | None => {}
        }
    }

    fn answer(&mut self, id: u64, request: Request, packet: Packet) {
        let reply = match request {
            Request::Start => return self.start(id),
            Request::Exec(request) => return self.exec(id, &request, packet.descriptors),
            Request::Watch => self.take_role(id, Role::Watching),
            Request::Attach => self.take_role(id, Role::Attached),
            Request::Resize { rows, columns } => {
                match self.container.output.resize(rows, columns) {
                    Ok(()) => Reply::Done,
                    Err(failure) => Reply::Failed(failure),
                }
            }
            Request::Signal { signal } => return self.signal_exec(id, signal),
            Request::Create(_) => Reply::Failed(Failure::refused(
                "create container",
                "",
                "it has been created",
            )),
        };
        self.tell(id, &reply);
    }

    fn take_role(&mut self, id: u64, role: Role) -> Reply {
        if let Some(client) = self.clients.get_mut(&id) {
            client.role = role;
        }
        Reply::Done
    }

    fn start(&mut self, id: u64) {
        let reply = match &mut self.stage {
            Stage::Preparing { start } => {
                *start = Some(id);
                return;
            }
            Stage::Waiting => return self.open_gate(id),
            Stage::Running { at } => Reply::Started { at: *at },
            Stage::Failed(failure) => Reply::Failed(failure.clone()),
            Stage::Starting { .. } => Reply::Failed(Failure::refused(
                "start container",
                "",
                "it is being started",
            )),
        };
        self.tell(id, &reply);
    }

    fn exec(&mut self, id: u64, request: &ExecRequest, descriptors: Vec<OwnedFd>) {
        match self.fork_exec(request, descriptors) {
            Ok((pid, progress)) => {
                self.take_role(id, Role::Exec(pid));
                self.execs.push(Exec {
                    pid,
                    client: id,
                    progress: Some(progress),
                });
            }
            Err(failure) => self.tell(id, &Reply::Failed(failure)),
        }
    }

    fn fork_exec(
        &self,
        request: &ExecRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Pid, OwnedFd), Failure> {
        if !matches!(self.stage, Stage::Running { .. }) {
            return Err(Failure::refused("exec", "", "the container is not running"));
        }
        let streams = if request.tty {
            Streams::Terminal(request.size)
        } else {
            let pipes = <[OwnedFd; 3]>::try_from(descriptors)
                .map_err(|_| Failure::refused("exec", "", "it needs three streams"))?;
            Streams::Pipes(pipes)
        };
        let container = Inhabited {
            init: self.container.born.pid,
            pidfd: &self.container.born.pidfd,
            cgroup: &self.container.cgroup,
            confinement: &self.container.confinement,
            program: &self.container.program,
        };
        let born = container.fork(request, &streams)?;
        Ok((born.pid, born.progress))
    }

    fn advance_exec(&mut self, pid: Pid) {
        let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) else {
            return;
        };
        let Some(progress) = &self.execs[index].progress else {
            return;
        };
        let client = self.execs[index].client;
        match next_progress(progress) {
            Step::Said(Progress::Terminal, Some(master)) => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.tell_with(&Reply::Terminal, master.as_fd());
                }
            }
            Step::Said(Progress::Failed(failure), _) => {
                self.tell(client, &Reply::Failed(failure));
                self.execs.remove(index);
            }
            Step::End => {
                self.execs[index].progress = None;
                let pid = pid.as_raw() as u32;
                self.tell(client, &Reply::ExecStarted { pid });
            }
            Step::NothingNow | Step::Said(Progress::Terminal | Progress::Ready { .. }, _) => {}
        }
    }

    /// Signals the exec of this connection, and what it has started in its session.
    fn signal_exec(&mut self, id: u64, signal: i32) {
        let running = self.execs.iter().find(|exec| exec.client == id);
        if let (Some(exec), Ok(signal)) = (running, Signal::try_from(signal)) {
            // It is our child and not reaped yet, so its number means nobody else.
            let _ = killpg(exec.pid, signal);
        }
    }

    /// Reaps whoever has ended; the exit code when the container's first process is among them.
    fn reap(&mut self) -> Option<i32> {
        while let Ok(Some(_)) = self.container.signals.read_signal() {}
        let mut ended = None;
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return ended,
                Ok(_) => continue,
            };
            if pid == self.container.born.pid {
                ended = Some(code);
            } else {
                self.exec_ended(pid, code);
            }
        }
    }

    fn exec_ended(&mut self, pid: Pid, code: i32) {
        // What it said before it ended may not have been read yet: a terminal, and how it went.
        for _ in 0..2 {
            self.advance_exec(pid);
        }
        if let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) {
            let exec = self.execs.remove(index);
            self.tell(exec.client, &Reply::ExecExited { code });
        }
    }

    fn epilogue(mut self, code: i32) {
        // Both what it said last and how its process ended may be news at the same time.
        for _ in 0..3 {
            if !matches!(self.stage, Stage::Running { .. } | Stage::Failed(_)) {
                self.advance();
            }
        }
        self.container.cgroup.kill();
        for index in (0..self.container.output.sources().count()).rev() {
            while matches!(self.copy(index), Copied::Some) {}
        }
        self.container.output.finish_log();
        let oom_killed = self.container.cgroup.oom_kills() > 0;
        // A cgroup that will not go is found and removed with the container.
        let _ = self.container.cgroup.remove();
        self.reap();
        let record = ExitRecord {
            task: self.request.task.clone(),
            exit: self.exit(code, oom_killed),
        };
        let written = record::write(
            &self.request.directory,
            record::EXIT,
            &record,
            Durability::Synced,
        );
        let exec_directory = &self.request.exec_directory;
        let _ = record::delete(exec_directory, record::SOCKET);
        if written.is_ok() {
            let _ = record::delete(exec_directory, record::STATE);
        }
        for client in self.clients.values_mut() {
            if client.role == Role::Watching {
                client.tell(&Reply::Ended(record.exit.clone()));
            }
        }
        self.say_goodbye();
    }

    fn exit(&self, code: i32, oom_killed: bool) -> Exit {
        let (code, started_at, error) = match &self.stage {
            Stage::Running { at } => (code, Some(*at), None),
            Stage::Failed(failure) => (failure.exit_code(), None, Some(failure.message())),
            Stage::Preparing { .. } | Stage::Waiting | Stage::Starting { .. } => (code, None, None),
        };
        Exit {
            code,
            oom_killed,
            started_at,
            finished_at: wall_time(),
            error,
        }
    }

    /// Lets the clients take what is still for them.
    fn say_goodbye(&mut self) {
        let mut taken_at = Instant::now();
        let mut before = usize::MAX;
        loop {
            self.clients.retain(|_, client| {
                client.flush();
                client.has_waiting()
            });
            let left = self.clients.values().map(Client::behind).sum();
            if left < before {
                (before, taken_at) = (left, Instant::now());
            }
            if self.clients.is_empty() || taken_at.elapsed() > FAREWELL {
                return;
            }
            let mut polled: Vec<PollFd<'_>> = self
                .clients
                .values()
                .map(|client| PollFd::new(client.as_fd(), PollFlags::POLLOUT))
                .collect();
            let _ = poll(&mut polled, PollTimeout::from(100_u8));
        }
    }
}

/// Whether a read brought anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    Some,
    Nothing,
}

enum Step {
    Said(Progress, Option<OwnedFd>),
    End,
    NothingNow,
}

fn next_progress(progress: &OwnedFd) -> Step {
    match protocol::receive(progress, MsgFlags::MSG_DONTWAIT) {
        Ok(None) => Step::End,
        Ok(Some(mut packet)) => match packet.parse() {
            Ok(said) => Step::Said(said, packet.descriptors.pop()),
            Err(_) => Step::NothingNow,
        },
        Err(errno) if would_block(errno) => Step::NothingNow,
        Err(_) => Step::End,
    }
}
