//! From two pictures of a stack to the words that say what happened in between.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::model::rollout::RolloutPhase;
use scheduler::model::task::{DesiredState, HealthStatus, TaskState};
use scheduler::status::{
    ContainerStatus, PullStatus, ResourceStatus, ServicePhase, ServiceStatus, StackStatus,
};

use super::{Event, Kind};
use crate::follow::{Awaited, Past};

/// The id of what the node itself has to say.
const NODE: &str = "Node";

/// What the command is about; decides which words are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// `up -d`, `start`: being started is enough where nobody depends on health.
    Up,
    /// `up --wait`: health matters everywhere.
    UpAndWait,
    /// `run`: what is as it was is not spoken of.
    Run,
    Restart,
    Stop,
    Kill,
}

/// Turns pictures into events, each said once.
pub(crate) struct Differ {
    intent: Intent,
    before: BTreeMap<String, ContainerStatus>,
    /// Ids of what was there before.
    known: BTreeSet<String>,
    past: Past,
    said: BTreeMap<String, Event>,
    /// Ids of containers that have been more than a wish: what never was is not removed.
    made: BTreeSet<String>,
    pulls: Pulls,
    /// Services that the command is about; empty is all.
    services: Vec<String>,
}

/// Whether pulls are spoken of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pulls {
    Shown,
    Hidden,
}

impl Differ {
    /// `before` is how the stack was when the command began.
    pub(crate) fn new(before: &StackStatus, intent: Intent) -> Self {
        let containers = before
            .services
            .iter()
            .flat_map(|service| &service.containers);
        Self {
            intent,
            before: containers.map(|it| (it.name.clone(), it.clone())).collect(),
            known: ids(before),
            past: Past::of(
                before,
                match intent {
                    Intent::UpAndWait => Awaited::All,
                    Intent::Up | Intent::Run | Intent::Restart | Intent::Stop | Intent::Kill => {
                        Awaited::Dependencies
                    }
                },
            ),
            said: BTreeMap::new(),
            made: made(before).collect(),
            pulls: Pulls::Shown,
            services: Vec::new(),
        }
    }

    /// Speaks of these services only, unless there are none.
    #[must_use]
    pub(crate) fn only(mut self, services: &[String]) -> Self {
        self.services = services.to_vec();
        self
    }

    /// What was ill before.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// `--quiet-pull`
    pub(crate) fn hide_pulls(&mut self) {
        self.pulls = Pulls::Hidden;
    }

    /// What is new in this picture.
    pub(crate) fn events(&mut self, now: &StackStatus) -> Vec<Event> {
        let mut events = Vec::new();
        self.made.extend(made(now));
        events.extend(
            now.networks
                .iter()
                .filter_map(|it| self.resource("Network", it)),
        );
        events.extend(
            now.volumes
                .iter()
                .filter_map(|it| self.resource("Volume", it)),
        );
        if self.pulls == Pulls::Shown {
            let of_stack = |pull: &&PullStatus| {
                let mut services = now.services.iter();
                services.any(|it| it.image == pull.image)
            };
            events.extend(now.pulls.iter().filter(of_stack).map(pull));
        }
        events.extend(self.pulled(now));
        let in_scope = |name: &String| self.services.is_empty() || self.services.contains(name);
        for service in now.services.iter().filter(|it| in_scope(&it.name)) {
            events.extend(self.update(service));
            let containers = shown(service).into_iter();
            events.extend(containers.filter_map(|it| self.container(now, service, it)));
        }
        events.extend(self.leaving(now));
        events.extend(self.trouble(now));
        events.extend(self.removed(now));
        events.retain(|event| self.is_news(event));
        events
    }

    fn is_news(&mut self, event: &Event) -> bool {
        if self.said.get(&event.id) == Some(event) {
            return false;
        }
        self.said.insert(event.id.clone(), event.clone());
        true
    }

    /// Things that were there, or were spoken of, and are gone.
    fn removed(&self, now: &StackStatus) -> Vec<Event> {
        let leaving = now.leaving_networks.iter();
        let mut present = ids(now);
        present.extend(leaving.map(|it| format!("Network {it}")));
        let spoken_of = self.said.keys();
        let spoken_of = spoken_of
            .filter(|id| !id.starts_with("Image ") && !id.starts_with("Service ") && *id != NODE);
        let all: BTreeSet<&String> = self.known.iter().chain(spoken_of).collect();
        let gone = all
            .into_iter()
            .filter(|id| !present.contains(*id))
            .filter(|id| !id.starts_with("Container ") || self.made.contains(*id));
        gone.map(|id| event(id.clone(), "Removed", Kind::Done, ""))
            .collect()
    }

    /// Networks that nobody has any more, and whose bridges are still there.
    fn leaving<'a>(&'a self, now: &'a StackStatus) -> impl Iterator<Item = Event> + 'a {
        let ids = now
            .leaving_networks
            .iter()
            .map(|it| format!("Network {it}"));
        ids.filter(|id| self.known.contains(id))
            // A node may hear of it after the one that tells has removed its own.
            .filter(|id| self.said.get(id).is_none_or(|it| it.word != "Removed"))
            .map(|id| event(id, "Removing", Kind::Working, ""))
    }

    /// What the node cannot do for now, all in one line: it may come and go.
    fn trouble(&self, now: &StackStatus) -> Option<Event> {
        match now.troubles.is_empty() {
            false => Some(event(
                NODE.to_owned(),
                "Retrying",
                Kind::Warning,
                &now.troubles.join("; "),
            )),
            true if self.said.contains_key(NODE) => {
                Some(event(NODE.to_owned(), "Recovered", Kind::Done, ""))
            }
            true => None,
        }
    }

    /// What is over when the command is: a node may not have said yet that its pull has ended.
    pub(crate) fn last_words(&mut self, now: &StackStatus) -> Vec<Event> {
        let over = StackStatus {
            pulls: Vec::new(),
            ..now.clone()
        };
        let mut events = self.pulled(&over);
        events.retain(|event| self.is_news(event));
        events
    }

    /// Pulls that were spoken of and are over. Why one failed is told by its containers.
    fn pulled(&self, now: &StackStatus) -> Vec<Event> {
        let goes_on = |id: &str| {
            let mut pulls = now.pulls.iter();
            pulls.any(|pull| id.strip_prefix("Image ") == Some(&pull.image))
        };
        let spoken_of = self.said.values().filter(|said| said.word == "Pulling");
        let over = spoken_of.filter(|said| !goes_on(&said.id));
        over.map(|said| {
            let image = said.id.strip_prefix("Image ").unwrap_or_default();
            match is_missing(now, image) {
                true => event(said.id.clone(), "Error", Kind::Error, ""),
                false => event(said.id.clone(), "Pulled", Kind::Done, ""),
            }
        })
        .collect()
    }

    /// `Service web  Updating  2 of 5 updated, next in 10s`
    fn update(&self, service: &ServiceStatus) -> Option<Event> {
        let id = format!("Service {}", service.name);
        let Some(rollout) = &service.rollout else {
            // One that went well is not told of any more.
            let spoken_of = self.said.contains_key(&id);
            return spoken_of.then(|| event(id, "Updated", Kind::Done, ""));
        };
        let (word, kind) = match rollout.phase {
            RolloutPhase::Deploying | RolloutPhase::Updating => ("Updating", Kind::Working),
            RolloutPhase::Completed => ("Updated", Kind::Warning),
            RolloutPhase::Paused => ("Paused", Kind::Error),
            RolloutPhase::RollbackPaused => ("Rollback paused", Kind::Error),
            RolloutPhase::RollingBack => ("Going back", Kind::Warning),
            RolloutPhase::RolledBack => ("Rolled back", Kind::Error),
        };
        // The text begins with the word where it stands alone, as in `ps`.
        let text = rollout.text.as_str();
        let details = text.strip_prefix(&word.to_lowercase()).unwrap_or(text);
        let details = details.trim_start_matches([':', ',', ' ']);
        Some(event(id, word, kind, details))
    }

    fn resource(&self, prefix: &str, now: &ResourceStatus) -> Option<Event> {
        let id = format!("{prefix} {}", now.name);
        match (now.removing, self.known.contains(&id)) {
            (true, _) => Some(event(id, "Removing", Kind::Working, "")),
            (false, false) => Some(event(id, "Created", Kind::Done, "")),
            (false, true) => None,
        }
    }

    fn container(
        &self,
        stack: &StackStatus,
        service: &ServiceStatus,
        now: &ContainerStatus,
    ) -> Option<Event> {
        let before = self.before.get(&now.name);
        let id = format!("Container {}", now.name);
        let say = |word, kind, details: &str| Some(event(id.clone(), word, kind, details));
        match now.desired {
            // It is dropped when its node returns, if ever.
            DesiredState::Remove if now.state == TaskState::Orphaned => None,
            DesiredState::Remove if now.state.is_terminal() => say("Removing", Kind::Working, ""),
            DesiredState::Remove => say(self.stopping(), Kind::Working, &stops_when(service, now)),
            DesiredState::Shutdown if !now.state.is_terminal() => {
                say(self.stopping(), Kind::Working, &stops_when(service, now))
            }
            DesiredState::Shutdown => {
                let was_over =
                    before.is_some_and(|it| it.task == now.task && it.state.is_terminal());
                let is_stopping = matches!(self.intent, Intent::Stop | Intent::Kill);
                match now.state {
                    _ if was_over && self.intent == Intent::Run => None,
                    // What ended by itself is wanted to stay so; it is not for us to call it stopped.
                    TaskState::Failed | TaskState::Rejected
                        if service.phase == ServicePhase::Failed =>
                    {
                        say("Error", Kind::Error, &now.reason)
                    }
                    _ if was_over => None,
                    TaskState::Complete if !is_stopping => say("Exited", Kind::Done, ""),
                    _ if self.intent == Intent::Kill => say("Killed", Kind::Done, ""),
                    _ => say("Stopped", Kind::Done, ""),
                }
            }
            DesiredState::Ready => match (now.state, awaits(service, now)) {
                (TaskState::Failed | TaskState::Rejected, _) => {
                    say("Error", Kind::Error, &now.reason)
                }
                (_, Some(awaits)) => say("Waiting", Kind::Working, awaits),
                (TaskState::Ready, None) => say("Created", Kind::Done, ""),
                (_, None) => say("Creating", Kind::Working, ""),
            },
            DesiredState::Running => self.starting(stack, service, now, before),
        }
    }

    fn stopping(&self) -> &'static str {
        match self.intent {
            Intent::Kill => "Killing",
            Intent::Restart => "Restarting",
            Intent::Up | Intent::UpAndWait | Intent::Run | Intent::Stop => "Stopping",
        }
    }

    fn starting(
        &self,
        stack: &StackStatus,
        service: &ServiceStatus,
        now: &ContainerStatus,
        before: Option<&ContainerStatus>,
    ) -> Option<Event> {
        let id = format!("Container {}", now.name);
        let is_unchanged = before.is_some_and(|it| it.task == now.task && it.state == now.state);
        let is_about_change = match self.intent {
            Intent::Run | Intent::Restart | Intent::Stop | Intent::Kill => true,
            Intent::Up | Intent::UpAndWait => false,
        };
        if is_unchanged && is_about_change {
            return None;
        }
        if let Some(awaits) = awaits(service, now) {
            return Some(event(id, "Waiting", Kind::Working, awaits));
        }
        let is_replacement = before.is_some_and(|it| it.id != now.id);
        let is_there = before.is_some_and(|it| it.id == now.id && is_made(it, now));
        let (word, kind, details) = match now.state {
            TaskState::New | TaskState::Pending if service.phase == ServicePhase::Waiting => {
                // `Waiting for db to be healthy`
                let reason = service.reason.strip_prefix("waiting ");
                let reason = reason.unwrap_or(&service.reason);
                ("Waiting", Kind::Working, reason.to_owned())
            }
            TaskState::New | TaskState::Pending if service.phase == ServicePhase::Failed => {
                ("Error", Kind::Error, service.reason.clone())
            }
            _ if self.intent == Intent::Restart && now.state < TaskState::Running => {
                ("Restarting", Kind::Working, String::new())
            }
            _ if now.state < TaskState::Running && now.restarted_after.is_some() => {
                ("Restarting", Kind::Warning, again(now))
            }
            // `Waiting  no node can run it: 3 with too few CPUs`
            TaskState::Pending if now.node.is_none() => {
                let reason = now.reason.strip_prefix("waiting ");
                let reason = reason.unwrap_or(&now.reason);
                ("Waiting", Kind::Working, reason.to_owned())
            }
            _ if is_there && now.state < TaskState::Running => {
                ("Starting", Kind::Working, String::new())
            }
            TaskState::New | TaskState::Pending | TaskState::Assigned | TaskState::Preparing => (
                if is_replacement {
                    "Recreate"
                } else {
                    "Creating"
                },
                Kind::Working,
                String::new(),
            ),
            TaskState::Ready => (
                if is_replacement {
                    "Recreated"
                } else {
                    "Created"
                },
                Kind::Working,
                String::new(),
            ),
            TaskState::Starting => ("Starting", Kind::Working, String::new()),
            TaskState::Running => self.running(stack, service, now, before),
            TaskState::Complete => ("Exited", Kind::Done, String::new()),
            TaskState::Shutdown => ("Stopped", Kind::Done, String::new()),
            TaskState::Failed | TaskState::Rejected | TaskState::Orphaned => {
                if service.phase == ServicePhase::Failed {
                    ("Error", Kind::Error, now.reason.clone())
                } else {
                    // The next run says so, and why.
                    return None;
                }
            }
        };
        Some(event(id, word, kind, &details))
    }

    fn running(
        &self,
        stack: &StackStatus,
        service: &ServiceStatus,
        now: &ContainerStatus,
        before: Option<&ContainerStatus>,
    ) -> (&'static str, Kind, String) {
        let is_awaited = self.intent == Intent::UpAndWait
            || stack.services.iter().any(|other| {
                other.phase == ServicePhase::Waiting && other.depends_on.contains(&service.name)
            })
            || self
                .said
                .get(&format!("Container {}", now.name))
                .is_some_and(|it| matches!(it.word, "Waiting" | "Healthy" | "Unhealthy"));
        match &now.health {
            Some(health) if is_awaited => match health.status {
                // One that ends again and again is not said to begin each time.
                HealthStatus::Starting if now.restarted_after.is_some() => {
                    ("Restarting", Kind::Warning, again(now))
                }
                HealthStatus::Starting => {
                    let failures = health.failures().unwrap_or_default();
                    ("Waiting", Kind::Working, failures)
                }
                HealthStatus::Healthy => ("Healthy", Kind::Done, String::new()),
                HealthStatus::Unhealthy => {
                    let failures = health.failures().unwrap_or_default();
                    ("Unhealthy", Kind::Error, failures)
                }
            },
            _ if service.has_healthcheck && is_awaited && now.health.is_none() => {
                ("Waiting", Kind::Working, String::new())
            }
            _ => {
                let has_run_before = self.intent != Intent::Restart
                    && before
                        .is_some_and(|it| it.task == now.task && it.state == TaskState::Running);
                (
                    if has_run_before { "Running" } else { "Started" },
                    Kind::Done,
                    String::new(),
                )
            }
        }
    }
}

/// What it takes to hear more of a container, or of the one that it replaces.
fn awaits<'a>(service: &'a ServiceStatus, container: &ContainerStatus) -> Option<&'a str> {
    let is_on_the_way = matches!(
        service.phase,
        ServicePhase::Progressing | ServicePhase::Waiting | ServicePhase::Removing
    );
    let all = service.containers.iter().filter(|_| is_on_the_way);
    let mut same = all.filter(|it| it.name == container.name);
    same.find_map(|it| it.awaits.as_deref())
}

fn stops_when(service: &ServiceStatus, container: &ContainerStatus) -> String {
    let awaits = awaits(service, container);
    awaits.map_or_else(String::new, |it| format!("waiting {it}"))
}

/// Whether the container was made before this run of it: another run used it, or `create` made it.
fn is_made(before: &ContainerStatus, now: &ContainerStatus) -> bool {
    before.task != now.task || before.state == TaskState::Ready
}

/// `exit code 1, attempt 3`
fn again(now: &ContainerStatus) -> String {
    let ended = now.restarted_after.as_deref().unwrap_or_default();
    format!("{ended}, attempt {}", now.restarts)
}

/// A container could not be made of the image.
fn is_missing(stack: &StackStatus, image: &str) -> bool {
    let mut services = stack.services.iter().filter(|it| it.image == image);
    services.any(|it| {
        let mut states = it.containers.iter().map(|it| it.state);
        states.any(|it| it == TaskState::Rejected)
    })
}

/// The ids of containers that have had a node.
fn made(stack: &StackStatus) -> impl Iterator<Item = String> {
    let services = stack.services.iter();
    let containers = services.flat_map(|service| &service.containers);
    containers
        .filter(|it| it.node.is_some())
        .map(|it| format!("Container {}", it.name))
}

/// One container for each name: the new one, where an old one is still being replaced by it.
fn shown(service: &ServiceStatus) -> Vec<&ContainerStatus> {
    let mut by_name: BTreeMap<&str, &ContainerStatus> = BTreeMap::new();
    for container in service.containers.iter() {
        let is_better = by_name.get(container.name.as_str()).is_none_or(|other| {
            let rank = |it: &ContainerStatus| (it.desired != DesiredState::Remove, it.current);
            rank(container) > rank(other)
        });
        if is_better {
            by_name.insert(&container.name, container);
        }
    }
    by_name.into_values().collect()
}

/// The ids of everything in a picture.
fn ids(stack: &StackStatus) -> BTreeSet<String> {
    let containers = stack
        .services
        .iter()
        .flat_map(|service| &service.containers);
    containers
        .map(|it| format!("Container {}", it.name))
        .chain(
            stack
                .networks
                .iter()
                .map(|it| format!("Network {}", it.name)),
        )
        .chain(stack.volumes.iter().map(|it| format!("Volume {}", it.name)))
        .collect()
}

fn pull(now: &PullStatus) -> Event {
    Event {
        bytes: Some((now.current, now.total)),
        ..event(
            format!("Image {}", now.image),
            "Pulling",
            Kind::Working,
            &layers(now),
        )
    }
}

/// One braille cell for each layer: full when it is there.
fn layers(pull: &PullStatus) -> String {
    let cell = |state: &String| match state.as_str() {
        "Pull complete" | "Already exists" => '⣿',
        "Download complete" | "Extracting" | "Verifying Checksum" => '⣶',
        "Downloading" => '⣤',
        _ => '⣀',
    };
    if pull.layers.is_empty() {
        return String::new();
    }
    let cells: String = pull.layers.values().map(cell).collect();
    match pull.total {
        0 => format!("[{cells}]"),
        total => format!(
            "[{cells}] {} / {}",
            crate::output::decimal_size(pull.current),
            crate::output::decimal_size(total)
        ),
    }
}

fn event(id: String, word: &'static str, kind: Kind, details: &str) -> Event {
    Event {
        id,
        word,
        kind,
        details: details.to_owned(),
        bytes: None,
    }
}
