//! `why`: why a service does not run, and where it could; or all of the stack, troubles first.

use std::process::ExitCode;

use futures::future::join_all;
use jiff::Timestamp;
use scheduler::model::task::TaskState;
use scheduler::status::ServicePhase;
use scheduler::why::{Failure, Waiting, Why};

use super::Outcome;
use super::ls::Format;
use crate::connect::{ApiError, Client, escape};
use crate::follow;
use crate::log::{Query, Reader};
use crate::output::{self, Table};
use crate::project::Context;

/// Show why a service does not run, and where it could
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Without one, all of the stack are shown, those with troubles first
    service: Option<String>,
}

/// The container's log has been read, and this was its last line.
type LastLine = Option<String>;

const NOT_FOUND: u16 = 404;

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.named()?;
        let client = context.client();
        let Some(service) = &self.service else {
            let all = all(&client, &project.name).await?;
            self.print(&client, &all).await?;
            return Ok(ExitCode::SUCCESS);
        };
        let why = match ask(&client, &project.name, service).await {
            Ok(why) => why,
            Err(error) if error.status() == Some(NOT_FOUND) => {
                project.check(std::slice::from_ref(service), |_| false)?;
                let hint = format!("Start it with `wharfie up -d {service}`.");
                return Err(crate::error::Failure::from(error).hint(hint));
            }
            Err(error) => return Err(error.into()),
        };
        self.print(&client, &[why]).await?;
        Ok(ExitCode::SUCCESS)
    }

    /// Of several services, those that are as they should be have a line only.
    async fn print(&self, client: &Client, all: &[Why]) -> Result<(), crate::error::Failure> {
        let mut parts = Vec::new();
        for why in all {
            if self.format == Format::Json {
                output::line(serde_json::to_string(why).map_err(anyhow::Error::from)?);
                continue;
            }
            parts.push(match all.len() > 1 && !is_troubled(why) {
                true => headline(why),
                false => {
                    let lines = why.failures.iter().map(|it| last_line(client, it));
                    text(why, &join_all(lines).await, Timestamp::now())
                }
            });
        }
        if self.format == Format::Table {
            output::result(joined(&parts));
            super::node::warn(client).await;
        }
        Ok(())
    }
}

async fn ask(client: &Client, stack: &str, service: &str) -> Result<Why, ApiError> {
    let path = format!("/x/stacks/{}/why/{}", escape(stack), escape(service));
    client.get(&path).await
}

/// What there is to say about each service of a stack.
async fn all(client: &Client, stack: &str) -> Result<Vec<Why>, crate::error::Failure> {
    let status = follow::status(client, stack).await?;
    let mut all = Vec::new();
    for service in &status.services {
        match ask(client, stack, &service.name).await {
            Ok(why) => all.push(why),
            // It has gone meanwhile, or is only what `run` has made.
            Err(error) if error.status() == Some(NOT_FOUND) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if all.is_empty() {
        let what = format!("no service of project \"{stack}\" is deployed");
        return Err(crate::error::Failure::new(what).hint("Start it with `wharfie up -d`."));
    }
    all.sort_by_key(gravity);
    Ok(all)
}

fn is_troubled(why: &Why) -> bool {
    why.phase != ServicePhase::Settled || why.running < why.wanted || !why.cut_off.is_empty()
}

/// What has failed comes first.
fn gravity(why: &Why) -> u8 {
    match why.phase {
        ServicePhase::Failed => 0,
        ServicePhase::Waiting => 1,
        ServicePhase::Progressing => 2,
        ServicePhase::Settled if is_troubled(why) => 3,
        ServicePhase::Removing => 4,
        ServicePhase::Settled => 5,
    }
}

/// With an empty line after each that has several.
fn joined(parts: &[String]) -> String {
    let mut text = String::new();
    let mut is_long = false;
    for part in parts {
        if is_long {
            text.push('\n');
        }
        is_long = part.lines().count() > 1;
        text.push_str(part);
    }
    text
}

/// What a container said last; nothing when its log is gone, or its node is.
async fn last_line(client: &Client, failure: &Failure) -> LastLine {
    let query = Query {
        tail: Some(1),
        ..Query::default()
    };
    let reader = Reader::open(client, failure.id.as_str(), &query)
        .await
        .ok()?;
    let line = reader.all().await.ok()?.pop()?;
    Some(String::from_utf8_lossy(&line.text).into_owned())
}

fn text(why: &Why, lines: &[LastLine], now: Timestamp) -> String {
    let mut text = headline(why);
    for waiting in &why.waiting {
        text.push_str(&waits(waiting, now));
    }
    text.push_str(&where_it_could(why));
    if !why.cut_off.is_empty() {
        text.push('\n');
    }
    for way in &why.cut_off {
        let since = format!("for {}", ago(way.since, now));
        text.push_str(&format!("{}\n", cut_off(&way.from, &way.to, &since)));
    }
    if !why.failures.is_empty() {
        text.push_str("\nLast failures:\n");
        for (failure, line) in why.failures.iter().zip(lines) {
            text.push_str(&failed(failure, line.as_deref(), now));
        }
    }
    text
}

fn headline(why: &Why) -> String {
    let Why {
        service,
        wanted,
        running,
        ..
    } = why;
    let counted = match wanted {
        0 => format!("{service}: nothing is wanted of it"),
        wanted => format!("{service}: {running} of {wanted} running"),
    };
    match (why.phase, why.reason.as_str()) {
        (ServicePhase::Settled, _) | (_, "") => format!("{counted}\n"),
        // It is said of the container itself.
        (_, reason) if why.waiting.iter().any(|it| reason.ends_with(&it.reason)) => {
            format!("{counted}\n")
        }
        (_, reason) => format!("{counted}: {reason}\n"),
    }
}

fn waits(waiting: &Waiting, now: Timestamp) -> String {
    let node = (waiting.node.as_deref()).map_or_else(String::new, |node| format!(" on {node}"));
    let since = ago(waiting.since, now);
    let word = match waiting.state {
        TaskState::New | TaskState::Pending => "without a place",
        TaskState::Assigned | TaskState::Preparing => "being prepared",
        TaskState::Ready => "prepared",
        TaskState::Starting => "being started",
        TaskState::Running | TaskState::Complete | TaskState::Shutdown => "stopped",
        TaskState::Failed => "failed",
        TaskState::Rejected => "could not start",
        TaskState::Orphaned => "lost",
    };
    format!(
        "  {}: {word}{node} for {since}: {}\n",
        waiting.name, waiting.reason
    )
}

fn where_it_could(why: &Why) -> String {
    if let Some(reason) = &why.unaskable {
        return format!("\n{reason}\n");
    }
    let mut table = Table::new(10, &["NODE", "RUNNING", "ONE MORE"]);
    for answer in &why.nodes {
        table.row(vec![
            answer.node.clone(),
            answer.running.to_string(),
            answer.objection.as_ref().map_or_else(
                || "possible".to_owned(),
                |objection| format!("no: {objection}"),
            ),
        ]);
    }
    format!("\n{}", table.render())
}

/// Said of two nodes that managers see.
pub(super) fn cut_off(from: &str, to: &str, since: &str) -> String {
    format!("containers on {from} do not reach those on {to} ({since}); is UDP 4789 let through?")
}

fn failed(failure: &Failure, line: Option<&str>, now: Timestamp) -> String {
    let node = (failure.node.as_deref()).map_or_else(String::new, |node| format!(" on {node}"));
    let at = ago(failure.at, now);
    let how = match failure.exit_code {
        Some(code) if !failure.reason.contains(&format!("exit code {code}")) => {
            format!("exit code {code}: {}", failure.reason)
        }
        Some(_) | None => failure.reason.clone(),
    };
    let mut text = format!("  {}{node}, {at} ago: {how}\n", failure.name);
    if let Some(line) = line.filter(|line| !line.trim().is_empty()) {
        text.push_str(&format!("    | {line}\n"));
    }
    text
}

fn ago(at: scheduler::model::time::Timestamp, now: Timestamp) -> String {
    let nanos = u128::try_from(now.as_nanosecond()).unwrap_or(0);
    let since = nanos.saturating_sub(u128::from(at.as_nanos()));
    let nanos = u64::try_from(since).unwrap_or(u64::MAX);
    output::duration(std::time::Duration::from_nanos(nanos)).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(json: serde_json::Value) -> Why {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_has_troubles_comes_first() {
        let one = |service: &str, phase: &str, running: u32| {
            why(serde_json::json!({
                "stack": "shop", "service": service, "wanted": 1, "running": running,
                "phase": phase, "reason": "", "waiting": [], "nodes": [], "unaskable": null,
                "failures": [],
            }))
        };
        let mut all = [
            one("db", "settled", 1),
            one("job", "settled", 0),
            one("web", "failed", 0),
            one("app", "waiting", 0),
        ];
        all.sort_by_key(gravity);
        let names = all.each_ref().map(|it| it.service.as_str());
        assert_eq!(names, ["web", "app", "job", "db"]);
        let parts = ["a\nb\n", "c\n", "d\n"].map(str::to_owned);
        assert_eq!(joined(&parts), "a\nb\n\nc\nd\n");
    }

    #[test]
    fn it_says_what_waits_what_each_node_says_and_how_it_failed() {
        let second = |second: u64| second * 1_000_000_000;
        let why = why(serde_json::json!({
            "stack": "shop", "service": "web", "wanted": 3, "running": 1, "phase": "progressing",
            "reason": "no node can run it: 1 down, 1 with too little memory",
            "waiting": [{
                "name": "shop-web-2", "node": null, "state": "pending", "since": second(1000),
                "reason": "no node can run it: 1 down, 1 with too little memory",
            }],
            "nodes": [
                {"node": "node0", "objection": null, "running": 1},
                {"node": "node1", "objection": "down", "running": 0},
            ],
            "unaskable": null,
            "failures": [{
                "id": "1f", "name": "shop-web-3", "node": "node1", "at": second(1060),
                "exit_code": 3, "reason": "exited",
            }],
            "cut_off": [{"from": "node0", "to": "node1", "since": second(1090)}],
        }));
        let now = Timestamp::from_second(1120).unwrap();
        let lines = [Some("cannot reach db".to_owned())];
        insta::assert_snapshot!(text(&why, &lines, now), @r"
        web: 1 of 3 running
          shop-web-2: without a place for 2 minutes: no node can run it: 1 down, 1 with too little memory

        NODE      RUNNING   ONE MORE
        node0     1         possible
        node1     0         no: down

        containers on node0 do not reach those on node1 (for 30 seconds); is UDP 4789 let through?

        Last failures:
          shop-web-3 on node1, about a minute ago: exit code 3: exited
            | cannot reach db
        ");
    }
}
