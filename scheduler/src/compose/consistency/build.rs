//! `build`, devices and `develop` that contradict themselves.

use std::collections::BTreeMap;

use super::Service;
use crate::compose::document::{Entry, Node};

impl Service<'_> {
    pub(super) fn build(&mut self, services: &BTreeMap<&str, &Entry>) {
        let Some(build) = self.node.get("build") else {
            return;
        };
        let name = self.name;
        if let (Some(inline), Some(file)) =
            (build.get("dockerfile_inline"), build.get("dockerfile"))
        {
            let title = format!(
                "`build` of service `{name}` has both `dockerfile` and `dockerfile_inline`"
            );
            self.problems
                .error(inline.span, title)
                .set_help("remove one of them");
            self.problems.relate(file.span, "`dockerfile` stands here");
        }
        let platforms = build.get("platforms").map(Node::items).unwrap_or_default();
        if let Some(platform) = self.node.get("platform")
            && !platforms.is_empty()
            && !platforms.iter().any(|it| it.as_str() == platform.as_str())
        {
            let text = platform.as_str().unwrap_or_default();
            let title =
                format!("`build.platforms` of service `{name}` lacks its `platform` `{text}`");
            self.problems.error(platform.span, title);
        }
        for (_, entry) in build
            .get("additional_contexts")
            .into_iter()
            .flat_map(Node::entries)
        {
            let Some(other) = entry
                .node
                .as_str()
                .and_then(|it| it.strip_prefix("service:"))
            else {
                continue;
            };
            let why = match services.get(other) {
                None => "does not exist",
                Some(it) if it.node.get("build").is_none() => "has no `build`",
                Some(_) => continue,
            };
            let title = format!("service `{name}` builds on service `{other}`, which {why}");
            self.problems.error(entry.node.span, title);
        }
    }

    /// What only makes sense with another key beside it.
    pub(super) fn parts(&mut self) {
        if let Some(provider) = self.node.get("provider")
            && provider.get_str("type").is_none_or(str::is_empty)
        {
            let title = format!("`provider` of service `{}` has no `type`", self.name);
            self.problems.error(provider.span, title);
        }
        for key in ["post_start", "pre_stop", "pre_start"] {
            for hook in self.node.get(key).map(Node::items).unwrap_or_default() {
                // Another image has a command of its own.
                let other = key == "pre_start" && hook.get("image").is_some();
                if !other && hook.get("command").is_none_or(|it| it.items().is_empty()) {
                    let title = format!(
                        "an entry of `{key}` of service `{}` has no `command`",
                        self.name
                    );
                    self.problems.error(hook.span, title);
                }
            }
        }
        let limits = self
            .node
            .get("blkio_config")
            .into_iter()
            .flat_map(Node::entries);
        for (key, entry) in limits.filter(|(key, _)| key.contains("device")) {
            let amount = if key == "weight_device" {
                "weight"
            } else {
                "rate"
            };
            for item in entry.node.items() {
                for wanted in ["path", amount] {
                    if item.get(wanted).is_none() {
                        let title = format!(
                            "an entry of `{key}` of service `{}` has no `{wanted}`",
                            self.name
                        );
                        self.problems.error(item.span, title);
                    }
                }
            }
        }
    }

    /// A device is counted or named, not both.
    pub(super) fn devices(&mut self) {
        let gpus = self.node.get("gpus");
        let reserved = super::at(self.node, "deploy.resources.reservations.devices");
        for item in [gpus, reserved].into_iter().flatten().flat_map(Node::items) {
            if let (Some(count), Some(ids)) = (item.get("count"), item.get("device_ids")) {
                let title = "devices are given by `count` or by `device_ids`, not by both";
                self.problems.error(count.span, title);
                self.problems.relate(ids.span, "`device_ids` stands here");
            }
        }
        let named =
            |item: &Node| item.get("capabilities").is_some() || item.get("driver").is_some();
        for item in reserved.map(Node::items).unwrap_or_default() {
            if !named(item) {
                let title = "a device needs `capabilities`, or a `driver`";
                self.problems.error(item.span, title);
            }
        }
    }

    pub(super) fn watch(&mut self) {
        let Some(watch) = super::at(self.node, "develop.watch") else {
            return;
        };
        for item in watch.items() {
            for key in ["path", "action"] {
                if item.get(key).is_none() {
                    let title = format!("an entry of `develop.watch` has no `{key}`");
                    self.problems.error(item.span, title);
                }
            }
            let copies = item
                .get_str("action")
                .is_some_and(|it| it.starts_with("sync"));
            if copies && item.get("target").is_none() {
                let title = "an entry of `develop.watch` that syncs has no `target`";
                self.problems.error(item.span, title);
            }
        }
    }
}
