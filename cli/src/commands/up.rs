//! `up`: makes the stack run as its files say, and stays with it unless told otherwise.
//!
//!     load ─► PUT stack ─► progress ─┬─ -d, --wait: converged ─► exit
//!                                    └─ attached: logs ─ Ctrl-C ─► stop ─ Ctrl-C ─► kill

use std::collections::BTreeMap;

use agent::api::x::{DeployRequest, Recreate};
use clap::ValueEnum;
use hyper::Method;
use scheduler::model::container::PullPolicy;
use scheduler::model::stack::Stack;
use scheduler::status::StackStatus;

use super::watch::Watcher;
use super::{Outcome, pull};
use crate::connect::Client;
use crate::deploy::{self, with_dependencies};
use crate::error::Failure;
use crate::follow::{self, Verdict, Want, stack_path};
use crate::progress::{Differ, Intent};
use crate::project::{Context, no_such_service};

mod attached;

pub(super) use attached::label;

/// Create and start containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Run in the background, and wait until all are running or healthy
    #[arg(long)]
    wait: bool,
    /// Seconds that --wait may take
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Number of containers of a service; may be repeated
    #[arg(long, value_name = "SERVICE=NUM", value_parser = parse_scale)]
    scale: Vec<(String, u32)>,
    /// Recreate containers even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Leave existing containers as they are
    #[arg(long)]
    no_recreate: bool,
    /// Leave the services that these depend on alone
    #[arg(long)]
    no_deps: bool,
    /// Create containers, but do not start them
    #[arg(long, conflicts_with_all = ["wait", "detach"])]
    no_start: bool,
    /// Remove containers of services that are not in the file
    #[arg(
        long,
        env = "COMPOSE_REMOVE_ORPHANS",
        hide_env = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    remove_orphans: bool,
    /// Seconds until a container that does not stop is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// When images are pulled [default: as the file says]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// Say nothing about pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Give new containers new anonymous volumes, instead of those of the old ones
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Stop all when one container has ended
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Stop all when one container has failed
    #[arg(long, conflicts_with_all = ["detach", "abort_on_container_exit"])]
    abort_on_container_failure: bool,
    /// Exit with the code of this service's container; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Show the output of these services only
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    attach: Vec<String>,
    /// Do not show the output of these services
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    no_attach: Vec<String>,
    /// Print without colours
    #[arg(long)]
    no_color: bool,
    /// Print without the names of the containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Print the time of each line
    #[arg(long)]
    timestamps: bool,
    /// Copy files into the containers when they change, as `develop.watch` says
    #[arg(short, long, conflicts_with_all = ["detach", "wait", "no_start"])]
    watch: bool,
    /// Answer every question with yes
    #[arg(short, long = "yes")]
    yes: bool,
    /// Services to start [default: all]
    services: Vec<String>,
}

/// `--pull`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Pull {
    Always,
    Missing,
    Never,
    // As the file says
    Policy,
}

impl Pull {
    pub(super) fn policy(self) -> Option<PullPolicy> {
        match self {
            Self::Always => Some(PullPolicy::Always),
            Self::Missing => Some(PullPolicy::Missing),
            Self::Never => Some(PullPolicy::Never),
            Self::Policy => None,
        }
    }
}

/// Reads `web=3`.
pub(super) fn parse_scale(text: &str) -> Result<(String, u32), String> {
    let parsed = text.split_once('=').and_then(|(service, count)| {
        Some((service.to_owned(), count.parse().ok()?)).filter(|(service, _)| !service.is_empty())
    });
    parsed.ok_or_else(|| "expected SERVICE=NUM".to_owned())
}

/// A deployment that the node does not know of yet.
struct Prepared {
    client: Client,
    request: DeployRequest,
    scope: Vec<String>,
    before: StackStatus,
}

impl Prepared {
    async fn send(self) -> Result<Deployed, Failure> {
        let path = stack_path(&self.request.stack.name, "");
        let accepted = deploy::ask(&self.client, Method::PUT, &path, &self.request).await?;
        Ok(Deployed {
            client: self.client,
            stack: self.request.stack,
            scope: self.scope,
            revision: accepted.revision,
            before: self.before,
        })
    }
}

/// A deployment that the node has accepted.
struct Deployed {
    client: Client,
    stack: Stack,
    /// What is waited for: the named services and what they need.
    scope: Vec<String>,
    revision: u64,
    before: StackStatus,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.detach || self.wait || self.no_start {
            let deployed = self.prepare(context).await?.send().await?;
            return self.wait_for(context, &deployed).await;
        }
        if !self.watch {
            return attached::run(&self, context).await;
        }
        let mut watcher = Watcher::new(context, &self.services)?;
        tokio::select! {
            outcome = attached::run(&self, context) => outcome,
            outcome = watcher.run(context) => outcome,
        }
    }

    /// All up to the request, which alone changes something.
    async fn prepare(&self, context: &Context) -> Result<Prepared, Failure> {
        let project = context.load_with(&self.services)?;
        self.check(&project.stack)?;
        let client = context.node().await?;
        let scope = match self.no_deps && !self.services.is_empty() {
            true => self.services.clone(),
            false => with_dependencies(&project.stack, &self.services),
        };
        if context.parallel() != usize::MAX {
            let services = scope.iter().filter_map(|it| project.stack.services.get(it));
            let containers = services.map(|it| it.container.as_ref());
            let asked = self.pull.and_then(Pull::policy);
            pull::ahead(context, &client, containers, asked, self.quiet_pull).await?;
        }
        let before = follow::status(&client, &project.name).await?;
        Ok(Prepared {
            client,
            request: self.request(project.stack),
            scope,
            before,
        })
    }

    /// Names in options are names of services.
    fn check(&self, stack: &Stack) -> Result<(), Failure> {
        let scaled = self.scale.iter().map(|(service, _)| service);
        let named = scaled
            .chain(&self.attach)
            .chain(&self.no_attach)
            .chain(&self.exit_code_from);
        match named
            .into_iter()
            .find(|it| !stack.services.contains_key(*it))
        {
            Some(unknown) => Err(no_such_service(unknown, stack.services.keys())),
            None => Ok(()),
        }
    }

    fn request(&self, stack: Stack) -> DeployRequest {
        DeployRequest {
            registry_auth: crate::connect::credentials::for_images(
                stack
                    .services
                    .values()
                    .map(|it| it.container.image.as_str()),
            ),
            stack,
            services: self.services.clone(),
            no_deps: self.no_deps,
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Force,
                (false, true) => Recreate::Never,
                (false, false) => Recreate::IfChanged,
            },
            scale: self.scale.iter().cloned().collect::<BTreeMap<_, _>>(),
            remove_orphans: self.remove_orphans,
            timeout: self.timeout,
            pull: self.pull.and_then(Pull::policy),
            no_start: self.no_start,
            renew_anonymous_volumes: self.renew_anon_volumes,
        }
    }

    /// Speaks of the named services and what they need, of everything when none is named.
    fn differ(&self, deployed: &Deployed, intent: Intent) -> Differ {
        let differ = Differ::new(&deployed.before, intent);
        let mut differ = match self.services.is_empty() {
            true => differ,
            false => differ.only(&deployed.scope),
        };
        if self.quiet_pull {
            differ.hide_pulls();
        }
        differ
    }

    async fn wait_for(&self, context: &Context, deployed: &Deployed) -> Outcome {
        let (want, intent, title) = match (self.no_start, self.wait) {
            (true, _) => (Want::Created, Intent::Up, "Creating"),
            (false, true) => (Want::Healthy, Intent::UpAndWait, "Running"),
            (false, false) => (Want::Started, Intent::Up, "Running"),
        };
        let mut differ = self.differ(deployed, intent);
        let mut progress = context.progress(title);
        let goal = |stack: &StackStatus| match follow::reached(stack, &deployed.scope, want) {
            Verdict::Reached if self.remove_orphans && follow::is_leaving(stack) => Verdict::NotYet,
            verdict => verdict,
        };
        let converge = follow::converge(
            &deployed.client,
            &deployed.stack.name,
            deployed.revision,
            &mut differ,
            &mut progress,
            goal,
        );
        let limited = async {
            match self.wait_timeout.filter(|_| self.wait) {
                None => Ok(converge.await?),
                Some(seconds) => {
                    let limit = std::time::Duration::from_secs(seconds);
                    match tokio::time::timeout(limit, converge).await {
                        Ok(done) => Ok(done?),
                        Err(_) => Err(Failure::new(format!(
                            "application not healthy after {seconds}s"
                        ))),
                    }
                }
            }
        };
        let (verdict, status): (Verdict, StackStatus) = deploy::interruptible(limited).await?;
        deploy::finish(&deployed.client, &verdict, &status).await
    }
}
