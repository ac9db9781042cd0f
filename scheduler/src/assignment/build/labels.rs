//! The labels that wharfie and Compose add to a container's own.
//!
//! Tools find everything by Compose's labels, so that their names and forms are kept to the letter.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::model::service::{Dependency, DependencyCondition, Service, ServiceSpec};
use crate::model::task::Task;
use crate::state::State;

/// The version of Compose whose labels these are, for tools that compare it.
pub(crate) const COMPOSE_VERSION: &str = "2.40.3";

/// The labels of a container: its own, and those that wharfie and Compose add.
pub fn labels(
    state: &State,
    service: &Service,
    spec: &ServiceSpec,
    task: &Task,
) -> BTreeMap<String, String> {
    with_own(common(state, service, spec), service, task)
}

/// The labels that all containers of one version of a service have.
pub(super) fn common(
    state: &State,
    service: &Service,
    spec: &ServiceSpec,
) -> BTreeMap<String, String> {
    let mut labels = spec.container.labels.clone();
    let id = service.id.as_str().to_owned();
    labels.insert("dev.wharfie.service".to_owned(), id);
    let Some(stack) = &service.stack else {
        return labels;
    };
    let mut compose = |name: &str, value: String| {
        labels.insert(format!("com.docker.compose.{name}"), value);
    };
    compose("project", stack.clone());
    compose("service", spec.name.clone());
    let one_off = if service.is_standalone() {
        "True"
    } else {
        "False"
    };
    compose("oneoff", one_off.to_owned());
    compose("config-hash", config_hash(spec));
    compose("depends_on", depends_on(&spec.depends_on));
    compose("version", COMPOSE_VERSION.to_owned());
    if let Some(record) = state.stacks.get(stack) {
        compose("project.working_dir", record.working_dir.clone());
        compose("project.config_files", record.config_files.join(","));
    }
    labels
}

/// Adds those that one container has alone.
pub(super) fn with_own(
    mut labels: BTreeMap<String, String>,
    service: &Service,
    task: &Task,
) -> BTreeMap<String, String> {
    let mut own = |name: &str, value: String| {
        labels.insert(name.to_owned(), value);
    };
    own("dev.wharfie.task", task.id.as_str().to_owned());
    if let Some(node) = &task.node {
        own("dev.wharfie.node", node.as_str().to_owned());
    }
    if service.stack.is_some() {
        own("com.docker.compose.container-number", task.slot.to_string());
    }
    labels
}

/// Changes exactly when containers have to be made anew.
fn config_hash(spec: &ServiceSpec) -> String {
    let container = spec.container.made_of();
    let what = (&container, &spec.container_name, &spec.content_digest);
    // A spec is maps with text keys and plain values: it can always be written.
    let json = serde_json::to_vec(&what).unwrap_or_default();
    use std::fmt::Write;
    Sha256::digest(json)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `db:service_healthy:false,migrate:service_completed_successfully:true`
fn depends_on(dependencies: &BTreeMap<String, Dependency>) -> String {
    let one = |(name, dependency): (&String, &Dependency)| {
        let condition = match dependency.condition {
            DependencyCondition::ServiceStarted => "service_started",
            DependencyCondition::ServiceHealthy => "service_healthy",
            DependencyCondition::ServiceCompletedSuccessfully => "service_completed_successfully",
        };
        format!("{name}:{condition}:{}", dependency.restart)
    };
    dependencies.iter().map(one).collect::<Vec<_>>().join(",")
}
