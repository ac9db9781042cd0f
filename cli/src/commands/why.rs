//! `why`: why a service does not run, and where it could.

use std::process::ExitCode;

use futures::future::join_all;
use jiff::Timestamp;
use scheduler::model::task::TaskState;
use scheduler::status::ServicePhase;
use scheduler::why::{Failure, Waiting, Why};

use super::Outcome;
use super::ls::Format;
use crate::connect::{Client, escape};
use crate::log::{Query, Reader};
use crate::output::{self, Table};
use crate::project::Context;

/// Show why a service does not run, and where it could
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    service: String,
}

/// The container's log has been read, and this was its last line.
type LastLine = Option<String>;

const NOT_FOUND: u16 = 404;

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.named()?;
        let client = context.client();
        let path = format!(
            "/x/stacks/{}/why/{}",
            escape(&project.name),
            escape(&self.service)
        );
        let why: Why = match client.get(&path).await {
            Ok(why) => why,
            Err(error) if error.status() == Some(NOT_FOUND) => {
                project.check(std::slice::from_ref(&self.service), |_| false)?;
                let hint = format!("Start it with `wharfie up -d {}`.", self.service);
                return Err(crate::error::Failure::from(error).hint(hint));
            }
            Err(error) => return Err(error.into()),
        };
        if self.format == Format::Json {
            output::line(serde_json::to_string(&why).map_err(anyhow::Error::from)?);
            return Ok(ExitCode::SUCCESS);
        }
        let lines = join_all(why.failures.iter().map(|it| last_line(&client, it))).await;
        output::result(text(&why, &lines, Timestamp::now()));
        super::node::warn(&client).await;
        Ok(ExitCode::SUCCESS)
    }
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
