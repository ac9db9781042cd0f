//! A container as `ps --format json` prints it, with Compose's keys.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::docker::{Container, PROJECT_LABEL, Port};

/// Characters of an id that are shown.
const SHORT_ID: usize = 12;

pub(super) fn object(it: &Container, whole: bool) -> Value {
    let id = if whole {
        it.id.as_str()
    } else {
        it.id.get(..SHORT_ID).unwrap_or(&it.id)
    };
    let labels: Vec<_> = it
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mounts: Vec<_> = it
        .mounts
        .iter()
        .map(|it| {
            if it.name.is_empty() {
                it.source.as_str()
            } else {
                it.name.as_str()
            }
        })
        .collect();
    let networks: Vec<_> = it
        .network_settings
        .networks
        .keys()
        .map(String::as_str)
        .collect();
    let local_volumes = it.mounts.iter().filter(|it| it.driver == "local").count();
    let created = Timestamp::from_second(it.created).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "Command": super::command(it, whole),
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        "ExitCode": exit_code(&it.status),
        "Health": health(&it.status),
        "ID": id,
        "Image": it.image,
        "Labels": labels.join(","),
        "LocalVolumes": local_volumes.to_string(),
        "Mounts": mounts.join(","),
        "Name": it.name(),
        "Names": it.name(),
        "Networks": networks.join(","),
        "Node": it.node,
        "Ports": super::ports::show(&it.ports),
        "Project": it.label(PROJECT_LABEL),
        "Publishers": it.ports.iter().map(publisher).collect::<Vec<_>>(),
        "RunningFor": format!("{} ago", super::age(it.created, Timestamp::now())),
        "Service": it.service(),
        "Size": "0B",
        "State": it.state,
        "Status": it.status,
    })
}

fn publisher(port: &Port) -> Value {
    json!({
        "URL": port.ip,
        "TargetPort": port.private_port,
        "PublishedPort": port.public_port,
        "Protocol": port.protocol,
    })
}

/// The number in `Exited (3) 2 minutes ago`; the list has it nowhere else.
pub(super) fn exit_code(status: &str) -> i32 {
    let code = status
        .strip_prefix("Exited (")
        .and_then(|rest| rest.split_once(')'));
    code.and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

/// The word in `Up 2 minutes (healthy)`.
pub(super) fn health(status: &str) -> &'static str {
    match status {
        it if it.ends_with("(healthy)") => "healthy",
        it if it.ends_with("(unhealthy)") => "unhealthy",
        it if it.ends_with("(health: starting)") => "starting",
        _ => "",
    }
}
