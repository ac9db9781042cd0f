//! How many containers, where, when they restart and how they are replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Resolver, at, count, duration, flag};
use crate::compose::check::nearest;
use crate::compose::document::Node;
use crate::model::service::{
    Dependency, DependencyCondition, EndpointMode, FailureAction, Placement, RestartCondition,
    RestartPolicy, ServiceMode, UpdateConfig, UpdateOrder,
};

pub(super) fn mode(service: &Node) -> ServiceMode {
    let deployed = service.get("deploy").and_then(|it| count(it, "replicas"));
    let replicas = deployed.or_else(|| count(service, "scale")).unwrap_or(1);
    match at(service, "deploy.mode").and_then(Node::as_str) {
        Some("global") => ServiceMode::Global,
        Some("global-job") => ServiceMode::GlobalJob,
        // All at once, as `docker stack deploy` does it.
        Some("replicated-job") => ServiceMode::ReplicatedJob {
            completions: replicas,
            concurrent: 0,
        },
        _ => ServiceMode::Replicated { replicas },
    }
}

pub(super) fn dependencies(
    service: &Node,
    exists: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Dependency> {
    let mut dependencies = BTreeMap::new();
    for (name, entry) in service
        .get("depends_on")
        .into_iter()
        .flat_map(Node::entries)
    {
        let node = &entry.node;
        let condition = match node.get_str("condition") {
            Some("service_healthy") => DependencyCondition::ServiceHealthy,
            Some("service_completed_successfully") => {
                DependencyCondition::ServiceCompletedSuccessfully
            }
            _ => DependencyCondition::ServiceStarted,
        };
        let required = node.get_bool("required").unwrap_or(true);
        // One that may be absent, and is.
        if !required && !exists(name) {
            continue;
        }
        let dependency = Dependency {
            condition,
            restart: flag(node, "restart"),
            required,
        };
        dependencies.insert(name.to_owned(), dependency);
    }
    dependencies
}

impl Resolver<'_> {
    /// `deploy.restart_policy`, or else `restart`. A job that has done its work is never started
    /// again, one that has failed is, unless that is ruled out.
    pub(super) fn restart_policy(&mut self, service: &Node) -> RestartPolicy {
        let mut policy = self.written_restart_policy(service);
        let job = matches!(
            mode(service),
            ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob
        );
        let silent =
            at(service, "deploy.restart_policy").is_none() && service.get("restart").is_none();
        if job && (silent || policy.condition != RestartCondition::Never) {
            policy.condition = RestartCondition::OnFailure;
        }
        policy
    }

    fn written_restart_policy(&mut self, service: &Node) -> RestartPolicy {
        if let Some(policy) = at(service, "deploy.restart_policy") {
            let default = RestartPolicy::default();
            let condition = match policy.get_str("condition") {
                Some("none") => RestartCondition::Never,
                Some("on-failure") => RestartCondition::OnFailure,
                _ => RestartCondition::Always,
            };
            return RestartPolicy {
                condition,
                delay: duration(policy, "delay").unwrap_or(default.delay),
                max_attempts: count(policy, "max_attempts").unwrap_or(0),
                window: duration(policy, "window").unwrap_or(Duration::ZERO),
            };
        }
        let Some(node) = service.get("restart") else {
            return RestartPolicy::default();
        };
        let text = node.as_str().unwrap_or_default();
        let (word, attempts) = text.split_once(':').unwrap_or((text, "0"));
        let condition = match word {
            "no" | "false" | "" => Some(RestartCondition::Never),
            "always" => Some(RestartCondition::Always),
            "unless-stopped" => Some(RestartCondition::UnlessStopped),
            "on-failure" => Some(RestartCondition::OnFailure),
            _ => None,
        };
        let (Some(condition), Ok(max_attempts)) = (condition, attempts.parse()) else {
            let help = "write `\"no\"`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`";
            let meant = nearest(text, ["always", "unless-stopped", "on-failure"].into_iter());
            let diagnostic = self
                .problems
                .error(node.span, format!("`restart` cannot be `{text}`"));
            match meant {
                Some(meant) => diagnostic.suggest(meant),
                None => diagnostic.set_help(help),
            };
            return RestartPolicy::default();
        };
        RestartPolicy {
            condition,
            max_attempts,
            ..RestartPolicy::default()
        }
    }

    pub(super) fn placement(&mut self, service: &Node) -> Placement {
        let Some(node) = at(service, "deploy.placement") else {
            return Placement::default();
        };
        let mut constraints = Vec::new();
        for item in node.get("constraints").map(Node::items).unwrap_or_default() {
            match item.as_str().and_then(constraint) {
                Some(text) => constraints.push(text),
                None => {
                    let title = format!(
                        "`{}` is not a constraint",
                        item.as_str().unwrap_or_default()
                    );
                    let help =
                        "write for example `node.role == manager` or `node.labels.zone != a`";
                    self.problems.error(item.span, title).set_help(help);
                }
            }
        }
        let preferences = node.get("preferences").map(Node::items).unwrap_or_default();
        Placement {
            constraints,
            spread: preferences
                .iter()
                .filter_map(|it| it.get_str("spread"))
                .map(str::to_owned)
                .collect(),
            max_replicas_per_node: count(node, "max_replicas_per_node").unwrap_or(0),
        }
    }
}

/// Brings a constraint into the form `key==value`. The specification also shows `key=value`.
fn constraint(text: &str) -> Option<String> {
    let (key, operator, value) = if let Some((key, value)) = text.split_once("!=") {
        (key, "!=", value)
    } else if let Some((key, value)) = text.split_once("==") {
        (key, "==", value)
    } else {
        let (key, value) = text.split_once('=')?;
        (key, "==", value)
    };
    let (key, value) = (key.trim(), value.trim());
    let known = [
        "node.id",
        "node.hostname",
        "node.role",
        "node.ip",
        "node.platform.os",
        "node.platform.arch",
    ];
    let labels = ["node.labels.", "engine.labels."];
    let good = known.contains(&key)
        || labels
            .iter()
            .any(|it| key.starts_with(it) && key.len() > it.len());
    (good && !value.is_empty()).then(|| format!("{key}{operator}{value}"))
}

pub(super) fn endpoint_mode(service: &Node) -> EndpointMode {
    match at(service, "deploy.endpoint_mode").and_then(Node::as_str) {
        Some("dnsrr") => EndpointMode::Dnsrr,
        _ => EndpointMode::Vip,
    }
}

/// `update_config` or `rollback_config`. Where the section is given, what it leaves out is as in
/// Swarm: one at a time.
pub(super) fn update_config(service: &Node, key: &str) -> UpdateConfig {
    let Some(node) = service.get("deploy").and_then(|it| it.get(key)) else {
        return UpdateConfig::default();
    };
    let default = UpdateConfig::default();
    UpdateConfig {
        parallelism: count(node, "parallelism").unwrap_or(1),
        delay: duration(node, "delay").unwrap_or(default.delay),
        failure_action: match node.get_str("failure_action") {
            Some("continue") => FailureAction::Continue,
            Some("rollback") => FailureAction::Rollback,
            _ => FailureAction::Pause,
        },
        monitor: duration(node, "monitor")
            .filter(|it| !it.is_zero())
            .unwrap_or(default.monitor),
        max_failure_ratio: node.get_float("max_failure_ratio").unwrap_or(0.0),
        order: match node.get_str("order") {
            Some("start-first") => UpdateOrder::StartFirst,
            _ => UpdateOrder::StopFirst,
        },
    }
}
