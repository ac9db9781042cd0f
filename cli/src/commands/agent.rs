//! `agent`: the node itself, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use agent::process::{Ended, Resources};

use super::Outcome;
use crate::connect::Endpoint;
use crate::error::Failure;
use crate::project::{DATA_ROOT, EXEC_ROOT};

/// Run a node in the foreground
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where images, volumes and the state are kept
    #[arg(long, value_name = "PATH", env = "WHARFIE_DATA_ROOT", hide_env = true, default_value = DATA_ROOT)]
    pub(crate) data_root: PathBuf,
    /// Where sockets and the files of running containers are kept
    #[arg(
        long,
        value_name = "PATH",
        env = "WHARFIE_EXEC_ROOT",
        hide_env = true,
        default_value = EXEC_ROOT
    )]
    pub(crate) exec_root: PathBuf,
    /// Address to listen on; may be repeated [default: unix://<exec-root>/wharfie.sock]
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    pub(crate) hosts: Vec<Endpoint>,
    /// File for the process id
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Address to listen on for other nodes, instead of the one that was chosen with `cluster init` or `join`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen_addr: Option<String>,
    /// Address that other nodes reach this one at, instead of the one that was chosen before
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise_addr: Option<String>,
    /// Registry to speak to in clear, HOST or HOST:PORT; may be repeated
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    pub(crate) insecure_registries: Vec<String>,
    /// Label of this node, for constraints on `engine.labels.KEY`; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair::<String>)]
    pub(crate) labels: Vec<(String, String)>,
    /// Things of this node that services may reserve: how many (`gpu=2`), or each by its name (`gpu=UUID1,gpu=UUID2`); may be repeated
    #[arg(long = "node-generic-resource", value_name = "KIND=COUNT|NAME")]
    pub(crate) generic_resources: Vec<String>,
    /// error, warn, info, debug or trace, for all or for a module
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log_level: String,
    /// Become independent of the terminal and the command that started it
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

impl Args {
    pub(crate) async fn run(self) -> Outcome {
        if self.detached {
            // Started from a session's leader this fails, and that is one of its own already.
            let _ = nix::unistd::setsid();
        }
        let resources = self.generic_resources.iter().map(String::as_str);
        let resources = Resources::parse(resources).map_err(Failure::from)?;
        let config = agent::process::Config {
            listen: self.listen()?,
            data_root: self.data_root,
            exec_root: self.exec_root,
            pidfile: self.pidfile,
            listen_addr: self.listen_addr,
            advertise_addr: self.advertise_addr,
            insecure_registries: self.insecure_registries,
            labels: self.labels.into_iter().collect(),
            generic_resources: resources,
        };
        agent::process::log_to_stderr(&self.log_level).map_err(Failure::from)?;
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signal(shutdown.clone()));
        match agent::process::run(config, shutdown).await {
            Ok(Ended::Stopped) => Ok(ExitCode::SUCCESS),
            Ok(Ended::Again) => Err(begin_anew()),
            Err(error) => Err(Failure::from(error)),
        }
    }

    fn listen(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.hosts.is_empty() {
            return Ok(vec![self.exec_root.join("wharfie.sock")]);
        }
        let path = |host: &Endpoint| match host {
            Endpoint::Unix(path) => Ok(path.clone()),
            Endpoint::Tcp(_) => Err(Failure::new("a node does not listen on TCP yet")
                .hint("Whoever reaches the API is root: use a unix socket, or ssh to one.")),
        };
        self.hosts.iter().map(path).collect()
    }
}

/// `KEY=VALUE`.
fn pair<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(String, T), String> {
    let (key, value) = text.split_once('=').ok_or("there is no `=` in it")?;
    if key.is_empty() {
        return Err("there is nothing before the `=`".to_owned());
    }
    let value = value
        .parse()
        .map_err(|error: T::Err| format!("`{value}`: {error}"))?;
    Ok((key.to_owned(), value))
}

/// Runs this program again in this process, with the arguments it had. Returns only when it cannot.
fn begin_anew() -> Failure {
    use std::os::unix::process::CommandExt as _;

    // The file that runs, even if it has been replaced since.
    let error = std::process::Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .exec();
    Failure::from(error)
}

/// Ends the node, not its containers.
async fn stop_on_signal(shutdown: CancellationToken) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    shutdown.cancel();
}
