//! `wharfie`: the command line of wharfie, and the node itself (`wharfie agent`).
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`], [`args`], [`commands`] | what can be asked for; a file for each command |
//! | [`project`] | which files, variables and name a command is about |
//! | [`disk`], [`remote`] | where these files are read, and fetched from elsewhere |
//! | [`connect`], [`docker`] | the client of the node's socket, and the answers it reads |
//! | [`deploy`], [`follow`], [`progress`] | asks for a change, waits for it, shows it |
//! | [`log`], [`session`], [`terminal`] | what containers say, and talking to them |
//! | [`output`], [`error`] | everything that is printed |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod cli;
mod commands;
mod connect;
mod deploy;
mod disk;
mod docker;
mod error;
mod follow;
mod log;
mod nodes;
mod output;
mod progress;
mod project;
mod remote;
mod session;
mod terminal;

use std::ffi::OsString;
use std::pin::Pin;
use std::process::ExitCode;

use crate::cli::Cli;
use crate::commands::Command;
use crate::commands::refused::Missing;
use crate::error::{Failure, Outcome};
use crate::project::Context;

fn main() -> ExitCode {
    // Before anything else: a shim must not start threads, and reads no arguments of ours.
    if agent::container::shim::is_shim() {
        return agent::container::shim::run();
    }
    let Cli { global, command } = Cli::parse_with_dotenv(without_compose(std::env::args_os()));
    let colour = project::colour(global.ansi, output::stderr_is_terminal());
    let outcome = run(global, command);
    terminal::restore();
    match outcome {
        Ok(code) => code,
        Err(failure) => ExitCode::from(failure.report(colour)),
    }
}

fn run(global: args::Global, command: Command) -> Outcome {
    if global.dry_run {
        return Err(Missing::DryRun.refusal());
    }
    let mut runtime = match command {
        // A node serves many at once; a command waits for one thing after the other.
        Command::Agent(_) => {
            agent::heap::keep_little();
            tokio::runtime::Builder::new_multi_thread()
        }
        _ => {
            agent::heap::take_much();
            tokio::runtime::Builder::new_current_thread()
        }
    };
    runtime.thread_keep_alive(agent::heap::IDLE);
    let runtime = runtime.enable_all().build().map_err(Failure::from)?;
    // In a box, or all commands would be compiled once for each kind of runtime.
    let work: Pin<Box<dyn Future<Output = Outcome>>> =
        Box::pin(async { command.run(&Context::new(global)?).await });
    let outcome = runtime.block_on(work);
    // A thread that still reads standard input must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

/// Drops the word `compose` from `wharfie compose up`, for fingers that are used to it.
fn without_compose(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.enumerate()
        .filter(|(index, arg)| *index != 1 || arg != "compose")
        .map(|(_, arg)| arg)
}
