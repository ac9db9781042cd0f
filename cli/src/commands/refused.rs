//! Commands of Docker that wharfie does not have: each says so, and what to do instead.

use super::Outcome;
use crate::error::Failure;

/// Whatever was asked for.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// One that is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    Build,
    Push,
    Commit,
    DryRun,
    Swarm,
    Stack,
    Service,
}

impl Args {
    pub(crate) fn run(self, what: Missing) -> Outcome {
        Err(what.refusal())
    }
}

impl Missing {
    pub(crate) fn refusal(self) -> Failure {
        let (what, instead) = match self {
            Self::Swarm => {
                return other(
                    "swarm",
                    "`wharfie cluster init`, `wharfie join` and `wharfie leave` make clusters; see also `wharfie cluster --help`.",
                );
            }
            Self::Stack => {
                return other(
                    "stack",
                    "`wharfie up -d`, `down` and `ps` are about the stack of the Compose file; `wharfie ls` lists all.",
                );
            }
            Self::Service => {
                return other(
                    "service",
                    "`wharfie ps`, `logs`, `scale`, `rollback` and `why` take services of the Compose file; `wharfie up -d` updates them.",
                );
            }
            Self::Build => (
                "build",
                "Build the image with another tool, and load it: `wharfie image load -i FILE`, or `wharfie image import` for a tar of its files.",
            ),
            Self::Push => (
                "push",
                "Push with the tool that built the image; `wharfie pull` and `up` fetch it from its registry.",
            ),
            Self::Commit => (
                "commit",
                "Write the container's files with `wharfie export -o FILE SERVICE`, and make an image of them: `wharfie image import`.",
            ),
            Self::DryRun => (
                "--dry-run",
                "See what the file says with `wharfie config`, and what is running with `wharfie ps`.",
            ),
        };
        Failure::new(format!("`{what}` is not part of wharfie yet")).hint(instead)
    }
}

/// One that has another name here.
fn other(what: &str, instead: &str) -> Failure {
    Failure::new(format!("`{what}` is not a command of wharfie")).hint(instead)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn words_of_swarm_are_understood_to_be_answered() {
        for line in ["swarm init", "stack deploy -c a.yaml shop", "service ls"] {
            let words = ["wharfie"].into_iter().chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
