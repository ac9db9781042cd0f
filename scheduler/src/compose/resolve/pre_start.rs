//! `pre_start`: programs that run to their end before a service begins, each in a container of its own.
//!
//!     web: {pre_start: [a, b]}    ═══►    web-pre-start-1 ──► web-pre-start-2 ──► web
//!
//! Each becomes a job of the stack with the networks and mounts of its service, and the service waits
//! for the last one to complete. All that holds for such a job holds here: it is not run again while
//! nothing of it has changed, it is kept when it fails, and who waits for it is told why.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Resolver, flag, text, texts};
use crate::compose::document::Node;
use crate::model::container::{
    ContainerSpec, HealthTest, Healthcheck, NetworkAttachment, NetworkMode,
};
use crate::model::service::{
    Dependency, DependencyCondition, Placement, RestartPolicy, ServiceMode, ServiceSpec,
};

/// Digest of the service that it comes before: when that becomes another, the steps are due again.
const DEFINITION: &str = "dev.wharfie.definition";

impl Resolver<'_> {
    /// Adds the steps of every service that has some.
    pub(super) fn pre_start(&mut self, services: &mut BTreeMap<String, ServiceSpec>) {
        let model = self.model;
        let nodes = model.get("services").into_iter().flat_map(Node::entries);
        for (name, entry) in nodes {
            let Some(steps) = entry.node.get("pre_start") else {
                continue;
            };
            let Some(mut main) = services.get(name).cloned() else {
                continue;
            };
            let mut before = main.depends_on.clone();
            for (number, step) in steps.items().iter().enumerate() {
                let own = format!("{name}-pre-start-{}", number + 1);
                if services.contains_key(&own) {
                    let title = format!("`{own}` is the name of a step of `{name}`");
                    let diagnostic = self.problems.error(step.span, title);
                    diagnostic.set_help("give the service of that name another one");
                    return;
                }
                let needed = before.clone();
                before.extend([(own.clone(), COMPLETED)]);
                main.depends_on.insert(own.clone(), COMPLETED);
                let spec = self.step(own.clone(), &main, step, needed);
                services.insert(own, spec);
            }
            services.insert(name.to_owned(), main);
        }
    }

    fn step(
        &self,
        name: String,
        main: &ServiceSpec,
        step: &Node,
        depends_on: BTreeMap<String, Dependency>,
    ) -> ServiceSpec {
        let mode = match main.mode {
            ServiceMode::Global | ServiceMode::GlobalJob if flag(step, "per_replica") => {
                ServiceMode::GlobalJob
            }
            ServiceMode::Replicated { replicas } if flag(step, "per_replica") => job(replicas),
            ServiceMode::Replicated { .. }
            | ServiceMode::ReplicatedJob { .. }
            | ServiceMode::Standalone { .. }
            | ServiceMode::Global
            | ServiceMode::GlobalJob => job(1),
        };
        ServiceSpec {
            name,
            container: Arc::new(self.container_of_step(main, step)),
            mode,
            depends_on,
            restart: RestartPolicy::default(),
            placement: Placement {
                max_replicas_per_node: 0,
                ..main.placement.clone()
            },
            attach: main.attach,
            content_digest: main.content_digest.clone(),
            pre_start_of: Some(main.name.clone()),
            ..ServiceSpec::default()
        }
    }

    /// As the service's, but without what one has that serves others.
    fn container_of_step(&self, main: &ServiceSpec, step: &Node) -> ContainerSpec {
        let mut container = ContainerSpec::clone(&main.container);
        container.labels = BTreeMap::from([(DEFINITION.to_owned(), definition(main))]);
        container.ports.clear();
        container.expose.clear();
        container.post_start.clear();
        container.pre_stop.clear();
        container.healthcheck = Some(Healthcheck {
            test: Some(HealthTest::Disabled),
            ..Healthcheck::default()
        });
        if let NetworkMode::Attached(networks) = &mut container.network {
            for network in networks {
                *network = NetworkAttachment {
                    network: std::mem::take(&mut network.network),
                    priority: network.priority,
                    gateway_priority: network.gateway_priority,
                    ..NetworkAttachment::default()
                };
            }
        }
        // Another image has users, directories and programs of its own.
        if let Some(image) = text(step, "image") {
            container.image = image;
            container.user = None;
            container.working_dir = None;
            container.entrypoint = None;
            container.command = None;
        }
        if step.get("command").is_some() {
            container.entrypoint = Some(texts(step, "command"));
            container.command = None;
        }
        container.user = text(step, "user").or(container.user);
        container.working_dir = text(step, "working_dir").or(container.working_dir);
        container.privileged |= flag(step, "privileged");
        container.environment.extend(self.variables(step));
        container
    }
}

const COMPLETED: Dependency = Dependency {
    condition: DependencyCondition::ServiceCompletedSuccessfully,
    restart: false,
    required: true,
};

fn job(completions: u32) -> ServiceMode {
    ServiceMode::ReplicatedJob {
        completions,
        concurrent: 0,
    }
}

fn definition(main: &ServiceSpec) -> String {
    let text = serde_json::to_vec(&main.container).unwrap_or_default();
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
