//! An `up` that stays: progress until the containers exist, then their output until they have ended.
//!
//! The first Ctrl-C (or SIGTERM) stops the stack and waits for it, the second kills it. Either way
//! the exit code is 130, unless --exit-code-from or an --abort option says otherwise. One that comes
//! before the node was asked ends the command alone; one that comes while the node is being asked waits
//! for its answer, because what it takes on is what has to be stopped.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use agent::api::x::ServicesRequest;
use hyper::Method;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::task::{DesiredState, TaskState};
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Args, Deployed, Prepared};
use crate::commands::Outcome;
use crate::deploy;
use crate::error::{Failure, INTERRUPTED};
use crate::follow::{self, Verdict, Want, stack_path};
use crate::log::{Attachments, Message, Prefix, Printer, Style, Timestamps};
use crate::output::{self, Colour};
use crate::progress::{Differ, Intent, Kind, Progress};
use crate::project::Context;

/// How long to wait before a broken watch is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) async fn run(args: &Args, context: &Context) -> Outcome {
    let began = jiff::Timestamp::now();
    let mut interrupts = Interrupts::listen()?;
    let prepared = tokio::select! {
        prepared = args.prepare(context) => prepared?,
        () = interrupts.next() => return Err(Failure::silent(INTERRUPTED)),
    };
    let deployed = accepted(prepared, &mut interrupts).await?;
    let mut differ = args.differ(&deployed, Intent::Up);
    let mut progress = context.progress("Running");
    let goal = |stack: &StackStatus| readiness(stack, &deployed.scope);
    let converge = follow::converge(
        &deployed.client,
        &deployed.stack.name,
        deployed.revision,
        &mut differ,
        &mut progress,
        goal,
    );
    let status = tokio::select! {
        biased;
        () = interrupts.pending_or_next() => None,
        converged = converge => match converged? {
            (Verdict::Reached | Verdict::NotYet, status) => Some(status),
            (failed, status) => return deploy::finish(&deployed.client, &failed, &status).await,
        },
    };
    let style = Style {
        colour: if args.no_color {
            Colour::Off
        } else {
            context.colour()
        },
        prefix: if args.no_log_prefix {
            Prefix::Hidden
        } else {
            Prefix::Shown
        },
        timestamps: if args.timestamps {
            Timestamps::Shown
        } else {
            Timestamps::Hidden
        },
    };
    let attachments = Attachments::new(deployed.client.clone(), Some(began));
    let mut session = Session {
        args,
        differ,
        notes: Progress::plain(),
        attachments,
        printer: Printer::new(style),
        labels: BTreeMap::new(),
        said_ended: BTreeMap::new(),
        ending: None,
        status: status.clone().unwrap_or_else(|| deployed.before.clone()),
        deployed,
    };
    match status {
        Some(_) => session.introduce(),
        // Interrupted on the way: what has come up so far goes down again.
        None => session.interrupt().await?,
    }
    session.run(interrupts).await
}

/// Everything exists, waits for something else, or has failed: from here on the logs are the progress.
fn readiness(stack: &StackStatus, scope: &[String]) -> Verdict {
    if let failed @ Verdict::Failed(_) = follow::reached(stack, scope, Want::Started)
        && stack
            .services
            .iter()
            .all(|it| it.containers.iter().all(never_ran))
    {
        // Nothing has run: there is no log that could tell more.
        return failed;
    }
    let is_prepared = |it: &ServiceStatus| {
        matches!(
            it.phase,
            ServicePhase::Waiting | ServicePhase::Failed | ServicePhase::Settled
        ) || it
            .containers
            .iter()
            .filter(|it| it.current)
            .all(|it| it.state >= TaskState::Running)
    };
    let all = stack
        .services
        .iter()
        .filter(|it| scope.contains(&it.name))
        .all(is_prepared);
    if all {
        Verdict::Reached
    } else {
        Verdict::NotYet
    }
}

/// Why the stack is being ended, and the exit code of that.
#[derive(Clone, Copy)]
struct Ending {
    code: u8,
    signals: u32,
}

struct Session<'a> {
    args: &'a Args,
    deployed: Deployed,
    differ: Differ,
    notes: Progress,
    attachments: Attachments,
    printer: Printer,
    /// `web-1`
    labels: BTreeMap<ContainerId, String>,
    /// The runs whose end has been told.
    said_ended: BTreeMap<ContainerId, TaskId>,
    ending: Option<Ending>,
    status: StackStatus,
}

impl Session<'_> {
    async fn run(&mut self, mut interrupts: Interrupts) -> Outcome {
        let mut pictures = follow::watch(&self.deployed.client, &self.deployed.stack.name).await?;
        loop {
            tokio::select! {
                picture = pictures.next() => match picture? {
                    Some(picture) if picture.revision < self.deployed.revision => continue,
                    Some(picture) => self.take(picture).await?,
                    None => {
                        tokio::time::sleep(RETRY_AFTER).await;
                        pictures = follow::watch(&self.deployed.client, &self.deployed.stack.name).await?;
                    }
                },
                Some(message) = self.attachments.next() => self.print(message),
                () = interrupts.next() => self.interrupt().await?,
            }
            self.tell_ends();
            if self.is_over() {
                return self.outcome().await;
            }
        }
    }

    /// Names those whose output will be seen, so that the prefixes are aligned from the start.
    fn introduce(&mut self) {
        let names: Vec<String> = (self.status.services.iter())
            .flat_map(|service| service.containers.iter().map(move |it| (service, it)))
            .filter(|(service, container)| {
                is_attached(self.args, &self.deployed, &service.name, container)
            })
            .map(|(_, container)| label(&self.deployed.stack.name, container))
            .collect();
        for name in &names {
            self.printer.expect(name);
        }
        if !names.is_empty() {
            output::line(format!("Attaching to {}", names.join(", ")));
        }
    }

    async fn take(&mut self, picture: StackStatus) -> Result<(), Failure> {
        let picture = self.differ.past().judge(picture);
        for event in self.differ.events(&picture) {
            // What was started is told by its log; what waits, fails or is stopped is not.
            let matters =
                event.word == "Waiting" || event.kind == Kind::Error || self.ending.is_some();
            if matters {
                self.notes.show(event);
            }
        }
        for container in picture.services.iter().flat_map(|it| &it.containers) {
            let name = label(&picture.name, container);
            self.labels.insert(container.id.clone(), name);
        }
        let (args, deployed) = (self.args, &self.deployed);
        self.attachments.notice(&picture, |service, container| {
            is_attached(args, deployed, service, container)
        });
        self.status = picture;
        if self.ending.is_none()
            && let Some(code) = self.abort_code()
        {
            output::line("Aborting on container exit...");
            self.ending = Some(Ending { code, signals: 0 });
            self.end_stack("stop", None).await?;
        }
        Ok(())
    }

    /// The containers that this command is about.
    fn scoped(&self) -> impl Iterator<Item = (&ServiceStatus, &ContainerStatus)> {
        let services = self
            .status
            .services
            .iter()
            .filter(|it| self.deployed.scope.contains(&it.name));
        services.flat_map(|service| {
            service
                .containers
                .iter()
                .filter(|it| !it.one_off)
                .map(move |it| (service, it))
        })
    }

    /// The exit code when a container has ended that must not.
    fn abort_code(&self) -> Option<u8> {
        let on_exit = self.args.abort_on_container_exit || self.args.exit_code_from.is_some();
        let on_failure = self.args.abort_on_container_failure;
        let ended = |it: &ContainerStatus| {
            it.state.is_terminal() && it.exit_code.is_some() && it.desired != DesiredState::Remove
        };
        let mut ended = self.scoped().filter(|(_, it)| ended(it));
        let code = match (on_exit, on_failure) {
            (true, _) => ended.next()?.1.exit_code,
            (false, true) => ended.find(|(_, it)| it.exit_code != Some(0))?.1.exit_code,
            (false, false) => return None,
        };
        Some(exit_code(code))
    }

    fn print(&mut self, message: Message) {
        if let Message::Line { container, line } = message {
            let label = self
                .labels
                .get(&container)
                .map_or_else(|| container.short(), String::as_str);
            self.printer.print(label, &line);
        }
    }

    /// `web-1 exited with code 0`, once everything that it said has been printed.
    fn tell_ends(&mut self) {
        let mut told = Vec::new();
        for (service, it) in self.scoped() {
            let is_told = self.said_ended.get(&it.id) == Some(&it.task);
            let Some(code) = it.exit_code.filter(|_| it.state.is_terminal()) else {
                continue;
            };
            let was_running = !self.was_over_before(it);
            if !is_told && was_running && self.attachments.is_drained(&it.id) && service.attach {
                told.push((
                    it.id.clone(),
                    it.task.clone(),
                    label(&self.status.name, it),
                    code,
                ));
            }
        }
        for (id, task, label, code) in told {
            output::line(format!("{label} exited with code {code}"));
            self.said_ended.insert(id, task);
        }
    }

    fn was_over_before(&self, container: &ContainerStatus) -> bool {
        let mut before = self
            .deployed
            .before
            .services
            .iter()
            .flat_map(|it| &it.containers);
        before.any(|it| it.task == container.task && it.state.is_terminal())
    }

    async fn interrupt(&mut self) -> Result<(), Failure> {
        let signals = self.ending.map_or(0, |it| it.signals) + 1;
        let code = self.ending.map_or(INTERRUPTED, |it| it.code);
        self.ending = Some(Ending { code, signals });
        if signals == 1 {
            output::note("\nGracefully Stopping... press Ctrl+C again to force");
            self.end_stack("stop", None).await
        } else {
            self.end_stack("kill", Some("SIGKILL")).await
        }
    }

    async fn end_stack(&self, verb: &str, signal: Option<&str>) -> Result<(), Failure> {
        let request = ServicesRequest {
            services: self.deployed.scope.clone(),
            timeout: self.args.timeout,
            signal: signal.map(str::to_owned),
            ..ServicesRequest::default()
        };
        let path = stack_path(&self.deployed.stack.name, &format!("/{verb}"));
        deploy::ask(&self.deployed.client, Method::POST, &path, &request).await?;
        Ok(())
    }

    /// Nothing runs, nothing will run, and everything has been printed.
    fn is_over(&self) -> bool {
        let mut services = self
            .status
            .services
            .iter()
            .filter(|it| self.deployed.scope.contains(&it.name));
        let is_quiet = |service: &ServiceStatus| {
            let will_run = self.ending.is_none()
                && matches!(
                    service.phase,
                    ServicePhase::Progressing | ServicePhase::Waiting
                );
            let will_not_begin = self.ending.is_some() || service.phase == ServicePhase::Failed;
            let is_over = |it: &ContainerStatus| {
                (it.state.is_terminal() || will_not_begin && it.state < TaskState::Starting)
                    && self.attachments.is_drained(&it.id)
            };
            !will_run
                && service
                    .containers
                    .iter()
                    .filter(|it| !it.one_off)
                    .all(is_over)
        };
        services.all(is_quiet)
    }

    async fn outcome(&self) -> Outcome {
        if let Some(service) = &self.args.exit_code_from {
            let container = self.scoped().find(|(it, _)| it.name == *service);
            return Ok(ExitCode::from(exit_code(
                container.and_then(|(_, it)| it.exit_code),
            )));
        }
        if let Some(ending) = self.ending {
            return Ok(ExitCode::from(ending.code));
        }
        // A container that ended with an error has told its story; one that could not start has not.
        let failed: Vec<&ServiceStatus> = (self.status.services.iter())
            .filter(|it| self.deployed.scope.contains(&it.name))
            .filter(|it| it.phase == ServicePhase::Failed)
            .collect();
        let none_ran = |it: &&ServiceStatus| it.containers.iter().all(never_ran);
        let verdict = match failed.iter().any(none_ran) {
            false => Verdict::Reached,
            true => Verdict::Failed(failed.iter().map(|it| it.name.clone()).collect()),
        };
        deploy::finish(&self.deployed.client, &verdict, &self.status).await
    }
}

/// Its log has nothing to tell.
fn never_ran(container: &ContainerStatus) -> bool {
    container.exit_code.is_none() || container.unstarted
}

fn is_attached(
    args: &Args,
    deployed: &Deployed,
    service: &str,
    container: &ContainerStatus,
) -> bool {
    let wants = |it: &str| deployed.stack.services.get(it).is_none_or(|it| it.attach);
    let is_named = args.services.is_empty() || args.services.iter().any(|it| it == service);
    let is_chosen = match args.attach.is_empty() {
        true => is_named && wants(service),
        false => args.attach.iter().any(|it| it == service),
    };
    is_chosen
        && !container.one_off
        && deployed.scope.iter().any(|it| it == service)
        && !args.no_attach.iter().any(|it| it == service)
}

/// `web-1`: the container's name without that of the project.
pub(in crate::commands) fn label(project: &str, container: &ContainerStatus) -> String {
    let own = container
        .name
        .strip_prefix(project)
        .and_then(|it| it.strip_prefix('-'));
    own.filter(|it| !it.is_empty())
        .unwrap_or(&container.name)
        .to_owned()
}

/// A process's exit code as ours; one that is unknown is an error.
fn exit_code(code: Option<i32>) -> u8 {
    code.map_or(1, |code| u8::try_from(code).unwrap_or(u8::MAX))
}

/// Ctrl-C and SIGTERM, from the moment that this is made.
struct Interrupts {
    interrupts: Signal,
    terminations: Signal,
    /// One that came while the node was asked, and has yet to be acted upon.
    pending: bool,
}

impl Interrupts {
    fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt())?,
            terminations: signal(SignalKind::terminate())?,
            pending: false,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminations.recv() => {}
        }
    }

    async fn pending_or_next(&mut self) {
        if !std::mem::take(&mut self.pending) {
            self.next().await;
        }
    }
}

/// Asks the node, and hears its answer also after one Ctrl-C; after a second one nobody waits.
async fn accepted(prepared: Prepared, interrupts: &mut Interrupts) -> Result<Deployed, Failure> {
    let mut sending = std::pin::pin!(prepared.send());
    loop {
        tokio::select! {
            deployed = &mut sending => return deployed,
            () = interrupts.next() => {
                if interrupts.pending {
                    return Err(Failure::silent(INTERRUPTED));
                }
                interrupts.pending = true;
                output::note("\nWaiting for the node's answer, to stop what it starts... press Ctrl+C again to leave it to that");
            }
        }
    }
}
