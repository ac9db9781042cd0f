//! `GET /containers/{id}/logs`: what a container has said, and what it goes on saying.

use std::sync::Arc;

use axum::body::Bytes;
use scheduler::model::id::ContainerId;
use scheduler::model::task::TaskState;
use tokio::sync::{mpsc, watch};

use super::lookup;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::frame::{Channel, Encoding};
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::clock::wall_time;
use crate::container::log::{Follow, LogEnd, LogEntry, LogQuery, LogReader, Part, Stream};

/// How an entry is written for the client.
#[derive(Clone, Copy, Debug)]
struct Shape {
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    encoding: Encoding,
}

/// `GET /containers/{id}/logs?follow=&stdout=&stderr=&since=&until=&tail=&timestamps=`
pub(in crate::api) async fn logs(context: Arc<Context>, call: &Call, id: &str) -> Answer {
    let state = context.state();
    let found = lookup::container(&state, id)?;
    let tty = found.spec().container.tty;
    let shape = Shape {
        stdout: call.params.flag("stdout"),
        stderr: call.params.flag("stderr"),
        timestamps: call.params.flag("timestamps"),
        encoding: if tty { Encoding::Raw } else { Encoding::Framed },
    };
    if !shape.stdout && !shape.stderr {
        return Err(bad("Bad parameters: you must choose at least one stream"));
    }
    let follow = call.params.flag("follow");
    let query = LogQuery {
        tail: tail(call)?,
        since: instant(call, "since")?,
        until: instant(call, "until")?,
        follow: if follow { Follow::Yes } else { Follow::No },
    };
    let (sender, response) = reply::stream(shape.encoding.content_type());
    let path = context.containers.log_path(&found.id);
    let end = LogEnd::new();
    if follow {
        tokio::spawn(watch_end(
            context.watch(),
            found.id.clone(),
            end.clone(),
            sender.clone(),
        ));
    }
    tokio::spawn(async move {
        match LogReader::open(&path, query, end).await {
            Ok(reader) => copy(reader, shape, &sender).await,
            // Nothing was ever written.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = format!("cannot read the log: {error}\n");
                let _ = sender
                    .send(shape.encoding.encode(Channel::System, text.as_bytes()))
                    .await;
            }
        }
    });
    Ok(response)
}

/// `all`, nothing, or a number; Docker takes what is none of these for all.
fn tail(call: &Call) -> Result<Option<u64>, EngineError> {
    Ok(call.params.get("tail").and_then(|tail| tail.parse().ok()))
}

fn instant(
    call: &Call,
    name: &str,
) -> Result<Option<scheduler::model::time::Timestamp>, EngineError> {
    let Some(text) = call.params.get(name).filter(|text| *text != "0") else {
        return Ok(None);
    };
    time::parse(text, wall_time())
        .map(Some)
        .ok_or_else(|| bad(format!("invalid value for \"{name}\": {text}")))
}

/// Ends following when the container does not run and will not come back by itself.
async fn watch_end(
    mut states: watch::Receiver<Arc<scheduler::state::State>>,
    id: ContainerId,
    end: LogEnd,
    client: mpsc::Sender<Bytes>,
) {
    loop {
        let state = states.borrow_and_update().clone();
        let over = state.container(&id).is_none_or(|task| {
            task.status.state.is_terminal()
                || task.status.state < TaskState::Starting && task.restarts == 0
        });
        if over {
            return end.ended();
        }
        drop(state);
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return end.ended() },
            () = client.closed() => return end.ended(),
        }
    }
}

async fn copy(mut reader: LogReader, shape: Shape, sender: &mpsc::Sender<Bytes>) {
    loop {
        let entries = tokio::select! {
            entries = reader.next() => entries,
            () = sender.closed() => return,
        };
        let Ok(Some(entries)) = entries else { return };
        let mut piece = Vec::new();
        for entry in &entries {
            write(entry, shape, &mut piece);
        }
        if !piece.is_empty() && sender.send(Bytes::from(piece)).await.is_err() {
            return;
        }
    }
}

fn write(entry: &LogEntry, shape: Shape, piece: &mut Vec<u8>) {
    let (wanted, channel) = match entry.stream {
        Stream::Stdout => (shape.stdout, Channel::Stdout),
        Stream::Stderr => (shape.stderr, Channel::Stderr),
    };
    if !wanted {
        return;
    }
    let mut line = Vec::with_capacity(entry.bytes.len() + 40);
    if shape.timestamps {
        line.extend_from_slice(time::rfc3339_nano(entry.at).as_bytes());
        line.push(b' ');
    }
    line.extend_from_slice(&entry.bytes);
    if entry.part == Part::End {
        line.push(b'\n');
    }
    piece.extend_from_slice(&shape.encoding.encode(channel, &line));
}
