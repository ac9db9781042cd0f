//! A conversation with a process in a container: keys in, output out, until it ends.
//!
//!     stdin ──► connection ──► process          SIGWINCH ──► resize
//!     stdout ◄── frames or raw ◄── connection

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};

use crate::connect::{Channel, Client, Frames, Hijacked, url};
use crate::error::Failure;
use crate::output;
use crate::terminal::{self, RawMode};

/// Whether the process has a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Yes,
    No,
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
    resize_path: &str,
) -> Result<(), Failure> {
    let raw = match terminal {
        Terminal::Yes => Some(RawMode::enter()?),
        Terminal::No => None,
    };
    let (mut reader, writer) = tokio::io::split(connection);
    tokio::spawn(forward_input(writer));
    let mut resizes = signal(SignalKind::window_change())?;
    if terminal == Terminal::Yes {
        resize(client, resize_path).await;
    }
    let mut frames = Frames::default();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        tokio::select! {
            count = reader.read(&mut buffer) => {
                let count = match count {
                    Ok(0) => break,
                    Ok(count) => count,
                    // The node may close hard when the process has gone; all that it said has come.
                    Err(_) => break,
                };
                show(terminal, &mut frames, buffer.get(..count).unwrap_or_default());
            }
            Some(()) = resizes.recv(), if terminal == Terminal::Yes => resize(client, resize_path).await,
        }
    }
    drop(raw);
    Ok(())
}

fn show(terminal: Terminal, frames: &mut Frames, bytes: &[u8]) {
    match terminal {
        Terminal::Yes => output::raw_stdout(bytes),
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

/// The end of our input is the end of the process's.
async fn forward_input(mut writer: WriteHalf<Hijacked>) {
    let mut stdin = tokio::io::stdin();
    // A process that no longer reads is no error: what it says and how it ends still counts.
    let _ = tokio::io::copy(&mut stdin, &mut writer).await;
    let _ = writer.shutdown().await;
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
