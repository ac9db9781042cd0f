//! `version`: which wharfie this is.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use super::Outcome;
use crate::output;

/// Show the version
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only the number
    #[arg(long)]
    short: bool,
    #[arg(short, long, value_enum, default_value = "pretty")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Pretty,
    Json,
}

impl Args {
    pub(crate) fn run(self) -> Outcome {
        let version = env!("CARGO_PKG_VERSION");
        match (self.short, self.format) {
            (true, _) => output::line(version),
            (false, Format::Json) => output::line(json!({"version": version}).to_string()),
            (false, Format::Pretty) => output::line(format!("wharfie version {version}")),
        }
        Ok(ExitCode::SUCCESS)
    }
}
