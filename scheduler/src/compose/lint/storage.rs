//! Data that does not outlive its container, and files that are not there.

use std::path::Path;

use super::{Linter, Rule, Service, known};
use crate::compose::document::Node;

/// Endings of files that people mount one by one.
const FILES: &[&str] = &[
    "cfg",
    "cnf",
    "conf",
    "crt",
    "css",
    "env",
    "html",
    "ini",
    "js",
    "json",
    "key",
    "lua",
    "pem",
    "php",
    "properties",
    "py",
    "rules",
    "sh",
    "sql",
    "toml",
    "ts",
    "txt",
    "xml",
    "yaml",
    "yml",
];

impl Linter<'_> {
    /// Mounts of files that do not exist: an empty directory would be made in their place.
    pub(super) fn files(&mut self, service: &Service<'_>) {
        for volume in service.items("volumes") {
            if volume.get_str("type") != Some("bind") {
                continue;
            }
            let (Some(source), Some(target)) = (volume.get("source"), volume.get_str("target"))
            else {
                continue;
            };
            let path = source.as_str().unwrap_or_default();
            if !path.starts_with('/') || self.files.exists(Path::new(path)) {
                continue;
            }
            let details = volume.get("bind");
            let created = details.and_then(|it| it.get_bool("create_host_path")) != Some(false);
            let (title, help) = if !created {
                (
                    format!(
                        "{path} does not exist, and `create_host_path: false` forbids to make it"
                    ),
                    "the service cannot start before it is there",
                )
            } else if is_file(path) || is_file(target) {
                (
                    format!(
                        "{path} does not exist: an empty directory will be mounted at {target}"
                    ),
                    "correct the path, or write the file first",
                )
            } else {
                continue;
            };
            if let Some(it) = self.warn(service, Rule::MissingFile, source.span, title) {
                it.set_help(help);
            }
        }
    }

    /// Secrets and configs whose files do not exist.
    pub(super) fn missing_contents(&mut self) {
        for section in ["secrets", "configs"] {
            let entries = self.model.get(section).into_iter().flat_map(Node::entries);
            for (name, entry) in entries {
                let Some(file) = entry.node.get("file") else {
                    continue;
                };
                let path = file.as_str().unwrap_or_default();
                if !path.starts_with('/') || self.files.exists(Path::new(path)) {
                    continue;
                }
                let title = format!(
                    "{path} does not exist, so {} `{name}` has no content",
                    section.trim_end_matches('s')
                );
                self.problems.warn(Rule::MissingFile, file.span, title);
            }
        }
    }

    pub(super) fn databases(&mut self, service: &Service<'_>) {
        let Some(image) = service.image().and_then(Node::as_str) else {
            return;
        };
        let Some(database) = known::database(image).filter(|it| !it.data.is_empty()) else {
            return;
        };
        let volumes = service.items("volumes").iter();
        let mut kept = false;
        for volume in volumes {
            let target = volume.get_str("target").unwrap_or_default();
            let holds_data =
                |data: &&str| target.starts_with(*data) || Path::new(*data).starts_with(target);
            if !database.data.iter().any(holds_data) {
                continue;
            }
            kept = true;
            if volume.get_str("type") == Some("volume") && volume.get("source").is_none() {
                let title = format!(
                    "the data of database `{}` is in a volume without a name: `down` and `up` begin \
                     with an empty one",
                    service.name
                );
                let rule = Rule::AnonymousDatabaseVolume;
                if let Some(it) = self.warn(service, rule, volume.span, title) {
                    it.set_help(format!(
                        "name it (`data:{target}`) and declare `data` under the top-level `volumes:`"
                    ));
                }
            }
        }
        let in_memory = service.items("tmpfs").iter().filter_map(Node::as_str);
        kept |= in_memory.into_iter().any(|it| {
            let target = it.split(':').next().unwrap_or_default();
            database
                .data
                .iter()
                .any(|data| Path::new(data).starts_with(target) || target.starts_with(data))
        });
        if !kept {
            let title = format!(
                "the data of database `{}` is in no volume: it goes with the container",
                service.name
            );
            let data = database.data.first().copied().unwrap_or_default();
            let rule = Rule::DatabaseWithoutVolume;
            if let Some(it) = self.warn(service, rule, service.key, title) {
                it.set_help(format!("mount a named volume at {data}"));
            }
        }
    }
}

fn is_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| FILES.contains(&ending))
}
