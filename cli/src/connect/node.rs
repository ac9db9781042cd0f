//! Starts a node when a command needs one and none answers.
//!
//! The node is this program again (`wharfie agent`), in a session of its own, so that it outlives
//! the command and its terminal. Its log is `agent.log` in the data root.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{ApiError, Client, Endpoint};

/// A node that recovers many containers on a loaded machine needs seconds; one that needs more has a
/// problem to be shown. One that dies is noticed at once.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Lines of the log that are shown when the node dies.
const SHOWN_LINES: usize = 10;

/// Why no node could be started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("cannot find out where this program is")]
    Program(#[source] io::Error),
    #[error("cannot write the node's log {path}")]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot start the node")]
    Spawn(#[source] io::Error),
    #[error("the node ended while it was starting ({status}); the end of {log}:\n{tail}", log = .log.display())]
    Died {
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },
    #[error("the node does not answer after {limit} s; the end of {log}:\n{tail}", limit = START_LIMIT.as_secs(), log = .log.display())]
    Silent { log: PathBuf, tail: String },
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// A client of a node that answers; it is started if need be.
pub(crate) async fn ensure(client: Client, data_root: &Path) -> Result<Client, StartError> {
    match client.probe().await {
        Ok(()) => return Ok(client),
        Err(ApiError::Unreachable { cause, .. }) if is_absent(&cause) => {}
        Err(error) => return Err(error.into()),
    }
    let log = super::log_of(data_root);
    let mut child = spawn(client.endpoint(), data_root, &log)?;
    let started = Instant::now();
    loop {
        if client.probe().await.is_ok() {
            return Ok(client);
        }
        // Another command may have started one at the same time; ours then gave way to it.
        if let Some(status) = child.try_wait().map_err(StartError::Spawn)? {
            if client.probe().await.is_ok() {
                return Ok(client);
            }
            return Err(StartError::Died {
                status,
                tail: tail(&log),
                log,
            });
        }
        if started.elapsed() > START_LIMIT {
            return Err(StartError::Silent {
                tail: tail(&log),
                log,
            });
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Nobody listens: there is no socket, or one that a dead node has left.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn spawn(endpoint: &Endpoint, data_root: &Path, log: &Path) -> Result<Child, StartError> {
    let failed = |source| StartError::Log {
        path: log.to_owned(),
        source,
    };
    fs::create_dir_all(data_root).map_err(failed)?;
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    let program = std::env::current_exe().map_err(StartError::Program)?;
    Command::new(program)
        .arg("agent")
        .arg("--detached")
        .arg("--host")
        .arg(endpoint.to_string())
        .arg("--data-root")
        .arg(data_root)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(StartError::Spawn)
}

/// The last lines of the log; empty when there is none.
fn tail(log: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};

    // Ten lines fit into this many bytes.
    const TAIL_BYTES: u64 = 8192;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}
