//! Networks, volumes, secrets and configs that contradict themselves.

use crate::compose::diagnostic::Problems;
use crate::compose::document::Entry;

pub(super) fn resource(section: &str, key: &str, entry: &Entry, problems: &mut Problems) {
    let node = &entry.node;
    let singular = section.trim_end_matches('s');
    if node.get_bool("external") == Some(true) {
        let others = node.entries().filter(|(key, entry)| {
            !matches!(*key, "external" | "name")
                && !key.starts_with("x-")
                && !entry.node.is_null()
                && entry.node.as_map().is_none_or(|it| !it.is_empty())
        });
        for (other, entry) in others {
            let title = format!("{singular} `{key}` is external, so `{other}` cannot be given");
            problems.error(entry.key, title).set_code("conflict");
        }
        return;
    }
    if section == "models" {
        if node.get("model").is_none() {
            let title = format!("model `{key}` has no `model`");
            problems.error(entry.key, title);
        }
        return;
    }
    if matches!(section, "secrets" | "configs") && node.get("driver").is_none() {
        let sources = ["file", "environment", "content"]
            .iter()
            .filter(|it| node.get(it).is_some())
            .count();
        if sources != 1 {
            let how = if sources == 0 {
                "no source"
            } else {
                "more than one source"
            };
            let wanted = if section == "secrets" {
                "`file` or `environment`"
            } else {
                "`file`, `environment` or `content`"
            };
            let title = format!("{singular} `{key}` has {how}");
            problems
                .error(entry.key, title)
                .set_help(format!("give one of {wanted}, or `external: true`"));
        }
    }
}
