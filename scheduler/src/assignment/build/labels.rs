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

/// The labels of a container: its own, and those that wharfie and Compose add. A node is not told of
/// them: whoever shows them has the state.
pub fn labels(
    state: &State,
    service: &Service,
    spec: &ServiceSpec,
    task: &Task,
) -> BTreeMap<String, String> {
    let mut labels = spec.container.labels.clone();
    let mut add = |name: &str, value: String| {
        labels.insert(name.to_owned(), value);
    };
    add("dev.wharfie.service", service.id.as_str().to_owned());
    add("dev.wharfie.task", task.id.as_str().to_owned());
    if let Some(node) = &task.node {
        add("dev.wharfie.node", node.as_str().to_owned());
    }
    let Some(stack) = &service.stack else {
        return labels;
    };
    let one_off = match service.is_standalone() {
        true => "True",
        false => "False",
    };
    let mut compose = |name: &str, value: String| {
        labels.insert(format!("com.docker.compose.{name}"), value);
    };
    compose("project", stack.clone());
    compose("service", spec.name.clone());
    compose("oneoff", one_off.to_owned());
    compose("config-hash", config_hash(spec));
    compose("depends_on", depends_on(&spec.depends_on));
    compose("version", COMPOSE_VERSION.to_owned());
    compose("container-number", task.slot.to_string());
    if let Some(record) = state.stacks.get(stack) {
        compose("project.working_dir", record.working_dir.clone());
        compose("project.config_files", record.config_files.join(","));
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
