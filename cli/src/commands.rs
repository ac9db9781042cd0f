//! The commands: one file each, with its arguments (whose comments are the help) and its `run`.

use clap::Subcommand;

use self::refused::Missing;
pub(crate) use crate::error::Outcome;
use crate::project::Context;

pub(crate) mod agent;
mod attach;
mod check;
mod cluster;
mod config;
mod cp;
mod create;
mod down;
mod events;
mod exec;
mod export;
mod image;
mod images;
mod join;
mod kill;
mod logs;
mod ls;
mod network;
mod node;
mod pause;
mod port;
mod ps;
mod pull;
pub(crate) mod refused;
mod restart;
mod rm;
mod rollback;
mod run;
mod scale;
mod secret;
mod start;
mod stats;
mod stop;
mod top;
mod up;
mod version;
mod volume;
mod volumes;
mod wait;
mod watch;
mod why;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Down(down::Args),
    Ps(ps::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Run(run::Args),
    Attach(attach::Args),
    Cp(cp::Args),
    Create(create::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Pause(pause::Args),
    Unpause(pause::UnpauseArgs),
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
    Stats(stats::Args),
    Watch(watch::Args),
    Wait(wait::Args),
    Why(why::Args),
    Events(events::Args),
    Export(export::Args),
    Image(image::Args),
    Volume(volume::Args),
    Volumes(volumes::Args),
    Network(network::Args),
    Secret(secret::Args),
    Cluster(cluster::Args),
    Join(join::Args),
    Leave(join::Leave),
    Node(node::Args),
    Agent(agent::Args),
    Version(version::Args),
    #[command(hide = true)]
    Build(refused::Args),
    #[command(hide = true)]
    Push(refused::Args),
    #[command(hide = true)]
    Commit(refused::Args),
    #[command(hide = true)]
    Swarm(refused::Args),
    #[command(hide = true)]
    Stack(refused::Args),
    #[command(hide = true)]
    Service(refused::Args),
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
            Self::Why(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Image(args) => args.run(context).await,
            Self::Volume(args) => args.run(context).await,
            Self::Volumes(args) => args.run(context).await,
            Self::Network(args) => args.run(context).await,
            Self::Secret(args) => args.run(context).await,
            Self::Cluster(args) => args.run(context).await,
            Self::Join(args) => args.run(context).await,
            Self::Leave(args) => args.run(context).await,
            Self::Node(args) => args.run(context).await,
            Self::Agent(args) => args.run().await,
            Self::Version(args) => args.run(),
            Self::Build(args) => args.run(Missing::Build),
            Self::Push(args) => args.run(Missing::Push),
            Self::Watch(args) => args.run(context).await,
            Self::Commit(args) => args.run(Missing::Commit),
            Self::Swarm(args) => args.run(Missing::Swarm),
            Self::Stack(args) => args.run(Missing::Stack),
            Self::Service(args) => args.run(Missing::Service),
            Self::Pause(args) => args.run(context).await,
            Self::Unpause(args) => args.run(context).await,
            Self::Attach(args) => args.run(context).await,
            Self::Cp(args) => args.run(context).await,
            Self::Stats(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
        }
    }
}
