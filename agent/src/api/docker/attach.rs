//! `POST /containers/{id}/attach` and `/resize`: a container's standard streams as they are now.
//!
//!     client ══ raw bytes ══► stdin         half-close: end of input, output goes on
//!     client ◄═ frames or tty ═ stdout, stderr      ends with the container
//!
//! The docker CLI attaches before it starts the container, so the answer comes first and the
//! streams are joined as soon as the process waits at its gate.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use scheduler::model::id::ContainerId;
use scheduler::model::task::Task;
use scheduler::state::State;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};

use super::lifecycle::until;
use super::lookup;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::frame::{Channel, Encoding};
use crate::api::reply::{self, Answer, Raw};
use crate::container::log::Stream;
use crate::container::{AttachInput, AttachOutput};

/// How often a container that is about to start is tried. Between its gate and its first output
/// lie its network and its root, which take several times as long.
const JOIN_INTERVAL: Duration = Duration::from_millis(1);

/// What a client wants of the streams.
#[derive(Clone, Copy, Debug)]
struct Wish {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// `POST /containers/{id}/attach?stream=&stdin=&stdout=&stderr=`
pub(in crate::api) fn attach(context: Arc<Context>, call: &mut Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let spec = &found.spec().container;
    let streams = call.params.flag("stream");
    let wish = Wish {
        stdin: streams && spec.stdin_open && call.params.flag("stdin"),
        stdout: streams && call.params.flag("stdout"),
        stderr: streams && call.params.flag("stderr"),
    };
    let encoding = if spec.tty {
        Encoding::Raw
    } else {
        Encoding::Framed
    };
    let (handover, response) = reply::hijack(call, encoding)?;
    tokio::spawn(async move {
        if let Some(connection) = handover.connection().await {
            context.events.container(&context.state(), &found, "attach");
            converse(&context, &found.id, connection, wish, encoding).await;
        }
    });
    Ok(response)
}

/// `POST /containers/{id}/resize?h=&w=`
pub(in crate::api) async fn resize(context: &Context, call: &Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let (rows, columns) = size(call)?;
    context.containers.resize(&found.id, rows, columns).await?;
    reply::empty(StatusCode::OK)
}

/// Rows and columns of a resize.
pub(super) fn size(call: &Call) -> Result<(u16, u16), EngineError> {
    let side = |name: &str| {
        let number = call.params.number(name)?.unwrap_or_default();
        u16::try_from(number)
            .map_err(|_| bad(format!("invalid size of a terminal: {name}={number}")))
    };
    Ok((side("h")?, side("w")?))
}

async fn converse(
    context: &Context,
    id: &ContainerId,
    connection: Raw,
    wish: Wish,
    encoding: Encoding,
) {
    let (mut reader, mut writer) = tokio::io::split(connection);
    let Some((output, input)) = join(context, id).await else {
        let _ = writer.shutdown().await;
        return;
    };
    let listening = async {
        if wish.stdin {
            // An end of input before the start would reach a process that is not there yet.
            let began = |state: &State| {
                let waits = |task: &Arc<Task>| {
                    task.status.started_at.is_none() && !task.status.state.is_terminal()
                };
                (!state.container(id).is_some_and(waits)).then_some(())
            };
            if until(context, began).await.is_ok() {
                forward_input(&mut reader, input).await;
            }
        }
        // Output goes on after the end of input; this half has nothing more to do.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = listening => {}
        () = forward_output(output, &mut writer, wish, encoding) => {}
    }
    let _ = writer.shutdown().await;
}

/// Joins the streams of a container that runs or is about to; `None` if it is gone first.
async fn join(context: &Context, id: &ContainerId) -> Option<(AttachOutput, AttachInput)> {
    loop {
        if let Ok(streams) = context.containers.attach(id).await {
            return Some(streams);
        }
        let task = context.state().container(id).cloned()?;
        if task.status.state.is_terminal() {
            return None;
        }
        tokio::time::sleep(JOIN_INTERVAL).await;
    }
}

async fn forward_input(reader: &mut ReadHalf<Raw>, mut input: AttachInput) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let Some(piece) = buffer.get(..read) else {
            break;
        };
        if input.write(piece).await.is_err() {
            break;
        }
    }
    let _ = input.close().await;
}

async fn forward_output(
    mut output: AttachOutput,
    writer: &mut (impl AsyncWrite + Unpin),
    wish: Wish,
    encoding: Encoding,
) {
    while let Some((stream, bytes)) = output.next().await {
        let (wanted, channel) = match stream {
            Stream::Stdout => (wish.stdout, Channel::Stdout),
            Stream::Stderr => (wish.stderr, Channel::Stderr),
        };
        if wanted {
            let frame = encoding.encode(channel, &bytes);
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    }
}
