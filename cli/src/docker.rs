//! The parts of the Docker Engine API's answers that are shown, and how a container is found in them.
//!
//! Everything is optional: a field that is missing or null is its default, as Docker's clients have it.

use std::collections::BTreeMap;

use scheduler::compose;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::connect::{ApiError, Client, url};
use crate::error::Failure;
use crate::nodes::Nodes;

/// Labels by which Compose's tools, and we, find what belongs to a project.
pub(crate) const PROJECT_LABEL: &str = "com.docker.compose.project";
pub(crate) const SERVICE_LABEL: &str = "com.docker.compose.service";
pub(crate) const NUMBER_LABEL: &str = "com.docker.compose.container-number";
pub(crate) const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";

/// An entry of `GET /containers/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) names: Vec<String>,
    /// Host name of the node that it is on; empty until it has one.
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) node: String,
    pub(crate) image: String,
    #[serde(rename = "ImageID")]
    pub(crate) image_id: String,
    pub(crate) command: String,
    /// Seconds since the epoch.
    pub(crate) created: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ports: Vec<Port>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) labels: BTreeMap<String, String>,
    /// `running`, `exited`, …
    pub(crate) state: String,
    /// `Up 2 minutes (healthy)`
    pub(crate) status: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) mounts: Vec<Mount>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Port {
    #[serde(rename = "IP")]
    pub(crate) ip: String,
    pub(crate) private_port: u16,
    pub(crate) public_port: u16,
    #[serde(rename = "Type")]
    pub(crate) protocol: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Mount {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) driver: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) networks: BTreeMap<String, IgnoredAny>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Container {
    /// `shop-web-1`
    pub(crate) fn name(&self) -> &str {
        let name = self.names.first().map_or("", String::as_str);
        name.strip_prefix('/').unwrap_or(name)
    }

    pub(crate) fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    pub(crate) fn service(&self) -> &str {
        self.label(SERVICE_LABEL)
    }

    /// Its number in its service; zero when it has none.
    pub(crate) fn number(&self) -> u32 {
        self.label(NUMBER_LABEL).parse().unwrap_or(0)
    }

    /// Made by `run`.
    pub(crate) fn is_one_off(&self) -> bool {
        self.label(ONE_OFF_LABEL).eq_ignore_ascii_case("true")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// `web-1`, as logs are prefixed; a container of `run` or with a fixed name keeps its own.
    pub(crate) fn log_name(&self) -> String {
        let (project, name) = (self.label(PROJECT_LABEL), self.name());
        let own = name
            .strip_prefix(project)
            .and_then(|rest| rest.strip_prefix('-'));
        own.filter(|rest| !rest.is_empty())
            .unwrap_or(name)
            .to_owned()
    }
}

/// An entry of `GET /images/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Image {
    pub(crate) id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) repo_digests: Vec<String>,
    pub(crate) created: i64,
    pub(crate) size: u64,
}

/// What `GET /images/NAME/json` says on top.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageDetails {
    os: String,
    architecture: String,
    variant: String,
    pub(crate) metadata: ImageMetadata,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageMetadata {
    pub(crate) last_tag_time: String,
}

impl ImageDetails {
    /// `linux/arm64/v8`
    pub(crate) fn platform(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts = parts.into_iter().map(String::as_str);
        let known: Vec<&str> = parts.filter(|it| !it.is_empty()).collect();
        known.join("/")
    }
}

/// A line of a pull, load or import.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressLine {
    pub(crate) status: String,
    pub(crate) stream: String,
    pub(crate) id: String,
    pub(crate) error: String,
    #[serde(rename = "progressDetail", deserialize_with = "null_is_default")]
    pub(crate) detail: ProgressDetail,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressDetail {
    pub(crate) current: u64,
    pub(crate) total: u64,
}

/// The answer to a creation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) id: String,
}

/// What `POST /containers/{id}/wait` answers when the container has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Waited {
    pub(crate) status_code: i64,
}

/// What `GET /containers/{id}/top` answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Processes {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) titles: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) processes: Vec<Vec<String>>,
}

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecCreate {
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) tty: bool,
    pub(crate) privileged: bool,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// Rows and columns.
    pub(crate) console_size: Option<[u16; 2]>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecStart {
    pub(crate) detach: bool,
    pub(crate) tty: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ExecState {
    pub(crate) exit_code: Option<i32>,
}

/// The containers of a project, ended ones too, in the order of their names.
pub(crate) async fn containers(client: &Client, project: &str) -> Result<Vec<Container>, ApiError> {
    let filters = serde_json::json!({"label": [format!("{PROJECT_LABEL}={project}")]}).to_string();
    let path = url("/containers/json", &[("all", "1"), ("filters", &filters)]);
    let mut found: Vec<Container> = client.get(&path).await?;
    found.sort_by_key(|it| (it.service().to_owned(), it.number(), it.name().to_owned()));
    Ok(found)
}

/// The running container of a service with the given number (or else the lowest one).
pub(crate) async fn running(
    client: &Client,
    project: &str,
    service: &str,
    number: Option<u32>,
) -> Result<Container, Failure> {
    let all = containers(client, project).await?;
    let is_known = all.iter().any(|it| it.service() == service);
    let meant = compose::nearest(service, all.iter().map(Container::service)).map(str::to_owned);
    let found = all.into_iter().find(|it| {
        it.is_running()
            && it.service() == service
            && !it.is_one_off()
            && number.is_none_or(|number| it.number() == number)
    });
    let Some(found) = found else {
        let failure = not_running(service, number, is_known, meant);
        return Err(blind_spot(client, failure).await);
    };
    Ok(found)
}

/// A worker does not see what is elsewhere.
async fn blind_spot(client: &Client, failure: Failure) -> Failure {
    match Nodes::seen_by(client).await.blind_spot() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn not_running(
    service: &str,
    number: Option<u32>,
    is_known: bool,
    meant: Option<String>,
) -> Failure {
    match (number, meant) {
        (None, Some(meant)) if !is_known => {
            Failure::new(format!("service \"{service}\" is not running"))
                .hint(format!("Did you mean `{meant}`?"))
        }
        (None, _) if is_known => Failure::new(format!("service \"{service}\" is not running"))
            .hint(format!(
                "`wharfie why {service}` says why; `wharfie up -d {service}` starts it."
            )),
        (None, _) => Failure::new(format!("service \"{service}\" is not running"))
            .hint(format!("Start it with `wharfie up -d {service}`.")),
        (Some(number), _) => Failure::new(format!(
            "service \"{service}\" is not running container #{number}"
        )),
    }
}

/// The parts of `GET /containers/{id}/json` that are used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Inspected {
    pub(crate) config: InspectedConfig,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectedConfig {
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    /// Seconds; Docker's default is 10.
    pub(crate) stop_timeout: Option<u64>,
}

/// The containers of a project that belong to some services, or to any when none is named.
///
/// # Errors
///
/// Fails when a service has been named that has no container.
pub(crate) async fn of_services(
    client: &Client,
    project: &str,
    services: &[String],
) -> Result<Vec<Container>, Failure> {
    let mut found = containers(client, project).await?;
    let has_none = |name: &&String| !found.iter().any(|it| it.service() == *name);
    if let Some(unknown) = services.iter().find(has_none) {
        let failure = Failure::new(format!("no container found for service \"{unknown}\""));
        let meant = compose::nearest(unknown, found.iter().map(Container::service));
        let failure = match meant {
            Some(meant) => failure.hint(format!("Did you mean `{meant}`?")),
            None => failure.hint(format!("Start it with `wharfie up -d {unknown}`.")),
        };
        return Err(blind_spot(client, failure).await);
    }
    if found.is_empty() {
        let failure = Failure::new(format!("no container found for project \"{project}\""))
            .hint("Start it with `wharfie up -d`.");
        return Err(blind_spot(client, failure).await);
    }
    found.retain(|it| services.is_empty() || services.iter().any(|name| name == it.service()));
    Ok(found)
}

/// One container of a service, running or not: that with the number, or else the first.
///
/// # Errors
///
/// Fails when there is none.
pub(crate) async fn one_of(
    client: &Client,
    project: &str,
    service: &str,
    number: Option<u32>,
) -> Result<Container, Failure> {
    let found = of_services(client, project, &[service.to_owned()]).await?;
    let is_meant = |it: &Container| match number {
        Some(number) => it.number() == number && !it.is_one_off(),
        None => !it.is_one_off(),
    };
    found.into_iter().find(is_meant).ok_or_else(|| {
        let number = number.unwrap_or(1);
        Failure::new(format!("service \"{service}\" has no container #{number}"))
    })
}
