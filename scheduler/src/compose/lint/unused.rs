//! Resources that no service uses, active or not.

use std::collections::BTreeSet;

use super::{Linter, Rule};
use crate::compose::document::Node;
use crate::compose::normalize::references;

impl Linter<'_> {
    pub(super) fn unused(&mut self) {
        for section in ["networks", "volumes", "secrets", "configs"] {
            let used = self.used(section);
            let singular = section.trim_end_matches('s');
            let declared = self.model.get(section).into_iter().flat_map(Node::entries);
            for (name, entry) in declared {
                // Services that name no network are on `default`.
                let implied = section == "networks" && name == "default";
                if implied || used.contains(name) || name.starts_with("x-") {
                    continue;
                }
                let title = format!("no service uses the {singular} `{name}`");
                self.problems
                    .warn(Rule::Unused, entry.key, title)
                    .set_help(format!(
                        "remove it, or name it under `{section}` of a service"
                    ));
            }
        }
    }

    fn used(&self, section: &str) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for service in self.services.values() {
            used.extend(references(service.node, section).map(|(name, _)| name.to_owned()));
            // Builds have secrets of their own.
            let build = service.node.get("build").and_then(|it| it.get(section));
            for item in build.map(Node::items).unwrap_or_default() {
                let name = item.as_str().or_else(|| item.get_str("source"));
                used.extend(name.map(str::to_owned));
            }
        }
        used
    }
}
