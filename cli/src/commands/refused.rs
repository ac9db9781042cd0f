//! Commands of Docker Compose that wharfie does not have: each says so, and what to do instead.

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
}

impl Args {
    pub(crate) fn run(self, what: Missing) -> Outcome {
        Err(what.refusal())
    }
}

impl Missing {
    pub(crate) fn refusal(self) -> Failure {
        let (what, instead) = match self {
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
