//! The pedantic rules that fit nowhere else: right as it stands, but worth a second look.

use super::{Linter, Rule, Service};

impl Linter<'_> {
    pub(super) fn style(&mut self, service: &Service<'_>) {
        self.base_60(service);
        self.links(service);
        self.memory(service);
        self.restart(service);
    }

    /// `22:22` is the number 1342 for readers of YAML 1.1, which count in sixties.
    fn base_60(&mut self, service: &Service<'_>) {
        for item in service.items("ports") {
            let text = self.problems.text(item.span).trim();
            let Some((host, container)) = text.split_once(':') else {
                continue;
            };
            let number = |it: &str| it.parse::<u32>().ok();
            if number(host).is_none() || number(container).is_none_or(|it| it >= 60) {
                continue;
            }
            let title = format!("`{text}` is a single number for tools that read YAML 1.1");
            let quoted = format!("\"{text}\"");
            if let Some(it) = self.warn(service, Rule::Base60Port, item.span, title) {
                it.set_help(format!("write `{quoted}`"))
                    .set_replacement(quoted);
            }
        }
    }

    fn links(&mut self, service: &Service<'_>) {
        let Some(entry) = service.node.as_map().and_then(|it| it.get("links")) else {
            return;
        };
        let title = format!(
            "service `{}` uses `links`, which are a thing of the past",
            service.name
        );
        if let Some(it) = self.warn(service, Rule::Links, entry.key, title) {
            it.set_help(
                "services of one network know each other by name: use `depends_on` for the order, \
                 and `networks.NAME.aliases` for other names",
            );
        }
    }

    fn memory(&mut self, service: &Service<'_>) {
        let deploy = ["deploy", "resources", "limits", "memory"];
        let limit = deploy
            .iter()
            .try_fold(service.node, |node, key| node.get(key));
        if limit.is_some() || service.node.get("mem_limit").is_some() {
            return;
        }
        let title = format!(
            "service `{}` may use all the memory of the host",
            service.name
        );
        if let Some(it) = self.warn(service, Rule::NoMemoryLimit, service.key, title) {
            it.set_help("limit it with `mem_limit: 512m`");
        }
    }

    fn restart(&mut self, service: &Service<'_>) {
        let policy = service
            .node
            .get("deploy")
            .and_then(|it| it.get("restart_policy"));
        let job = self.services.values().any(|other| {
            let dependency = other
                .node
                .get("depends_on")
                .and_then(|it| it.get(service.name));
            dependency.and_then(|it| it.get_str("condition"))
                == Some("service_completed_successfully")
        });
        if policy.is_some() || job || service.node.get("restart").is_some() {
            return;
        }
        let title = format!("service `{}` stays down when it has ended", service.name);
        if let Some(it) = self.warn(service, Rule::NoRestartPolicy, service.key, title) {
            it.set_help("write `restart: unless-stopped`, or `restart: \"no\"` if that is meant");
        }
    }
}
