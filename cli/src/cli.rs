//! The whole command line: the options before the command, and the command.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::args::Global;
use crate::commands::Command;
use crate::project::Context;

/// Runs compose.yaml stacks with its own container engine.
#[derive(Debug, Parser)]
#[command(
    name = "wharfie",
    version,
    propagate_version = false,
    max_term_width = 100
)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the arguments. What they leave open is taken from the environment, and what that
    /// leaves open from the `.env` files: `COMPOSE_PROGRESS` and its like may stand there.
    pub(crate) fn parse_with_dotenv(args: impl Iterator<Item = OsString>) -> Self {
        let args: Vec<OsString> = args.collect();
        let first = Self::parse_from(&args);
        let variables = match Context::new(first.global.clone()) {
            Ok(context) => context.options_of_dotenv(),
            Err(_) => BTreeMap::new(),
        };
        if variables.is_empty() {
            return first;
        }
        let command = with_defaults(Self::command(), &variables);
        let matches = command.get_matches_from(&args);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command with these values of variables as the defaults of the options they stand for.
fn with_defaults(command: clap::Command, variables: &BTreeMap<String, String>) -> clap::Command {
    let command = command.mut_args(|arg| {
        let variable = arg.get_env().and_then(|it| it.to_str());
        match variable.and_then(|it| variables.get(it)) {
            Some(value) if !value.is_empty() => arg.default_value(value.clone()),
            Some(_) | None => arg,
        }
    });
    command.mut_subcommands(|it| with_defaults(it, variables))
}
