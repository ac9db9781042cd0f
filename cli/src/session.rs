//! A conversation with a process in a container: keys in, output out, until it ends.
//!
//!     stdin ──► connection ──► process          SIGWINCH ──► resize
//!     stdout ◄── frames or raw ◄── connection

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::connect::{Channel, Client, Frames, Hijacked, url};
use crate::error::Failure;
use crate::output;
use crate::terminal::{self, RawMode};

mod detach;

pub(crate) use detach::DetachKeys;

use detach::{Typed, Watcher};

/// Whether the process has a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Yes,
    No,
    /// It has one, and the person has none.
    Remote,
}

/// Whether what is typed goes to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Until these keys are typed on a terminal.
    Forwarded(DetachKeys),
    None,
}

/// How a conversation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By the process.
    Closed,
    /// By the person; the process goes on.
    Detached,
}

/// A terminal is the default when both ends of the person's are one.
pub(crate) fn wants_terminal(refused: bool) -> Terminal {
    use std::io::IsTerminal;

    match !refused && io::stdin().is_terminal() && output::stdout_is_terminal() {
        true => Terminal::Yes,
        false => Terminal::No,
    }
}

/// Talks until the process has closed its output.
///
/// `resize_path` is told the size of the terminal (`…/resize`).
pub(crate) async fn talk(
    client: &Client,
    connection: Hijacked,
    terminal: Terminal,
    input: Input,
    resize_path: &str,
) -> Result<Ended, Failure> {
    let raw = match (terminal, &input) {
        (Terminal::Yes, Input::Forwarded(_)) => Some(RawMode::enter()?),
        _ => None,
    };
    let (mut reader, writer) = tokio::io::split(connection);
    // Without a terminal nobody types: the sequence may be part of a file.
    let keys = match (terminal, input) {
        (_, Input::None) => None,
        (Terminal::Yes, Input::Forwarded(keys)) => Some(keys),
        (Terminal::No | Terminal::Remote, Input::Forwarded(_)) => Some(DetachKeys::default()),
    };
    let (detach, typed) = oneshot::channel();
    match keys {
        Some(keys) => drop(tokio::spawn(forward_input(writer, keys, detach))),
        // The half is kept: its end would be the end of input.
        None => drop(tokio::spawn(async move {
            let _kept = (writer, detach);
            std::future::pending::<()>().await;
        })),
    }
    let mut resizes = signal(SignalKind::window_change())?;
    if terminal == Terminal::Yes {
        resize(client, resize_path).await;
    }
    let mut frames = Frames::default();
    let mut buffer = vec![0; 32 * 1024];
    let detached = async {
        // The end of input is not a wish to leave: what the process still says is waited for.
        if typed.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(detached);
    let ended = loop {
        tokio::select! {
            () = &mut detached => break Ended::Detached,
            count = reader.read(&mut buffer) => {
                let count = match count {
                    Ok(0) => break Ended::Closed,
                    Ok(count) => count,
                    // The node may close hard when the process has gone; all that it said has come.
                    Err(_) => break Ended::Closed,
                };
                show(terminal, &mut frames, buffer.get(..count).unwrap_or_default());
            }
            Some(()) = resizes.recv(), if terminal == Terminal::Yes => resize(client, resize_path).await,
        }
    };
    drop(raw);
    Ok(ended)
}

fn show(terminal: Terminal, frames: &mut Frames, bytes: &[u8]) {
    match terminal {
        Terminal::Yes | Terminal::Remote => output::raw_stdout(bytes),
        Terminal::No => {
            for (channel, part) in frames.push(bytes) {
                match channel {
                    Channel::Stdout => output::raw_stdout(&part),
                    Channel::Stderr => output::raw_stderr(&part),
                }
            }
        }
    }
}

/// The end of our input is the end of the process's; the keys are the end of the conversation.
async fn forward_input(
    mut writer: WriteHalf<Hijacked>,
    keys: DetachKeys,
    detach: oneshot::Sender<()>,
) {
    let mut stdin = tokio::io::stdin();
    let mut watcher = Watcher::new(keys);
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
        let typed = watcher.push(buffer.get(..count).unwrap_or_default());
        let (Typed::Send(bytes) | Typed::Detach(bytes)) = &typed;
        // A process that no longer reads is no error: what it says and how it ends still counts.
        if writer.write_all(bytes).await.is_err() || writer.flush().await.is_err() {
            break;
        }
        if matches!(typed, Typed::Detach(_)) {
            // The other side is gone only when the conversation is over anyway.
            let _ = detach.send(());
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Passes on to a container what would have ended us. Returns only when signals cannot be had.
pub(crate) async fn forward_signals(client: &Client, container: &str) -> Failure {
    let listen = || -> io::Result<_> {
        Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ))
    };
    let (mut interrupt, mut terminate, mut hangup, mut quit) = match listen() {
        Ok(signals) => signals,
        Err(error) => return error.into(),
    };
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
            _ = quit.recv() => "SIGQUIT",
        };
        let path = format!("/containers/{container}/kill");
        // It may have ended just now; the wait tells.
        let _ = client
            .order(hyper::Method::POST, &url(&path, &[("signal", name)]))
            .await;
    }
}

async fn resize(client: &Client, path: &str) {
    let Some(size) = terminal::size(io::stdout()) else {
        return;
    };
    let (rows, columns) = (size.rows.to_string(), size.columns.to_string());
    let path = url(path, &[("h", &rows), ("w", &columns)]);
    // The process may have ended just now; its size no longer matters then.
    let _ = client.order(hyper::Method::POST, &path).await;
}

/// Waits for a signal that ends programs, and returns the exit code that goes with it: 128 and its
/// number. Ctrl-C is not among them: with a terminal it is a key like any other.
pub(crate) async fn terminated() -> u8 {
    let (Ok(mut terminate), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = hangup.recv() => 128 + 1,
    }
}
