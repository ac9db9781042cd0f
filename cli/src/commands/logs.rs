//! `logs`: what the containers of the stack have said, merged by time.

use std::process::ExitCode;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use scheduler::model::id::ContainerId;

use super::Outcome;
use crate::connect::{ApiError, Client};
use crate::docker::{self, Container};
use crate::error::{Failure, INTERRUPTED};
use crate::follow;
use crate::log::{self, Attachments, Message, Prefix, Printer, Query, Reader, Style, Timestamps};
use crate::output::{self, Colour};
use crate::project::Context;

/// How long to wait before a broken watch is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// View output from containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what is said from now on
    #[arg(short, long)]
    follow: bool,
    /// Number of lines at the end, of each container
    #[arg(short = 'n', long, default_value = "all", value_parser = parse_tail)]
    tail: Tail,
    /// Show what was said since this time, e.g. 2026-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show what was said before this time, e.g. 2026-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print without colours
    #[arg(long)]
    no_color: bool,
    /// Print without the names of the containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Number of the container, when the service has several
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    /// Services to show [default: all]
    services: Vec<String>,
}

/// `None` is all.
type Tail = Option<u64>;

fn parse_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| "expected a number or `all`".to_owned()),
    }
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.named()?;
        let now = Timestamp::now();
        let time = |text: &Option<String>| {
            text.as_deref()
                .map(|it| log::parse_time(it, now))
                .transpose()
        };
        let query = Query {
            since: time(&self.since)?,
            until: time(&self.until)?,
            tail: self.tail,
            ..Query::default()
        };
        let Some(client) = context.existing_node().await? else {
            return Ok(ExitCode::SUCCESS);
        };
        let mut containers = docker::containers(&client, &project.name).await?;
        project.check(&self.services, |name| {
            containers.iter().any(|it| it.service() == name)
        })?;
        containers.retain(|it| self.shows(it.service(), it.number()));
        let mut printer = Printer::new(self.style(context));
        containers
            .iter()
            .for_each(|it| printer.expect(&it.log_name()));
        let last = print_backlog(&client, &containers, &query, &mut printer).await?;
        if self.follow && query.until.is_none_or(|until| until > now) {
            return self
                .follow(&client, &project.name, printer, last, now)
                .await;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn shows(&self, service: &str, number: u32) -> bool {
        (self.services.is_empty() || self.services.iter().any(|it| it == service))
            && self.index.is_none_or(|index| index == number)
    }

    fn style(&self, context: &Context) -> Style {
        Style {
            colour: if self.no_color {
                Colour::Off
            } else {
                context.colour()
            },
            prefix: if self.no_log_prefix {
                Prefix::Hidden
            } else {
                Prefix::Shown
            },
            timestamps: if self.timestamps {
                Timestamps::Shown
            } else {
                Timestamps::Hidden
            },
        }
    }

    /// Goes on until everything has ended, as Compose does.
    async fn follow(
        &self,
        client: &Client,
        project: &str,
        mut printer: Printer,
        last: Vec<(String, Timestamp)>,
        now: Timestamp,
    ) -> Outcome {
        let mut attachments = Attachments::new(client.clone(), Some(now));
        for (id, at) in last {
            attachments.printed_until(ContainerId::new(id), at);
        }
        let mut names = std::collections::BTreeMap::new();
        let mut pictures = follow::watch(client, project).await?;
        let mut is_over = false;
        loop {
            tokio::select! {
                picture = pictures.next() => match picture? {
                    Some(picture) => {
                        let containers = || picture.services.iter().flat_map(|it| &it.containers);
                        names.extend(containers().map(|it| (it.id.clone(), super::up::label(project, it))));
                        attachments.notice(&picture, |service, it| self.shows(service, it.slot));
                        is_over = containers().all(|it| it.state.is_terminal());
                    }
                    None => {
                        tokio::time::sleep(RETRY_AFTER).await;
                        pictures = follow::watch(client, project).await?;
                    }
                },
                Some(message) = attachments.next() => {
                    if let Message::Line { container, line } = message {
                        let name = names.get(&container).map_or_else(|| container.short(), String::as_str);
                        printer.print(name, &line);
                    }
                }
                _ = tokio::signal::ctrl_c() => return Err(Failure::silent(INTERRUPTED)),
            }
            if is_over && names.keys().all(|it| attachments.is_drained(it)) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Prints what is there, and returns the time of the last line of each container. What cannot be
/// read (its node may be down) is said and left out.
///
/// # Errors
///
/// Fails when nothing at all can be read.
async fn print_backlog(
    client: &Client,
    containers: &[Container],
    query: &Query,
    printer: &mut Printer,
) -> Result<Vec<(String, Timestamp)>, ApiError> {
    let read = |it: &Container| {
        let (id, name) = (it.id.clone(), it.log_name());
        async move {
            let lines = Reader::open(client, &id, query).await?.all().await?;
            let last = lines.last().map(|line| (id, line.at));
            Ok::<_, ApiError>(((name, lines), last))
        }
    };
    let read: Vec<_> = join_all(containers.iter().map(read)).await;
    let (mut logs, mut last, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for result in read {
        match result {
            Ok((log, end)) => {
                logs.push(log);
                last.extend(end);
            }
            Err(error) => failed.push(error),
        }
    }
    if logs.is_empty()
        && let Some(error) = failed.pop()
    {
        return Err(error);
    }
    for (name, line) in log::merge(logs) {
        printer.print(&name, &line);
    }
    failed
        .iter()
        .for_each(|error| output::note(format!("warning: {error}")));
    Ok(last)
}
