//! Keeps the kernel's tables equal to the wanted [`Firewall`]: one writer, one transaction at a time.
//!
//!     commit ──► wanted (last one wins) ──┐
//!     commit ──► wanted ──────────────────┼──► writer: nft -f -  ──► answers all who waited
//!     flushed by somebody else ───────────┘
//!
//! Changes that arrive while `nft` runs are put together into the next transaction. The writer
//! also listens to the kernel's notifications: when somebody else deletes our rules
//! (`nft flush ruleset`, a reloaded firewall service), it makes them anew.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::firewall::Firewall;
use super::watch::Watch;

/// Why rules could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run `nft` (package nftables)")]
    Run(#[source] Arc<io::Error>),
    #[error("`nft` did not finish within {} s", TIME_LIMIT.as_secs())]
    TimedOut,
    #[error("nft: {message}")]
    Refused { message: String },
    #[error("the writer of the firewall has ended")]
    Ended,
}

// A transaction takes some 5 ms; under heavy load a hundred times that was never seen.
const TIME_LIMIT: Duration = Duration::from_secs(20);

// As many as may wait at once before callers wait for a place; they are answered together.
const QUEUE_LEN: usize = 256;

type Waiter = oneshot::Sender<Result<(), NftError>>;

/// The way to the writer. The rules stay in the kernel when it is dropped.
pub(super) struct Nftables {
    wanted: Arc<Mutex<Firewall>>,
    queue: mpsc::Sender<Waiter>,
}

impl Nftables {
    /// Makes the tables as wanted, replacing what an earlier agent left, and starts the writer.
    pub(super) async fn open(table: String, wanted: Firewall) -> Result<Self, NftError> {
        let watch = match Watch::open(&table) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the firewall: rules that others delete stay deleted");
                None
            }
        };
        let mut writer = Writer {
            table,
            applied: None,
            watch,
        };
        match writer.apply(&wanted).await {
            // Without networks nothing needs the rules, so a host without `nft` may run.
            Err(error) if wanted.is_empty() => tracing::warn!(%error, "there is no firewall yet"),
            result => result?,
        }
        let wanted = Arc::new(Mutex::new(wanted));
        let (queue, waiters) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(writer.run(Arc::clone(&wanted), waiters));
        Ok(Self { wanted, queue })
    }

    /// Says what is wanted from now on. It becomes true with the next [`commit`](Self::commit).
    pub(super) fn want(&self, firewall: Firewall) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = firewall;
    }

    /// Returns when what is wanted is true.
    pub(super) async fn commit(&self) -> Result<(), NftError> {
        let (sender, receiver) = oneshot::channel();
        self.queue.send(sender).await.map_err(|_| NftError::Ended)?;
        receiver.await.map_err(|_| NftError::Ended)?
    }
}

struct Writer {
    table: String,
    /// What the kernel has; `None` when nobody knows.
    applied: Option<Firewall>,
    watch: Option<Watch>,
}

impl Writer {
    async fn run(mut self, wanted: Arc<Mutex<Firewall>>, mut queue: mpsc::Receiver<Waiter>) {
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                waiter = queue.recv() => match waiter {
                    Some(waiter) => waiting.push(waiter),
                    None => return,
                },
                () = lost(&mut self.watch) => {
                    tracing::warn!(table = self.table, "somebody deleted our firewall rules: making them again");
                    self.applied = None;
                }
            }
            while let Ok(waiter) = queue.try_recv() {
                waiting.push(waiter);
            }
            let target = wanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let result = self.apply(&target).await;
            if let Err(error) = &result {
                tracing::error!(%error, "cannot load firewall rules");
                // Somebody may be deleting in a loop, or nft may be gone: not a hundred times a second.
                if waiting.is_empty() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            for waiter in waiting {
                let _ = waiter.send(result.clone());
            }
        }
    }

    async fn apply(&mut self, wanted: &Firewall) -> Result<(), NftError> {
        if let Some(applied) = &self.applied
            && !applied.is_empty()
            && !wanted.is_empty()
        {
            let Some(text) = applied.change(wanted, &self.table) else {
                return Ok(());
            };
            match load(&text).await {
                Ok(ours) if !self.watch.as_mut().is_some_and(|it| it.drain(ours)) => {
                    self.applied = Some(wanted.clone());
                    return Ok(());
                }
                Ok(_) => tracing::warn!("somebody deleted our firewall rules: making them again"),
                Err(error) => {
                    tracing::warn!(%error, "the firewall is not as expected: making it anew")
                }
            }
        }
        if self.applied.as_ref() == Some(wanted) {
            return Ok(());
        }
        self.applied = None;
        let text = if wanted.is_empty() {
            wanted.destroy(&self.table)
        } else {
            wanted.create(&self.table)
        };
        let ours = load(&text).await?;
        if let Some(watch) = &mut self.watch {
            // What others deleted before is there again.
            watch.drain(ours);
        }
        self.applied = Some(wanted.clone());
        Ok(())
    }
}

async fn lost(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.lost().await,
        None => std::future::pending().await,
    }
}

/// Loads rule text as one transaction in the namespace of the calling thread. Returns the number of
/// the process that did it.
async fn load(text: &str) -> Result<Option<u32>, NftError> {
    let mut child = command()
        .spawn()
        .map_err(|error| NftError::Run(Arc::new(error)))?;
    let process = child.id();
    let finish = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A refusal closes the pipe early; its message says more than the broken pipe.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(TIME_LIMIT, finish)
        .await
        .map_err(|_| NftError::TimedOut)?;
    judge(&output.map_err(|error| NftError::Run(Arc::new(error)))?)?;
    Ok(process)
}

/// The same without a runtime, for a thread that is in another namespace.
pub(super) fn load_here(text: &str) -> Result<(), NftError> {
    let run = || {
        let mut command = std::process::Command::new(program());
        let mut child = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = io::Write::write_all(&mut stdin, text.as_bytes());
        }
        child.wait_with_output()
    };
    judge(&run().map_err(|error| NftError::Run(Arc::new(error)))?)
}

/// Where `nft` is: a service's `PATH` may lack the directories of system programs.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let mut places = std::env::split_paths(&path)
            .chain(system)
            .map(|place| place.join("nft"));
        places
            .find(|file| file.is_file())
            .unwrap_or_else(|| "nft".into())
    })
}

/// Whether there is an `nft` to run.
pub fn is_installed() -> bool {
    program().is_file()
}

fn command() -> Command {
    let mut command = Command::new(program());
    command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What `nft` prints; empty when it refuses.
pub(super) async fn list(arguments: &[&str]) -> String {
    let output = Command::new(program())
        .args(arguments)
        .kill_on_drop(true)
        .output();
    match timeout(TIME_LIMIT, output).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => String::new(),
    }
}

fn judge(output: &std::process::Output) -> Result<(), NftError> {
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused {
        message: message
            .lines()
            .next()
            .unwrap_or("no reason given")
            .to_owned(),
    })
}
