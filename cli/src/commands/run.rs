//! `run`: a container of its own, after the model of a service.
//!
//!     load ─► POST run ─► its dependencies come up ─► attach ─► wait ─► start ─► talk ─► exit code

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use agent::api::x::{RunCreated, RunRequest};
use hyper::Method;
use scheduler::compose;
use scheduler::model::container::ContainerSpec;
use scheduler::model::service::{
    Dependency, DependencyCondition, RestartPolicy, ServiceMode, ServiceSpec,
};
use scheduler::model::task::{HealthStatus, TaskState};
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};

use super::Outcome;
use super::exec::{exit_code, refused, with_values};
use super::up::Pull;
use crate::connect::{Client, credentials, url};
use crate::deploy;
use crate::docker::Waited;
use crate::error::Failure;
use crate::follow::{self, Verdict, stack_path};
use crate::output;
use crate::progress::{Differ, Intent};
use crate::project::Context;
use crate::session::{self, DetachKeys, Ended, Input, Terminal};

mod arguments;

/// What must hold before the container starts, by service.
type Needs = BTreeMap<String, Dependency>;

/// Run a one-off command on a service
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,
    /// Run in the background and print the container's name
    #[arg(short, long)]
    detach: bool,
    /// Environment variable; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Program to run instead of the image's
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Do not start the services that it depends on
    #[arg(long)]
    no_deps: bool,
    /// Publish a port; may be repeated
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish the ports of the service
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Do not use a terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Keys that end the conversation and leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// User to run as
    #[arg(short, long)]
    user: Option<String>,
    /// Mount a directory or a volume; may be repeated
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    volume: Vec<String>,
    /// Directory to run in
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Label of the container; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Let others reach it by the service's names
    #[arg(long)]
    use_aliases: bool,
    /// Accepted for fingers that are used to it: input is forwarded anyway
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Accepted for fingers that are used to it: a terminal is used anyway
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Add a capability; may be repeated
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Drop a capability; may be repeated
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// When images are pulled [default: as the file says]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// Say nothing about pulls
    #[arg(long)]
    quiet_pull: bool,
    service: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.load_with(std::slice::from_ref(&self.service))?;
        let Some(service) = project.stack.services.get(&self.service) else {
            return Err(Failure::new(format!("no such service: {}", self.service)));
        };
        let terminal = match self.detach {
            true => Terminal::No,
            false => session::wants_terminal(self.no_tty),
        };
        let spec = self.spec(service, &project, terminal)?;
        let needs = service.depends_on.clone();
        let client = context.node().await?;
        let before = follow::status(&client, &project.name).await?;
        let images = project
            .stack
            .services
            .values()
            .map(|it| it.container.image.as_str());
        let request = RunRequest {
            registry_auth: credentials::for_images(images),
            spec,
            name: self.name.clone(),
            no_deps: self.no_deps,
            use_aliases: self.use_aliases,
            stack: project.stack,
        };
        let path = stack_path(&project.name, "/run");
        let created: RunCreated = client
            .send_json(Method::POST, &path, &request)
            .await
            .map_err(refused)?;
        let needs = match self.no_deps {
            true => Needs::new(),
            false => needs,
        };
        if let Err(failure) = self
            .prepare(context, &client, &created, &before, &needs)
            .await
        {
            // It has never run: nobody misses it, and nothing of it helps to find out more.
            let path = url(&container_path(&created, ""), &[("force", "1"), ("v", "1")]);
            let _ = client.order(Method::DELETE, &path).await;
            return Err(failure);
        }
        if self.detach {
            client
                .order(Method::POST, &container_path(&created, "/start"))
                .await
                .map_err(refused)?;
            output::line(&created.name);
            return Ok(ExitCode::SUCCESS);
        }
        self.attach(&client, &created, terminal).await
    }

    /// The service's definition with the command line's changes.
    fn spec(
        &self,
        service: &ServiceSpec,
        project: &compose::Project,
        terminal: Terminal,
    ) -> Result<ServiceSpec, Failure> {
        let mut container = ContainerSpec::clone(&service.container);
        if let Some(entrypoint) = &self.entrypoint {
            container.entrypoint = Some(arguments::split(entrypoint)?);
            container.command = None;
        }
        if !self.command.is_empty() {
            container.command = Some(self.command.clone());
        }
        container
            .environment
            .extend(with_values(&self.env).iter().map(|it| pair(it, Some)));
        container
            .labels
            .extend(self.label.iter().map(|it| pair(it, |value| value)));
        container.user = self.user.clone().or(container.user);
        container.working_dir = self.workdir.clone().or(container.working_dir);
        container.cap_add.extend(self.cap_add.iter().cloned());
        container.cap_drop.extend(self.cap_drop.iter().cloned());
        container.tty = terminal == Terminal::Yes;
        container.stdin_open = !self.detach;
        container.stdin_once = container.stdin_open;
        container.pull_policy = self
            .pull
            .and_then(Pull::policy)
            .unwrap_or(container.pull_policy);
        // Two containers cannot publish the same ports: only those that were asked for.
        if !self.service_ports {
            container.ports.clear();
        }
        for port in &self.publish {
            container.ports.extend(arguments::ports(port)?);
        }
        for volume in &self.volume {
            let mount = arguments::mount(volume, &project.stack)?;
            container.mounts.retain(|it| it.target != mount.target);
            container.mounts.push(mount);
        }
        Ok(ServiceSpec {
            container: Arc::new(container),
            mode: ServiceMode::Standalone {
                auto_remove: self.rm,
            },
            container_name: None,
            restart: RestartPolicy::default(),
            ..service.clone()
        })
    }

    /// Waits until its dependencies are there and it can be started.
    async fn prepare(
        &self,
        context: &Context,
        client: &Client,
        created: &RunCreated,
        before: &StackStatus,
        needs: &Needs,
    ) -> Result<(), Failure> {
        let mut differ = Differ::new(before, Intent::Run);
        if self.quiet_pull {
            differ.hide_pulls();
        }
        let mut progress = context.progress("Creating");
        let goal = |status: &StackStatus| is_ready(status, created, needs);
        let converge = follow::converge(
            client,
            &before.name,
            created.revision,
            &mut differ,
            &mut progress,
            goal,
        );
        let (verdict, status) = deploy::interruptible(converge).await?;
        let Verdict::Failed(_) = verdict else {
            return Ok(());
        };
        match find(&status, created) {
            Some(own) if own.state.is_terminal() => {
                let reason = own.reason.clone();
                Err(Failure::new(format!(
                    "container {} could not be made: {reason}",
                    created.name
                ))
                .code(125))
            }
            _ => deploy::finish(client, &verdict, &status).await.map(|_| ()),
        }
    }

    async fn attach(&self, client: &Client, created: &RunCreated, terminal: Terminal) -> Outcome {
        let query = [
            ("stream", "1"),
            ("stdin", "1"),
            ("stdout", "1"),
            ("stderr", "1"),
        ];
        let attach = url(&container_path(created, "/attach"), &query);
        let connection = client.hijack(&attach, &serde_json::Value::Null).await?;
        let condition = if self.rm { "removed" } else { "next-exit" };
        let wait = url(
            &container_path(created, "/wait"),
            &[("condition", condition)],
        );
        // The wait must be under way before the start, or a short program's end is missed.
        let ended = client.post_lines::<Waited>(&wait, &[], None).await?;
        client
            .order(Method::POST, &container_path(created, "/start"))
            .await
            .map_err(refused)?;
        let resize = container_path(created, "/resize");
        let input = Input::Forwarded(self.detach_keys.clone().unwrap_or_else(DetachKeys::usual));
        let talk = session::talk(client, connection, terminal, input, &resize);
        let forward = session::forward_signals(client, &created.id);
        let talked = tokio::select! {
            talked = talk => talked?,
            failed = forward => return Err(failed),
        };
        if talked == Ended::Detached {
            return Ok(ExitCode::SUCCESS);
        }
        finish(client, created, ended).await
    }
}

async fn finish(
    client: &Client,
    created: &RunCreated,
    mut ended: crate::connect::JsonLines<Waited>,
) -> Outcome {
    tokio::select! {
        waited = ended.next() => {
            let code = waited?.map_or(1, |it| it.status_code);
            Ok(exit_code(i32::try_from(code).unwrap_or(1)))
        }
        failed = session::forward_signals(client, &created.id) => Err(failed),
    }
}

/// `KEY=VALUE`; a key alone has an empty value.
fn pair<V>(text: &str, value: impl Fn(String) -> V) -> (String, V) {
    let (key, text) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value(text.to_owned()))
}

fn container_path(created: &RunCreated, below: &str) -> String {
    format!("/containers/{}{below}", created.id)
}

fn find<'a>(status: &'a StackStatus, created: &RunCreated) -> Option<&'a ContainerStatus> {
    let mut containers = status.services.iter().flat_map(|it| &it.containers);
    containers.find(|it| it.id.as_str() == created.id)
}

/// It can be started: it exists, and what it depends on is as far as it has to be.
fn is_ready(status: &StackStatus, created: &RunCreated, needs: &Needs) -> Verdict {
    let failed: Vec<String> = (status.services.iter())
        .filter(|it| it.phase == ServicePhase::Failed && needs.contains_key(&it.name))
        .map(|it| it.name.clone())
        .collect();
    if !failed.is_empty() {
        return Verdict::Failed(failed);
    }
    match find(status, created).map(|it| it.state) {
        Some(state) if state == TaskState::Complete || !state.is_terminal() => {
            let holds = |(name, need): (&String, &Dependency)| {
                let service = status.services.iter().find(|it| it.name == *name);
                service.map_or(!need.required, |it| holds(it, need.condition))
            };
            match state >= TaskState::Ready && needs.iter().all(holds) {
                true => Verdict::Reached,
                false => Verdict::NotYet,
            }
        }
        Some(_) => Verdict::Failed(Vec::new()),
        None => Verdict::NotYet,
    }
}

fn holds(service: &ServiceStatus, condition: DependencyCondition) -> bool {
    let mut own = service
        .containers
        .iter()
        .filter(|it| !it.one_off)
        .peekable();
    own.peek().is_some()
        && match condition {
            DependencyCondition::ServiceStarted => own.all(|it| it.state >= TaskState::Running),
            DependencyCondition::ServiceHealthy => own.all(|it| {
                let health = it.health.as_ref();
                health.is_some_and(|it| it.status == HealthStatus::Healthy)
            }),
            DependencyCondition::ServiceCompletedSuccessfully => {
                own.all(|it| it.state == TaskState::Complete)
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::stack;

    /// `job` is the container of `run`.
    #[track_caller]
    fn check(condition: DependencyCondition, picture: &str, expected: &Verdict) {
        let created = RunCreated {
            id: "job-1".to_owned(),
            ..RunCreated::default()
        };
        let need = Dependency {
            condition,
            restart: false,
            required: true,
        };
        let needs = Needs::from([("db".to_owned(), need)]);
        assert_eq!(
            is_ready(&stack(picture), &created, &needs),
            *expected,
            "{picture}"
        );
    }

    #[test]
    fn it_is_started_when_it_exists_and_its_dependencies_are_ready() {
        let healthy = DependencyCondition::ServiceHealthy;
        check(healthy, "job:pending db:running+", &Verdict::NotYet);
        check(healthy, "job:ready db:running!", &Verdict::NotYet);
        check(healthy, "job:ready", &Verdict::NotYet);
        check(healthy, "job:ready db:running+", &Verdict::Reached);
        let started = DependencyCondition::ServiceStarted;
        check(started, "job:ready db:starting", &Verdict::NotYet);
        check(started, "job:ready db:running!", &Verdict::Reached);
        let completed = DependencyCondition::ServiceCompletedSuccessfully;
        check(completed, "job:ready db:running", &Verdict::NotYet);
        check(completed, "job:ready db:complete", &Verdict::Reached);
    }

    #[test]
    fn a_failure_of_what_it_needs_is_its_own_and_any_other_is_not() {
        let started = DependencyCondition::ServiceStarted;
        check(
            started,
            "job:ready db:failed/failed",
            &Verdict::Failed(vec!["db".to_owned()]),
        );
        check(
            started,
            "job:rejected db:running",
            &Verdict::Failed(Vec::new()),
        );
        check(
            started,
            "job:ready db:running other:failed/failed",
            &Verdict::Reached,
        );
    }
}
