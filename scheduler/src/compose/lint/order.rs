//! Waiting for other services: for what cannot happen, or not for what could be waited for.

use super::{Linter, Rule, Service, known};
use crate::compose::document::{Entry, Node};

impl Linter<'_> {
    pub(super) fn order(&mut self, service: &Service<'_>) {
        let dependencies = service.node.get("depends_on").into_iter();
        for (name, entry) in dependencies.flat_map(Node::entries) {
            let Some(other) = self.services.get(name).copied() else {
                continue;
            };
            // The short form has got its condition from us.
            let condition = entry
                .node
                .get("condition")
                .filter(|it| it.span != entry.key);
            match condition.and_then(Node::as_str) {
                None => self.not_awaited(service, entry, &other),
                Some("service_healthy") => self.never_healthy(service, entry, &other),
                Some("service_completed_successfully") => {
                    self.never_completes(service, entry, &other);
                }
                Some(_) => {}
            }
        }
    }

    fn not_awaited(&mut self, service: &Service<'_>, entry: &Entry, other: &Service<'_>) {
        let Some(check) = other.node.get("healthcheck").filter(|it| is_checked(it)) else {
            return;
        };
        let span = check.span;
        let name = other.name;
        let title = format!(
            "service `{}` waits until `{name}` has started, not until it is healthy",
            service.name
        );
        let Some(it) = self.warn(service, Rule::HealthNotAwaited, entry.key, title) else {
            return;
        };
        it.set_help(format!(
            "write `{name}: {{condition: service_healthy}}`, or `service_started` if that is meant"
        ));
        self.problems
            .relate(span, format!("`{name}` says here when it is healthy"));
    }

    fn never_healthy(&mut self, service: &Service<'_>, entry: &Entry, other: &Service<'_>) {
        let image = other.image().and_then(Node::as_str).unwrap_or_default();
        if other.node.get("healthcheck").is_some()
            || other.is_built()
            || !known::has_no_healthcheck(image)
        {
            return;
        }
        let title = format!(
            "service `{}` waits until `{}` is healthy, but nothing checks its health",
            service.name, other.name
        );
        let help = format!(
            "give `{}` a `healthcheck`: image `{image}` has none of its own",
            other.name
        );
        let key = other.key;
        let label = format!("`{}` has no `healthcheck`", other.name);
        let Some(it) = self.warn(service, Rule::MissingHealthcheck, entry.key, title) else {
            return;
        };
        it.set_help(help);
        self.problems.relate(key, label);
    }

    fn never_completes(&mut self, service: &Service<'_>, entry: &Entry, other: &Service<'_>) {
        let policy = other
            .node
            .get("deploy")
            .and_then(|it| it.get("restart_policy"));
        let restart = match policy.and_then(|it| it.get("condition")) {
            Some(condition) => Some(condition).filter(|it| it.as_str() == Some("any")),
            None => other
                .node
                .get("restart")
                .filter(|it| matches!(it.as_str(), Some("always" | "unless-stopped"))),
        };
        let Some(restart) = restart else { return };
        let span = restart.span;
        let title = format!(
            "service `{}` waits until `{}` has completed, but that is started again whenever it ends",
            service.name, other.name
        );
        let Some(it) = self.warn(service, Rule::NeverCompletes, entry.key, title) else {
            return;
        };
        it.set_help("write `restart: on-failure`, or leave `restart` out");
        self.problems.relate(span, "restarted because of this");
    }
}

/// Whether the check is more than a way to switch the image's check off.
fn is_checked(check: &Node) -> bool {
    let test = check.get("test").map(Node::items).unwrap_or_default();
    let none = test.first().and_then(Node::as_str) == Some("NONE");
    check.get_bool("disable") != Some(true) && !test.is_empty() && !none
}
