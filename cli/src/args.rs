//! The options that stand before the command.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::connect::Endpoint;

/// Options that stand before the command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Compose file, `-` for standard input, or a Git or oci:// URL; may be repeated
    #[arg(short, long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the project
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Enable a profile; may be repeated
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// File of variables for the Compose file; may be repeated
    #[arg(long = "env-file", value_name = "PATH")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Directory that relative paths start from [default: that of the first Compose file]
    #[arg(long, value_name = "PATH")]
    pub(crate) project_directory: Option<PathBuf>,
    /// Keep networks, volumes, secrets and configs that no service uses
    #[arg(long)]
    pub(crate) all_resources: bool,
    /// How many images are pulled at a time; -1 is all of them
    #[arg(
        long,
        value_name = "NUM",
        default_value = "-1",
        hide_default_value = true,
        allow_negative_numbers = true,
        env = "COMPOSE_PARALLEL_LIMIT",
        hide_env = true
    )]
    pub(crate) parallel: i32,
    /// Refused by name: what would happen cannot be told yet
    #[arg(long, global = true, hide = true)]
    pub(crate) dry_run: bool,
    /// How progress is shown
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "COMPOSE_PROGRESS",
        hide_env = true
    )]
    pub(crate) progress: ProgressMode,
    /// When colours are used
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "COMPOSE_ANSI",
        hide_env = true
    )]
    pub(crate) ansi: Ansi,
    /// Node to talk to [default: unix:///run/wharfie/wharfie.sock, started when needed]
    #[arg(
        short = 'H',
        long,
        value_name = "ADDRESS",
        env = "WHARFIE_HOST",
        hide_env_values = true
    )]
    pub(crate) host: Option<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    // A board on a terminal, lines elsewhere
    Auto,
    // A board that is drawn anew
    Tty,
    // A line for each event
    Plain,
    // A JSON object for each event
    Json,
    // Nothing
    Quiet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ansi {
    Auto,
    Always,
    Never,
}
