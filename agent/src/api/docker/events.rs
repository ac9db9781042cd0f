//! `GET /events`: what happens, as it happens, and a while back.

mod others;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use self::others::Others;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::bad;
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::clock::wall_time;
use crate::events::{Event, Kind};

pub(in crate::api) use self::others::host;

/// `GET /events?since=&until=&filters=`
pub(in crate::api) fn events(context: Arc<Context>, call: &Call) -> Answer {
    let known = [
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "service",
        "type",
        "volume",
    ];
    let filters = Filters::read(&call.params, &known)?;
    let now = wall_time();
    let instant = |name: &str| match call.params.get(name) {
        None => Ok(None),
        Some(text) => time::parse(text, now)
            .map(Some)
            .ok_or_else(|| bad(format!("invalid value for \"{name}\": {text}"))),
    };
    let (since, until): (_, Option<_>) = (instant("since")?, instant("until")?);
    let (past, mut future) = context.events.subscribe();
    let (sender, response) = reply::stream("application/json");
    let left = until.map(|until| until.since(now));
    tokio::spawn(async move {
        let deadline = async {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let in_range = |event: &Event| {
            since.is_some_and(|since| event.at >= since)
                && until.is_none_or(|until| event.at <= until)
        };
        let mut others = Others::of(&context);
        let mut past = past;
        if since.is_some() {
            past.extend(others.past().await);
            past.sort_by_key(|event| event.at);
        }
        let wanted = |event: &&Event| in_range(event) && passes(&filters, event);
        for event in past.iter().filter(wanted) {
            if sender.send(reply::line(&describe(event))).await.is_err() {
                return;
            }
        }
        tokio::pin!(deadline);
        loop {
            let event = tokio::select! {
                event = future.recv() => event,
                event = others.next() => Ok(Arc::new(event)),
                () = &mut deadline => return,
                () = sender.closed() => return,
            };
            match event {
                Ok(event) if passes(&filters, &event) => {
                    if sender.send(reply::line(&describe(&event))).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(response)
}

fn passes(filters: &Filters, event: &Event) -> bool {
    let name = event
        .attributes
        .get("name")
        .map(String::as_str)
        .unwrap_or_default();
    let is_actor = |kind: Kind| {
        move |wanted: &str| {
            event.kind == kind
                && (name == wanted || !wanted.is_empty() && event.actor.starts_with(wanted))
                || kind == Kind::Image
                    && event
                        .attributes
                        .get("image")
                        .is_some_and(|image| image == wanted)
        }
    };
    let action = event.action.split(':').next().unwrap_or_default();
    let labels: BTreeMap<String, String> = event.attributes.clone();
    filters.any("type", |kind| kind == event.kind.word())
        && filters.any("event", |wanted| wanted == event.action || wanted == action)
        && filters.labels(&labels)
        && filters.any("container", is_actor(Kind::Container))
        && filters.any("image", is_actor(Kind::Image))
        && filters.any("network", is_actor(Kind::Network))
        && filters.any("volume", is_actor(Kind::Volume))
        && filters.any("scope", |scope| scope == "local")
        && ["daemon", "node", "plugin", "service"]
            .iter()
            .all(|key| !filters.has(key))
}

/// With the fields of old versions, which Docker dropped and clients still read.
fn describe(event: &Event) -> Value {
    let nanos = event.at.as_nanos();
    let mut body = json!({
        "Type": event.kind.word(),
        "Action": event.action,
        "Actor": { "ID": event.actor, "Attributes": event.attributes },
        "scope": "local",
        "time": nanos / 1_000_000_000,
        "timeNano": nanos,
    });
    if let (Kind::Container | Kind::Image, Some(fields)) = (event.kind, body.as_object_mut()) {
        fields.insert("status".into(), json!(event.action));
        fields.insert("id".into(), json!(event.actor));
        if let (Kind::Container, Some(image)) = (event.kind, event.attributes.get("image")) {
            fields.insert("from".into(), json!(image));
        }
    }
    body
}
