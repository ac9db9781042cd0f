//! A service's `environment`, `env_file` and `label_file`, with every value found.

use std::collections::BTreeMap;
use std::path::Path;

use super::Files;
use super::diagnostic::{Problems, Span};
use super::document::{Entry, Map, Node, Tag, Value};
use super::dotenv::{self, Format};

/// Merges the files into `environment`, and fills in names without a value from the project's
/// variables. What is found nowhere stays null: the container does not get it.
pub(super) fn resolve_environment(
    service: &mut Node,
    directory: &Path,
    variables: &BTreeMap<String, String>,
    files: &dyn Files,
    problems: &mut Problems,
) {
    let mut found: BTreeMap<String, (String, Span)> = BTreeMap::new();
    if let Some(entry) = service.remove("env_file") {
        for item in entry.node.items() {
            let Some((path, span)) = item
                .get("path")
                .and_then(|it| Some((it.as_str()?, it.span)))
            else {
                continue;
            };
            let path = directory.join(path);
            if item.get_bool("required") == Some(false) && !files.exists(&path) {
                continue;
            }
            let format = if item.get_str("format").is_some() {
                Format::Raw
            } else {
                Format::Compose
            };
            let lookup = |name: &str| {
                let own = || service.get("environment")?.get_str(name).map(str::to_owned);
                let earlier = || found.get(name).map(|(value, _)| value.clone());
                variables.get(name).cloned().or_else(own).or_else(earlier)
            };
            for (name, value) in read(&path, span, format, &lookup, files, problems) {
                // A name alone is taken from the project, and left out if it is not there either.
                if let Some(value) = value.or_else(|| variables.get(&name).cloned()) {
                    found.insert(name, (value, span));
                }
            }
        }
    }
    let span = service.span;
    let mut own = match service.remove("environment").map(|it| it.node.value) {
        Some(Value::Map(map)) => map,
        _ => Box::default(),
    };
    for (name, (value, span)) in found {
        if !own.contains_key(&name) {
            let node = Node::text(value, span);
            own.insert(name.into(), Entry { key: span, node });
        }
    }
    fill(&mut own, variables);
    if !own.is_empty() {
        service.set("environment", Node::new(Value::Map(own), span));
    }
}

/// Gives the services of an included project the variables of that project.
pub(super) fn fill_from_project(model: &mut Node, variables: &BTreeMap<String, String>) {
    let services = model.get_mut("services").and_then(Node::as_map_mut);
    for service in services.into_iter().flat_map(|it| it.values_mut()) {
        if let Some(own) = service
            .node
            .get_mut("environment")
            .and_then(Node::as_map_mut)
        {
            fill(own, variables);
        }
    }
}

/// Finds the values of names that stand alone.
pub(super) fn fill(own: &mut Map, variables: &BTreeMap<String, String>) {
    for (name, entry) in own {
        if entry.node.is_null()
            && entry.node.tag == Tag::None
            && let Some(value) = variables.get(name.as_str())
        {
            entry.node.value = Value::Text(value.into());
        }
    }
}

/// Merges the files into `labels`; labels written in the Compose file win.
pub(super) fn resolve_labels(
    service: &mut Node,
    directory: &Path,
    files: &dyn Files,
    problems: &mut Problems,
) {
    let Some(entry) = service.remove("label_file") else {
        return;
    };
    let mut labels = Map::default();
    for item in entry.node.items() {
        let Some(path) = item.as_str() else { continue };
        let path = directory.join(path);
        for (name, value) in read(
            &path,
            item.span,
            Format::Compose,
            &|_| None,
            files,
            problems,
        ) {
            let Some(value) = value else { continue };
            let node = Node::text(value, item.span);
            labels.insert(
                name.into(),
                Entry {
                    key: item.span,
                    node,
                },
            );
        }
    }
    if let Some(own) = service.remove("labels")
        && let Value::Map(own) = own.node.value
    {
        labels.extend(*own);
    }
    let span = service.span;
    service.set("labels", Node::new(Value::Map(Box::new(labels)), span));
}

fn read(
    path: &Path,
    span: Span,
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    files: &dyn Files,
    problems: &mut Problems,
) -> Vec<(String, Option<String>)> {
    let text = match files.read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            problems.error(span, format!("{} is not UTF-8 text", path.display()));
            return Vec::new();
        }
        Err(error) => {
            let diagnostic =
                problems.error(span, format!("{} cannot be read: {error}", path.display()));
            if error.kind() == std::io::ErrorKind::NotFound {
                diagnostic
                    .set_help("a file that may be missing is written `{path: …, required: false}`");
            }
            return Vec::new();
        }
    };
    match dotenv::parse(&text, format, lookup) {
        Ok(values) => values.into_iter().collect(),
        Err(error) => {
            problems.error(span, format!("{}: {error}", path.display()));
            Vec::new()
        }
    }
}
