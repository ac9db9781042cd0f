//! Frames over a connection, or from one task to another of the same process.
//!
//!     urgent ─┐                               ┌─► frames
//!             ├─► [ cut ] ═ connection ═ [ put together ]
//!     bulk  ──┘                               └─► when anything was heard last
//!
//! A pipe ends when the other side has gone, says what cannot be understood, or takes nothing for
//! [`STALLED`]. Dropping it closes the connection.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::debug;

use super::chunk::{Assembler, Cutter, HEADER, Header};
use super::frame::Lane;

/// Frames that may wait, in each lane. What is urgent is small and rare.
const QUEUE: usize = 16;
/// A connection that takes not even one chunk for so long is dead.
const STALLED: Duration = Duration::from_secs(15);

/// One end.
#[derive(Debug)]
pub struct Pipe<Out, In> {
    pub urgent: mpsc::Sender<Out>,
    pub bulk: mpsc::Sender<Out>,
    /// Ends with the other side.
    pub receive: mpsc::Receiver<In>,
    /// When anything came in last, even a part of a frame. `None` within a process, where nobody
    /// dies alone.
    pub heard: Option<watch::Receiver<Instant>>,
    _tasks: Tasks,
}

/// Those that serve a connection; they end with the pipe.
#[derive(Debug, Default)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Two ends within this process.
pub fn within_process<A, B>() -> (Pipe<A, B>, Pipe<B, A>)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let ((there, a), (back, b)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    let end = |urgent: mpsc::Sender<A>, receive| Pipe {
        bulk: urgent.clone(),
        urgent,
        receive,
        heard: None,
        _tasks: Tasks::default(),
    };
    let other = Pipe {
        bulk: back.clone(),
        urgent: back,
        receive: a,
        heard: None,
        _tasks: Tasks::default(),
    };
    (end(there, b), other)
}

/// This end of a connection.
pub fn over<C, Out, In>(connection: C) -> Pipe<Out, In>
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    Out: Serialize + Send + 'static,
    In: DeserializeOwned + Send + 'static,
{
    let (reading, writing) = tokio::io::split(connection);
    let (urgent, urgent_queue) = mpsc::channel(QUEUE);
    let (bulk, bulk_queue) = mpsc::channel(1);
    let (received, receive) = mpsc::channel(QUEUE);
    let (hear, heard) = watch::channel(Instant::now());
    let writer = tokio::spawn(write(writing, urgent_queue, bulk_queue));
    let reader = tokio::spawn(read(reading, received, hear));
    Pipe {
        urgent,
        bulk,
        receive,
        heard: Some(heard),
        _tasks: Tasks(vec![writer.abort_handle(), reader.abort_handle()]),
    }
}

async fn write<W: AsyncWrite + Unpin, Out: Serialize + Send + 'static>(
    mut to: W,
    mut urgent: mpsc::Receiver<Out>,
    mut bulk: mpsc::Receiver<Out>,
) {
    let mut cutter = Cutter::default();
    loop {
        let begun = tokio::select! {
            biased;
            frame = urgent.recv(), if cutter.is_free(Lane::Urgent) => match frame {
                Some(frame) => begin(&mut cutter, Lane::Urgent, frame).await,
                // Both lanes belong to one pipe: it was dropped.
                None => return,
            },
            Some(frame) = bulk.recv(), if cutter.is_free(Lane::Bulk) => {
                begin(&mut cutter, Lane::Bulk, frame).await
            }
            // Only what is at hand at once goes before what has begun.
            () = std::future::ready(()), if has_begun(&cutter) => true,
        };
        if !begun {
            return;
        }
        let Some(chunk) = cutter.cut() else { continue };
        let written = async {
            to.write_all(&chunk).await?;
            to.flush().await
        };
        if !matches!(tokio::time::timeout(STALLED, written).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn has_begun(cutter: &Cutter) -> bool {
    !cutter.is_free(Lane::Urgent) || !cutter.is_free(Lane::Bulk)
}

/// Large frames are put into words beside the runtime's own threads.
async fn begin<Out: Serialize + Send + 'static>(
    cutter: &mut Cutter,
    lane: Lane,
    frame: Out,
) -> bool {
    let words = match lane {
        Lane::Urgent => serde_json::to_vec(&frame).ok(),
        Lane::Bulk => tokio::task::spawn_blocking(move || serde_json::to_vec(&frame).ok())
            .await
            .ok()
            .flatten(),
    };
    let Some(words) = words else { return false };
    match cutter.begin(lane, words) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "what a node must know is too much to say");
            false
        }
    }
}

async fn read<R: AsyncRead + Unpin, In: DeserializeOwned + Send + 'static>(
    mut from: R,
    received: mpsc::Sender<In>,
    heard: watch::Sender<Instant>,
) {
    let mut assembler = Assembler::default();
    let mut bytes = Vec::new();
    loop {
        let mut header = [0; HEADER];
        if from.read_exact(&mut header).await.is_err() {
            return;
        }
        let header = match Header::read(header) {
            Ok(header) => header,
            Err(error) => return debug!(%error, "a session broke"),
        };
        bytes.resize(header.length, 0);
        if from.read_exact(&mut bytes).await.is_err() {
            return;
        }
        heard.send_replace(Instant::now());
        let frame = match assembler.push(header, &bytes) {
            Ok(None) => continue,
            Ok(Some(frame)) => frame,
            Err(error) => return debug!(%error, "a session broke"),
        };
        let parsed = if frame.len() > super::chunk::CHUNK {
            tokio::task::spawn_blocking(move || serde_json::from_slice(&frame)).await
        } else {
            Ok(serde_json::from_slice(&frame))
        };
        match parsed {
            Ok(Ok(frame)) => {
                if received.send(frame).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => return debug!(%error, "a frame cannot be understood"),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
