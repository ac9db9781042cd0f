//! `events`: what happens to the stack's containers, as it happens.

use std::collections::BTreeMap;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Outcome;
use crate::connect::url;
use crate::deploy;
use crate::docker::{PROJECT_LABEL, SERVICE_LABEL};
use crate::error::Failure;
use crate::log::parse_time;
use crate::output;
use crate::project::Context;

/// Receive events of the containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print a JSON object for each event
    #[arg(long)]
    json: bool,
    /// Show events since this time, e.g. 2026-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Services to show [default: all]
    services: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: BTreeMap<String, String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let now = Timestamp::now();
        let time = |text: &Option<String>| match text {
            Some(text) => parse_time(text, now).map(|it| Some(it.as_second().to_string())),
            None => Ok(None),
        };
        let (since, until) = (time(&self.since)?, time(&self.until)?);
        let filters =
            json!({"label": [format!("{PROJECT_LABEL}={project}")], "type": ["container"]});
        let filters = filters.to_string();
        let mut query = vec![("filters", filters.as_str())];
        query.extend(since.iter().map(|it| ("since", it.as_str())));
        query.extend(until.iter().map(|it| ("until", it.as_str())));
        let mut events = context
            .client()
            .watch::<Event>(&url("/events", &query))
            .await?;
        let print = async {
            while let Some(event) = events.next().await? {
                self.print(&event);
            }
            Ok::<_, Failure>(ExitCode::SUCCESS)
        };
        deploy::interruptible(print).await
    }

    fn print(&self, event: &Event) {
        let Actor { id, attributes } = &event.actor;
        let service = attributes.get(SERVICE_LABEL).map_or("", String::as_str);
        if !self.services.is_empty() && !self.services.iter().any(|it| it == service) {
            return;
        }
        let at = Timestamp::from_nanosecond(i128::from(event.time_nano)).unwrap_or_default();
        let shown = |key: &str| attributes.get(key).cloned().unwrap_or_default();
        let (image, name) = (shown("image"), shown("name"));
        if self.json {
            let object = json!({
                "time": at.to_string(), "type": "container", "action": event.action, "id": id,
                "service": service, "attributes": {"image": image, "name": name},
            });
            output::line(object.to_string());
        } else {
            let time = at.strftime("%Y-%m-%d %H:%M:%S%.6f");
            output::line(format!(
                "{time} container {} {id} (image={image}, name={name})",
                event.action
            ));
        }
    }
}
