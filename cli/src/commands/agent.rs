//! `agent`: the node itself, in the foreground.

use std::path::PathBuf;

use super::Outcome;
use crate::connect::Endpoint;
use crate::error::Failure;
use crate::project::DATA_ROOT;

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
        default_value = "/run/wharfie"
    )]
    pub(crate) exec_root: PathBuf,
    /// Address to listen on; may be repeated [default: unix://<exec-root>/wharfie.sock]
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    pub(crate) hosts: Vec<Endpoint>,
    /// File for the process id
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfile: Option<PathBuf>,
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
        Err(Failure::new(
            "this build has no node yet: `wharfie agent` is not done",
        ))
    }
}
