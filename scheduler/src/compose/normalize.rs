//! What a project leaves unsaid: which services are on, the default network, dependencies that
//! follow from other attributes, final names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::diagnostic::{Problems, Span};
use super::document::{Entry, Node, Value};
use super::environment;
use super::{Files, LoadOptions, Steps};

/// The sections whose entries services refer to by name.
pub(super) const SECTIONS: [&str; 5] = ["networks", "volumes", "secrets", "configs", "models"];

/// What normalising needs to know besides the tree.
pub(super) struct Context<'a> {
    pub(super) name: &'a str,
    pub(super) directory: &'a Path,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) files: &'a dyn Files,
    pub(super) steps: Steps,
}

/// What profiles have decided.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Services that are off, with their profiles.
    pub(super) disabled: BTreeMap<String, Vec<String>>,
    pub(super) profiles: BTreeSet<String>,
}

/// Takes the services that are off out of the tree.
pub(super) fn select(
    model: &mut Node,
    options: &LoadOptions,
    problems: &mut Problems,
) -> Selection {
    let mut selection = Selection::default();
    let mut active: BTreeSet<String> = options.profiles.iter().cloned().collect();
    for name in &options.services {
        match model.get("services").and_then(|it| it.get(name)) {
            Some(service) => active.extend(profiles(service)),
            None => {
                let names = model
                    .get("services")
                    .into_iter()
                    .flat_map(Node::entries)
                    .map(|(name, _)| name);
                let meant = super::check::nearest(name, names).map(str::to_owned);
                let diagnostic = problems.error_without_place(format!("no such service: {name}"));
                if let Some(meant) = meant {
                    diagnostic.set_help(format!("did you mean `{meant}`?"));
                }
            }
        }
    }
    let Some(services) = model.get_mut("services").and_then(Node::as_map_mut) else {
        return selection;
    };
    services.retain(|name, entry| {
        let wanted = profiles(&entry.node);
        let on = wanted.is_empty()
            || active.contains("*")
            || wanted.iter().any(|it| active.contains(it));
        selection.profiles.extend(wanted.iter().cloned());
        if !on {
            selection.disabled.insert(name.to_string(), wanted);
        }
        on
    });
    selection
}

fn profiles(service: &Node) -> Vec<String> {
    let list = service.get("profiles").map(Node::items).unwrap_or_default();
    list.iter()
        .filter_map(Node::as_str)
        .map(str::to_owned)
        .collect()
}

/// Adds to the tree what follows from it.
pub(super) fn normalize(model: &mut Node, context: &Context<'_>, problems: &mut Problems) {
    let mut needs_default = None;
    if let Some(services) = model.get_mut("services").and_then(Node::as_map_mut) {
        services.sort_keys();
        for entry in services.values_mut() {
            let service = &mut entry.node;
            if context.steps.resolve_environment && context.steps.interpolate {
                environment::resolve_environment(
                    service,
                    context.directory,
                    context.environment,
                    context.files,
                    problems,
                );
                environment::resolve_labels(service, context.directory, context.files, problems);
            }
            complete_dependencies(service);
            complete_build(service, context);
            sort_hosts(service);
            if context.steps.check_consistency {
                scale(service);
            }
            if context.steps.normalize {
                imply_dependencies(service);
                if let Some(span) = attach(service, entry.key) {
                    needs_default = Some(span);
                }
            }
        }
    }
    if let Some(span) = needs_default {
        declare_default_network(model, span);
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        let Some(resources) = model.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        for (key, entry) in resources {
            if entry.node.is_null() {
                entry.node = Node::map([], entry.key);
            }
            if context.steps.normalize {
                name_resource(key, entry, context.name);
            }
        }
    }
    let span = model.get("name").map_or(model.span, |it| it.span);
    model.set("name", Node::text(context.name, span));
}

/// `links` and joined namespaces need the other service to be there first.
fn imply_dependencies(service: &mut Node) {
    // With whether a restart of the other service concerns this one.
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    for link in service.get("links").map(Node::items).unwrap_or_default() {
        if let Some(text) = link.as_str() {
            let name = text.split(':').next().unwrap_or(text);
            implied.push((name.to_owned(), link.span, true));
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str().and_then(|it| it.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), node.span, true));
        }
    }
    let sources = service.get("volumes_from").map(Node::items);
    for source in sources.unwrap_or_default() {
        if let Some(text) = source.as_str().filter(|it| !it.starts_with("container:")) {
            let name = text.split(':').next().unwrap_or(text);
            implied.push((name.to_owned(), source.span, false));
        }
    }
    for (name, span, restart) in implied {
        if service.get("depends_on").is_none() {
            service.set("depends_on", Node::map([], span));
        }
        let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else {
            continue;
        };
        dependencies.get_or_insert_with(name.into(), || {
            let condition = Node::text("service_started", span);
            let restart = Node::new(Value::Bool(restart), span);
            let required = Node::new(Value::Bool(true), span);
            let node = Node::map(
                [
                    ("condition", condition),
                    ("restart", restart),
                    ("required", required),
                ],
                span,
            );
            Entry { key: span, node }
        });
    }
}

fn complete_dependencies(service: &mut Node) {
    let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else {
        return;
    };
    for entry in dependencies.values_mut() {
        let node = &mut entry.node;
        if node.is_null() {
            *node = Node::map([], entry.key);
        }
        if node.get("condition").is_none() {
            node.set("condition", Node::text("service_started", entry.key));
        }
        if node.get("required").is_none() {
            node.set("required", Node::new(Value::Bool(true), entry.key));
        }
    }
}

/// Connects a service that says nothing to the default network. Gives the place if `default` is
/// needed.
fn attach(service: &mut Node, key: Span) -> Option<Span> {
    if let Some(mode) = service.get("network_mode") {
        return is_bridge(service).then_some(mode.span);
    }
    // Somebody else runs it.
    if service.get("provider").is_some() {
        return None;
    }
    let empty = service
        .get("networks")
        .is_none_or(|it| it.entries().next().is_none());
    if empty {
        service.set(
            "networks",
            Node::map([("default", Node::new(Value::Null, key))], key),
        );
    }
    let networks = service.get("networks").and_then(Node::as_map)?;
    networks.get("default").map(|it| it.key)
}

/// `network_mode: bridge` is Docker's bridge for everybody; here the project's own takes its place.
pub(super) fn is_bridge(service: &Node) -> bool {
    matches!(service.get_str("network_mode"), Some("bridge" | "default"))
}

/// `scale` is the older word for `deploy.replicas`.
fn scale(service: &mut Node) {
    let Some(scale) = service.get("scale").cloned() else {
        return;
    };
    if let Some(deploy) = service.get_mut("deploy")
        && deploy.get("replicas").is_none()
        && !deploy.is_null()
    {
        deploy.set("replicas", scale);
    }
}

/// A build is of a directory and a file in it, and its arguments may come from the environment.
fn complete_build(service: &mut Node, context: &Context<'_>) {
    let Some(build) = service.get_mut("build").filter(|it| !it.is_null()) else {
        return;
    };
    let span = build.span;
    if build.get("context").is_none() {
        let here = match context.steps.resolve_paths {
            true => context.directory.to_string_lossy().into_owned(),
            false => ".".to_owned(),
        };
        build.set("context", Node::text(here, span));
    }
    if context.steps.normalize
        && build.get("dockerfile").is_none()
        && build.get("dockerfile_inline").is_none()
    {
        build.set("dockerfile", Node::text("Dockerfile", span));
    }
    if context.steps.interpolate
        && context.steps.normalize
        && let Some(arguments) = build.get_mut("args").and_then(Node::as_map_mut)
    {
        environment::fill(arguments, context.environment);
        arguments.retain(|_, entry| !entry.node.is_null());
    }
}

fn sort_hosts(service: &mut Node) {
    if let Some(Value::Seq(items)) = service.get_mut("extra_hosts").map(|it| &mut it.value) {
        items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

fn declare_default_network(model: &mut Node, span: Span) {
    if model.get("networks").is_none() {
        model.set("networks", Node::map([], span));
    }
    let Some(networks) = model.get_mut("networks").and_then(Node::as_map_mut) else {
        return;
    };
    networks.get_or_insert_with("default".into(), || Entry {
        key: span,
        node: Node::map([], span),
    });
}

fn name_resource(key: &str, entry: &mut Entry, project: &str) {
    let node = &mut entry.node;
    // An empty one is often a variable that is not set.
    if node.get_str("name").is_none_or(str::is_empty) {
        let external = node.get_bool("external") == Some(true);
        let name = if external {
            key.to_owned()
        } else {
            format!("{project}_{key}")
        };
        node.set("name", Node::text(name, entry.key));
    }
    if node.get_bool("external") == Some(false) {
        node.remove("external");
    }
}

/// Takes networks, volumes, secrets and configs that no service uses out of the tree.
pub(super) fn drop_unused(model: &mut Node) {
    for section in SECTIONS {
        let used = used(model, section);
        let Some(resources) = model.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        resources.retain(|key, _| used.contains(key.as_str()));
        if resources.is_empty() {
            model.remove(section);
        }
    }
}

fn used(model: &Node, section: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (_, service) in model.get("services").into_iter().flat_map(Node::entries) {
        if section == "networks" && is_bridge(&service.node) {
            used.insert("default".to_owned());
        }
        used.extend(references(&service.node, section).map(|(name, _)| name.to_owned()));
    }
    used
}

/// The keys of a section that a service names, with their places.
pub(super) fn references<'a>(
    service: &'a Node,
    section: &'a str,
) -> impl Iterator<Item = (&'a str, Span)> {
    let node = service.get(section);
    let of_build = service
        .get("build")
        .filter(|_| section == "secrets")
        .and_then(|it| it.get(section));
    let keys = node
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, entry)| (key, entry.key));
    let items = [node, of_build]
        .into_iter()
        .flatten()
        .flat_map(Node::items)
        .filter_map(move |item| {
            if section == "volumes" && item.get_str("type") != Some("volume") {
                return None;
            }
            let source = item.get("source")?;
            Some((source.as_str()?, source.span))
        });
    keys.chain(items)
}
