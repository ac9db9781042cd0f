//! The commands: one file each, with its arguments (whose comments are the help) and its `run`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Failure;
use crate::project::Context;

pub(crate) mod agent;
mod check;
mod cluster;
mod config;
mod create;
mod down;
mod events;
mod exec;
mod image;
mod images;
mod join;
mod kill;
mod logs;
mod ls;
mod network;
mod node;
mod port;
mod ps;
mod pull;
mod restart;
mod rm;
mod rollback;
mod run;
mod scale;
mod start;
mod stop;
mod top;
mod up;
mod version;
mod volume;
mod wait;

/// The exit code, or why there is none to be proud of.
pub(crate) type Outcome = Result<ExitCode, Failure>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Down(down::Args),
    Ps(ps::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Run(run::Args),
    Create(create::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Rm(rm::Args),
    Rollback(rollback::Args),
    Scale(scale::Args),
    Pull(pull::Args),
    #[command(alias = "convert")]
    Config(config::Args),
    Check(check::Args),
    Ls(ls::Args),
    Images(images::Args),
    Port(port::Args),
    Top(top::Args),
    Wait(wait::Args),
    Events(events::Args),
    Image(image::Args),
    Volume(volume::Args),
    Network(network::Args),
    Cluster(cluster::Args),
    Join(join::Args),
    Leave(join::Leave),
    Node(node::Args),
    Agent(agent::Args),
    Version(version::Args),
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Up(args) => args.run(context).await,
            Self::Down(args) => args.run(context).await,
            Self::Ps(args) => args.run(context).await,
            Self::Logs(args) => args.run(context).await,
            Self::Exec(args) => args.run(context).await,
            Self::Run(args) => args.run(context).await,
            Self::Create(args) => args.run(context).await,
            Self::Start(args) => args.run(context).await,
            Self::Stop(args) => args.run(context).await,
            Self::Restart(args) => args.run(context).await,
            Self::Kill(args) => args.run(context).await,
            Self::Rm(args) => args.run(context).await,
            Self::Rollback(args) => args.run(context).await,
            Self::Scale(args) => args.run(context).await,
            Self::Pull(args) => args.run(context).await,
            Self::Config(args) => args.run(context).await,
            Self::Check(args) => args.run(context),
            Self::Ls(args) => args.run(context).await,
            Self::Images(args) => args.run(context).await,
            Self::Port(args) => args.run(context).await,
            Self::Top(args) => args.run(context).await,
            Self::Wait(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Image(args) => args.run(context).await,
            Self::Volume(args) => args.run(context).await,
            Self::Network(args) => args.run(context).await,
            Self::Cluster(args) => args.run(context).await,
            Self::Join(args) => args.run(context).await,
            Self::Leave(args) => args.run(context).await,
            Self::Node(args) => args.run(context).await,
            Self::Agent(args) => args.run().await,
            Self::Version(args) => args.run(),
        }
    }
}
