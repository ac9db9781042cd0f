//! `watch`: copies files into containers when they change here, and does what belongs to it.
//!
//! ```text
//! trees on disk ──look, twice a second──► changes ──► sync │ restart │ sync+restart │ sync+exec
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`pattern`] | which files count (pure) |
//! | [`tree`] | what a tree looks like, and what has changed since |
//! | [`copy`] | changes into a container |
//!
//! The trees are looked at instead of being told of by the kernel: that works on every file system,
//! misses nothing, and has no limit on how many directories there are.

mod copy;
mod pattern;
mod tree;

use std::time::Duration;

use agent::api::x::ServicesRequest;
use clap::FromArgMatches;
use scheduler::compose::{Action, Watch};

use self::pattern::Patterns;
use self::tree::{Changes, Tree};
use super::{Outcome, up};
use crate::connect::Client;
use crate::deploy::ServiceAction;
use crate::docker::{self, Container};
use crate::error::{Failure, INTERRUPTED};
use crate::follow::{self, Want};
use crate::output;
use crate::progress::Intent;
use crate::project::Context;

/// Short enough to feel at once, long enough for an editor to have written all of it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Copy files into containers when they change, as `develop.watch` says
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not bring the services up first
    #[arg(long)]
    no_up: bool,
    /// Say nothing about what is copied
    #[arg(long)]
    quiet: bool,
    /// Services to watch for [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut watcher = Watcher::new(context, &self.services)?;
        watcher.quiet = self.quiet;
        if !self.no_up {
            let words = ["up", "--detach"].into_iter().map(str::to_owned);
            let words = words.chain(self.services.iter().cloned());
            let command = <up::Args as clap::Args>::augment_args(clap::Command::new("up"));
            let matches = command.try_get_matches_from(words)?;
            up::Args::from_arg_matches(&matches)?.run(context).await?;
        }
        tokio::select! {
            outcome = watcher.run(context) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(INTERRUPTED)),
        }
    }
}

/// Everything that is watched in a project.
pub(super) struct Watcher {
    project: String,
    client: Client,
    watched: Vec<Watched>,
    quiet: bool,
}

/// One entry of `develop.watch` of one service.
struct Watched {
    service: String,
    wish: Watch,
    patterns: Patterns,
    seen: Tree,
    /// Everything is to be copied as soon as there is somewhere to copy it to.
    owed: bool,
}

impl Watcher {
    /// Reads what is to be watched, and what it looks like now.
    ///
    /// # Errors
    ///
    /// Fails when no service has anything to watch, and for what cannot be done: to build an image.
    pub(super) fn new(context: &Context, services: &[String]) -> Result<Self, Failure> {
        let project = context.load_with(services)?;
        let mut watched = Vec::new();
        for (service, wishes) in project.watches() {
            if !services.is_empty() && !services.contains(&service) {
                continue;
            }
            for wish in wishes {
                watched.push(Watched::new(service.clone(), wish)?);
            }
        }
        if watched.is_empty() {
            return Err(Failure::new("no service says what to watch").hint(
                "Write `develop: {watch: [{path: ./src, action: sync, target: /app}]}` in one.",
            ));
        }
        Ok(Self {
            project: project.name,
            client: context.client(),
            watched,
            quiet: false,
        })
    }

    /// Goes on until something fails that will not mend itself.
    pub(super) async fn run(&mut self, context: &Context) -> Outcome {
        self.say("Watch enabled");
        loop {
            for at in 0..self.watched.len() {
                // What went wrong once may go well the next time a file is written.
                if let Err(failure) = self.turn(context, at).await {
                    failure.report(context.error_colour());
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Looks at one tree, and does what its changes ask for.
    async fn turn(&mut self, context: &Context, at: usize) -> Result<(), Failure> {
        let Some(it) = self.watched.get_mut(at) else {
            return Ok(());
        };
        let mut changes = it.look();
        if it.owed {
            let service = it.service.clone();
            // `up --watch` watches before there are containers.
            if self.containers(&service).await?.is_empty() {
                return Ok(());
            }
            let it = &mut self.watched[at];
            it.owed = false;
            changes = it.seen.everything();
        }
        match changes.is_empty() {
            true => Ok(()),
            false => self.act(context, &self.watched[at], &changes).await,
        }
    }

    async fn act(&self, context: &Context, it: &Watched, changes: &Changes) -> Result<(), Failure> {
        let (service, count) = (&it.service, changes.len());
        let target = it.wish.target.as_deref().unwrap_or("/");
        if it.wish.action.copies() {
            self.say(&format!(
                "Syncing service \"{service}\" after {count} changes were detected"
            ));
            for container in self.containers(service).await? {
                copy::changed(&self.client, &container, &it.wish.path, changes, target).await?;
            }
        }
        match it.wish.action {
            Action::Sync | Action::Rebuild => Ok(()),
            Action::Restart | Action::SyncRestart => self.restart(context, service).await,
            Action::SyncExec => {
                let Some(hook) = &it.wish.exec else {
                    return Ok(());
                };
                for container in self.containers(service).await? {
                    copy::run(&self.client, &container, hook).await?;
                }
                Ok(())
            }
        }
    }

    async fn containers(&self, service: &str) -> Result<Vec<Container>, Failure> {
        let mut found = docker::containers(&self.client, &self.project).await?;
        found.retain(|it| it.service() == service && it.is_running() && !it.is_one_off());
        Ok(found)
    }

    async fn restart(&self, context: &Context, service: &str) -> Result<(), Failure> {
        let action = ServiceAction {
            verb: "restart",
            title: "Restarting",
            intent: Intent::Restart,
            request: ServicesRequest {
                services: vec![service.to_owned()],
                no_deps: true,
                ..ServicesRequest::default()
            },
        };
        let goal = |stack: &scheduler::status::StackStatus, services: &[String]| {
            follow::reached(stack, services, Want::Started)
        };
        action.run(context, goal).await.map(drop)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}

impl Watched {
    fn new(service: String, wish: Watch) -> Result<Self, Failure> {
        if wish.action == Action::Rebuild {
            return Err(Failure::new(format!(
                "`rebuild` of service \"{service}\" is not part of wharfie yet, because `build` is not"
            ))
            .hint("Choose `sync` or `restart` as the `action`, or watch other services."));
        }
        let patterns = Patterns::of(&wish);
        let seen = Tree::look(&wish.path, &patterns);
        Ok(Self {
            owed: wish.initial_sync && wish.action.copies(),
            service,
            wish,
            patterns,
            seen,
        })
    }

    /// What has changed since the last look.
    fn look(&mut self) -> Changes {
        let now = Tree::look(&self.wish.path, &self.patterns);
        let changes = self.seen.changes_to(&now);
        self.seen = now;
        changes
    }
}
