//! Programs run in a container on a client's behalf: created, then started once, then asked about.
//!
//!     POST /containers/{id}/exec ─► Exec { request } ─► POST /exec/{id}/start ─► streams ─► exit code
//!
//! Finished ones are forgotten a while after they ended, so that the table stays small.

pub(in crate::api) mod id;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use scheduler::model::id::{ContainerId, NodeId};
use scheduler::model::task::TaskState;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::attach::size;
use super::config::Words;
use super::lookup::{self, Found};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::frame::{Channel, Encoding};
use crate::api::reply::{self, Answer, Raw};
use crate::container::{ContainerError, ExecControl, ExecRequest, ExecSession};

/// How long an exec that has ended can still be asked about.
const MEMORY: Duration = Duration::from_secs(300);

/// All that were created and are not forgotten.
pub(crate) struct Execs {
    node: NodeId,
    all: Mutex<BTreeMap<String, Exec>>,
}

#[derive(Clone)]
struct Exec {
    found: Found,
    request: ExecRequest,
    attach: Attach,
    progress: Progress,
}

#[derive(Clone, Copy)]
struct Attach {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

#[derive(Clone)]
enum Progress {
    Created,
    Running { pid: u32, control: ExecControl },
    Ended { code: i32, at: Instant },
}

impl Execs {
    /// None yet, on this node.
    pub(crate) fn on(node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            all: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Identifiers of those that run in a container.
    pub(crate) fn of(&self, container: &ContainerId) -> Vec<String> {
        let mine = |exec: &Exec| {
            exec.found.id == *container && !matches!(exec.progress, Progress::Ended { .. })
        };
        self.lock()
            .iter()
            .filter(|(_, exec)| mine(exec))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn add(&self, exec: Exec) -> String {
        let mut execs = self.lock();
        execs.retain(|_, exec| match exec.progress {
            Progress::Ended { at, .. } => at.elapsed() < MEMORY,
            Progress::Created | Progress::Running { .. } => true,
        });
        let id = id::new(&self.node);
        execs.insert(id.clone(), exec);
        id
    }

    fn get(&self, id: &str) -> Result<Exec, EngineError> {
        self.lock()
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoSuchExec(id.to_owned()))
    }

    fn set(&self, id: &str, progress: Progress) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.progress = progress;
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateBody {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    privileged: bool,
    user: String,
    working_dir: String,
    env: Vec<String>,
    cmd: Words,
    console_size: Option<(u16, u16)>,
}

/// `POST /containers/{id}/exec`
pub(in crate::api) async fn create(context: &Context, mut call: Call, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    let body: CreateBody = call.json().await?;
    if body.cmd.0.is_empty() {
        return Err(bad("No exec command specified"));
    }
    if found.task.status.state != TaskState::Running {
        return Err(EngineError::NotRunning(found.id.to_string()));
    }
    if context.containers.is_paused(&found.id).unwrap_or(false) {
        return Err(EngineError::Conflict(format!(
            "Container {} is paused, unpause the container before exec",
            found.id
        )));
    }
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let request = ExecRequest {
        args: body.cmd.0,
        env: body.env,
        working_dir: text(body.working_dir),
        // Unnamed it is that of the container, with the groups that were added to it.
        user: text(body.user),
        tty: body.tty,
        privileged: body.privileged,
        size: body.console_size.filter(|size| *size != (0, 0)),
    };
    let action = format!("exec_create: {}", request.args.join(" "));
    let attach = Attach {
        stdin: body.attach_stdin,
        stdout: body.attach_stdout,
        stderr: body.attach_stderr,
    };
    context.events.container(&state, &found, &action);
    let id = context.execs.add(Exec {
        found,
        request,
        attach,
        progress: Progress::Created,
    });
    reply::json_with(StatusCode::CREATED, &json!({ "Id": id }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StartBody {
    detach: bool,
    console_size: Option<(u16, u16)>,
}

/// `POST /exec/{id}/start`
pub(in crate::api) async fn start(context: Arc<Context>, mut call: Call, id: &str) -> Answer {
    let exec = context.execs.get(id)?;
    let body: StartBody = call.json().await?;
    match exec.progress {
        Progress::Created => {}
        Progress::Running { .. } => {
            return Err(EngineError::Conflict(format!(
                "exec {id} is already running"
            )));
        }
        Progress::Ended { .. } => {
            return Err(EngineError::Conflict(format!("exec {id} has already run")));
        }
    }
    let mut request = exec.request.clone();
    if let Some(size) = body.console_size.filter(|size| *size != (0, 0)) {
        request.size = Some(size);
    }
    let action = format!("exec_start: {}", request.args.join(" "));
    let session = match context.containers.exec(&exec.found.id, request).await {
        Ok(session) => session,
        Err(error) => {
            let code = match &error {
                ContainerError::Start { code, .. } => *code,
                _ => 126,
            };
            context.execs.set(
                id,
                Progress::Ended {
                    code,
                    at: Instant::now(),
                },
            );
            return Err(error.into());
        }
    };
    context
        .events
        .container(&context.state(), &exec.found, &action);
    let progress = Progress::Running {
        pid: session.pid,
        control: session.control.clone(),
    };
    context.execs.set(id, progress);
    let id = id.to_owned();
    if body.detach {
        tokio::spawn(async move {
            let ExecSession {
                stdin,
                stdout,
                stderr,
                control,
                ..
            } = session;
            drop(stdin);
            let (out, err) = (discard(stdout), discard(stderr));
            let (_, _, code) = tokio::join!(out, err, control.wait());
            finish(&context, &id, &exec.found, code.unwrap_or(255));
        });
        return reply::empty(StatusCode::OK);
    }
    let encoding = if exec.request.tty {
        Encoding::Raw
    } else {
        Encoding::Framed
    };
    let (handover, response) = reply::hijack(&mut call, encoding)?;
    tokio::spawn(async move {
        let control = session.control.clone();
        if let Some(connection) = handover.connection().await {
            converse(&context, &id, &exec, connection, session, encoding).await;
        } else {
            let code = control.wait().await.unwrap_or(255);
            finish(&context, &id, &exec.found, code);
        }
    });
    Ok(response)
}

/// The exit code must be known before the client sees the end of the stream: it asks at once.
async fn converse(
    context: &Context,
    id: &str,
    exec: &Exec,
    connection: Raw,
    session: ExecSession,
    encoding: Encoding,
) {
    let ExecSession {
        stdin,
        stdout,
        stderr,
        control,
        ..
    } = session;
    let (mut reader, mut writer) = tokio::io::split(connection);
    let input = tokio::spawn({
        let wanted = exec.attach.stdin;
        async move {
            match stdin {
                Some(mut stdin) if wanted => {
                    let _ = tokio::io::copy(&mut reader, &mut stdin).await;
                    let _ = stdin.shutdown().await;
                }
                _ => {}
            }
        }
    });
    let (sender, mut frames) = mpsc::channel(16);
    let out = pump(
        stdout.filter(|_| exec.attach.stdout),
        Channel::Stdout,
        encoding,
        sender.clone(),
    );
    let err = pump(
        stderr.filter(|_| exec.attach.stderr),
        Channel::Stderr,
        encoding,
        sender,
    );
    let write = async {
        while let Some(frame) = frames.recv().await {
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                // The client has left; what the program still says is read and dropped.
                while frames.recv().await.is_some() {}
            }
        }
    };
    let (_, _, _, code) = tokio::join!(out, err, write, control.wait());
    finish(context, id, &exec.found, code.unwrap_or(255));
    input.abort();
    let _ = writer.shutdown().await;
}

fn finish(context: &Context, id: &str, found: &Found, code: i32) {
    context.execs.set(
        id,
        Progress::Ended {
            code,
            at: Instant::now(),
        },
    );
    context.events.exec_died(&context.state(), found, id, code);
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

async fn pump(
    reader: Option<Reader>,
    channel: Channel,
    encoding: Encoding,
    sender: mpsc::Sender<axum::body::Bytes>,
) {
    let Some(mut reader) = reader else { return };
    let mut buffer = vec![0; 32 << 10];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let piece = buffer.get(..read).unwrap_or_default();
                if sender.send(encoding.encode(channel, piece)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn discard(reader: Option<Reader>) {
    if let Some(mut reader) = reader {
        let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    }
}

/// `POST /exec/{id}/resize?h=&w=`
pub(in crate::api) async fn resize(context: &Context, call: &Call, id: &str) -> Answer {
    let (rows, columns) = size(call)?;
    let Progress::Running { control, .. } = context.execs.get(id)?.progress else {
        return Err(bad("cannot resize a stopped container"));
    };
    control.resize(rows, columns).await?;
    reply::empty(StatusCode::OK)
}

/// `GET /exec/{id}/json`
pub(in crate::api) fn inspect(context: &Context, id: &str) -> Answer {
    let exec = context.execs.get(id)?;
    let (running, pid, code) = match &exec.progress {
        Progress::Created => (false, 0, None),
        Progress::Running { pid, .. } => (true, *pid, None),
        Progress::Ended { code, .. } => (false, 0, Some(*code)),
    };
    let (entrypoint, arguments) = match exec.request.args.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("", [].as_slice()),
    };
    reply::json(&json!({
        "ID": id,
        "Running": running,
        "ExitCode": code,
        "ProcessConfig": {
            "tty": exec.request.tty,
            "entrypoint": entrypoint,
            "arguments": arguments,
            "privileged": exec.request.privileged,
            "user": exec.request.user,
        },
        "OpenStdin": exec.attach.stdin,
        "OpenStderr": exec.attach.stderr,
        "OpenStdout": exec.attach.stdout,
        "CanRemove": code.is_some(),
        "ContainerID": exec.found.id.as_str(),
        "DetachKeys": "",
        "Pid": pid,
    }))
}
