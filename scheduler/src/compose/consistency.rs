//! What is well-formed but makes no sense: names of nothing, attributes that contradict each
//! other, dependencies in a circle.
//!
//! Source: `CheckConsistency` of Docker Compose's loader, and the specification's words "must not".

mod build;
mod cycle;
mod kernel;
mod port;
mod resource;

use std::collections::BTreeMap;

use super::check::nearest;
use super::diagnostic::{Problems, Span};
use super::document::{Entry, Node};
use super::lint::Rule;
use super::normalize::{SECTIONS, Selection, references};
use cycle::cycles;
use resource::resource;

pub(super) fn check(model: &Node, selection: &Selection, problems: &mut Problems) {
    let services: BTreeMap<&str, &Entry> = model
        .get("services")
        .into_iter()
        .flat_map(Node::entries)
        .collect();
    if services.is_empty() && !problems.has_errors() && selection.disabled.is_empty() {
        problems
            .error(model.span, "the files declare no service")
            .set_help("write `services: {NAME: {image: IMAGE}}`");
    }
    for (name, entry) in &services {
        check_name(name, entry.key, problems);
        let mut service = Service {
            name,
            key: entry.key,
            node: &entry.node,
            problems,
        };
        service.image();
        service.networks();
        service.amounts();
        service.container_name();
        service.targets();
        service.kernel_names();
        service.build(&services);
        service.devices();
        service.parts();
        service.watch();
        for section in SECTIONS {
            service.references(model, section);
        }
        service.dependencies(&services, selection);
    }
    container_names(&services, problems);
    port::collisions(&services, problems);
    cycles(&services, problems);
    for section in SECTIONS {
        for (key, entry) in model.get(section).into_iter().flat_map(Node::entries) {
            resource(section, key, entry, problems);
        }
    }
}

fn check_name(name: &str, span: Span, problems: &mut Problems) {
    let good = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(good) {
        let title = format!("`{name}` cannot be the name of a service");
        problems
            .error(span, title)
            .set_help("use letters, digits, `.`, `_` and `-`");
    }
}

struct Service<'a> {
    name: &'a str,
    key: Span,
    node: &'a Node,
    problems: &'a mut Problems,
}

impl Service<'_> {
    fn image(&mut self) {
        let image = self.node.get_str("image").filter(|it| !it.is_empty());
        let build = self.node.as_map().and_then(|it| it.get("build"));
        if let Some(build) = build.filter(|it| !it.node.is_null()) {
            let title = format!("`build` is not supported yet in service `{}`", self.name);
            match image {
                Some(image) => self
                    .problems
                    .warn(Rule::NoEffect, build.key, title)
                    .set_help(format!(
                        "image `{image}` is used as it is: build it elsewhere, and pull it or \
                     `wharfie image load` it"
                    )),
                None => self
                    .problems
                    .unsupported(build.key, title)
                    .set_help("build the image beforehand and name it with `image`"),
            };
            return;
        }
        let nothing = image.is_none() && self.node.get("provider").is_none();
        // A misspelt or refused key has been reported already, and may be the reason.
        if nothing && !self.problems.has_error_within(self.node.span) {
            let title = format!("service `{}` has no image", self.name);
            self.problems
                .error(self.key, title)
                .set_help("add `image: NAME`");
        }
    }

    fn networks(&mut self) {
        let Some(mode) = self.node.get("network_mode") else {
            return;
        };
        let text = mode.as_str().unwrap_or_default();
        if let Some(networks) = self.node.as_map().and_then(|it| it.get("networks"))
            && networks.node.entries().next().is_some()
        {
            let title = format!(
                "service `{}` has both `network_mode` and `networks`",
                self.name
            );
            self.problems
                .error(mode.span, title)
                .set_code("conflict")
                .set_help("remove one of them");
            self.problems.relate(networks.key, "`networks` stands here");
        }
        let Some(ports) = self.node.get("ports").filter(|it| !it.items().is_empty()) else {
            return;
        };
        if text == "host" {
            let title = format!(
                "service `{}` publishes ports but uses the host's network",
                self.name
            );
            let help = "its ports are the host's already; `ports` has no effect";
            self.problems
                .warn(Rule::NoEffect, ports.span, title)
                .set_help(help);
        } else if text.starts_with("service:") || text.starts_with("container:") {
            let title = format!(
                "service `{}` publishes ports but has no network of its own",
                self.name
            );
            let help = format!("publish them where the network is, `{text}`");
            self.problems.error(ports.span, title).set_help(help);
        }
    }

    /// `deploy` and the older attributes beside it must say the same.
    fn amounts(&mut self) {
        let pairs = [
            ("scale", "deploy.replicas"),
            ("cpus", "deploy.resources.limits.cpus"),
            ("mem_limit", "deploy.resources.limits.memory"),
            ("mem_reservation", "deploy.resources.reservations.memory"),
            ("pids_limit", "deploy.resources.limits.pids"),
        ];
        for (short, long) in pairs {
            let (Some(one), Some(other)) = (self.node.get(short), at(self.node, long)) else {
                continue;
            };
            // What it will be is not known yet.
            let unknown = |it: &Node| it.as_str().is_some_and(|it| it.contains('$'));
            if unknown(one) || unknown(other) {
                continue;
            }
            // Zero is the same as nothing, except for containers.
            if short != "scale" && [one, other].iter().any(|it| is_zero(it)) {
                continue;
            }
            let same = match (self.node.get_float(short), other.as_float()) {
                (Some(one), Some(other)) => one == other,
                _ => one.value == other.value,
            };
            if !same {
                let title = format!("`{short}` and `{long}` of service `{}` disagree", self.name);
                self.problems
                    .error(one.span, title)
                    .set_code("conflict")
                    .set_help("leave one of them out");
                self.problems
                    .relate(other.span, format!("`{long}` stands here"));
            }
        }
    }

    fn container_name(&mut self) {
        let Some(name) = self.node.get("container_name") else {
            return;
        };
        let replicas = at(self.node, "deploy.replicas").or_else(|| self.node.get("scale"));
        if replicas.and_then(Node::as_float).is_some_and(|it| it > 1.0) {
            let title = format!(
                "service `{}` has a `container_name` and more than one container",
                self.name
            );
            self.problems
                .error(name.span, title)
                .set_code("conflict")
                .set_help("remove `container_name`: the containers are then named by number");
            if let Some(replicas) = replicas {
                self.problems.relate(replicas.span, "as many as this");
            }
        }
        let text = name.as_str().unwrap_or_default();
        let head = text.starts_with(|it: char| it.is_ascii_alphanumeric());
        let tail = text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-'));
        if !head || !tail || text.len() < 2 {
            let title = format!("`{text}` cannot be the name of a container");
            let help =
                "use letters, digits, `_`, `.` and `-`, at least two, a letter or digit first";
            self.problems.error(name.span, title).set_help(help);
        }
    }

    /// A volume and a tmpfs cannot share a target.
    fn targets(&mut self) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let volumes = self
            .node
            .get("volumes")
            .map(Node::items)
            .unwrap_or_default();
        for volume in volumes {
            let Some(target) = volume.get_str("target") else {
                continue;
            };
            seen.insert(target, volume.span);
        }
        for tmpfs in self.node.get("tmpfs").map(Node::items).unwrap_or_default() {
            let target = tmpfs
                .as_str()
                .and_then(|it| it.split(':').next())
                .unwrap_or_default();
            if let Some(earlier) = seen.get(target) {
                let title = format!(
                    "a volume and a tmpfs of service `{}` are mounted at {target}",
                    self.name
                );
                self.problems.error(tmpfs.span, title).set_code("conflict");
                self.problems.relate(*earlier, "the volume");
            }
        }
    }

    fn references(&mut self, model: &Node, section: &str) {
        let declared = model.get(section);
        for (name, span) in references(self.node, section) {
            let known = declared
                .and_then(Node::as_map)
                .is_some_and(|it| it.contains_key(name));
            if known {
                continue;
            }
            let singular = section.trim_end_matches('s');
            let title = format!(
                "service `{}` uses the {singular} `{name}`, which is not declared",
                self.name
            );
            let names = declared
                .into_iter()
                .flat_map(Node::entries)
                .map(|(name, _)| name);
            let meant = nearest(name, names);
            let diagnostic = self.problems.error(span, title);
            diagnostic.set_code("undeclared");
            match meant {
                Some(meant) => diagnostic.suggest(meant),
                None if section == "volumes" && name.contains('/') => diagnostic.set_help(format!(
                    "a path begins with `./`, `/` or `~`: write `./{name}` for a directory of the host"
                )),
                None => diagnostic.set_help(format!("declare it under the top-level `{section}:`")),
            };
        }
    }

    fn dependencies(&mut self, services: &BTreeMap<&str, &Entry>, selection: &Selection) {
        for (name, entry) in self
            .node
            .get("depends_on")
            .into_iter()
            .flat_map(Node::entries)
        {
            if services.contains_key(name) {
                self.health(name, entry, services);
                continue;
            }
            if let Some(profiles) = selection.disabled.get(name) {
                if entry.node.get_bool("required") == Some(false) {
                    continue;
                }
                let title = format!(
                    "service `{}` depends on `{name}`, which is not active",
                    self.name
                );
                let help = format!(
                    "activate it with `--profile {}`, or write `required: false`",
                    profiles.join("` or `--profile ")
                );
                self.problems.error(entry.key, title).set_help(help);
                continue;
            }
            let title = format!(
                "service `{}` depends on `{name}`, which does not exist",
                self.name
            );
            let meant = nearest(name, services.keys().copied());
            // One that is not required may be absent.
            let diagnostic = match entry.node.get_bool("required") {
                Some(false) => self.problems.warn(Rule::NoEffect, entry.key, title),
                _ => {
                    let diagnostic = self.problems.error(entry.key, title);
                    diagnostic.set_code("undeclared")
                }
            };
            match meant {
                Some(meant) => diagnostic.suggest(meant),
                None => diagnostic.set_help(others(self.name, services)),
            };
        }
    }

    /// A check that is switched off will never succeed.
    fn health(&mut self, name: &str, entry: &Entry, services: &BTreeMap<&str, &Entry>) {
        if entry.node.get_str("condition") != Some("service_healthy") {
            return;
        }
        let Some(check) = services.get(name).and_then(|it| it.node.get("healthcheck")) else {
            return;
        };
        let none = check
            .get("test")
            .is_some_and(|it| it.items().first().and_then(Node::as_str) == Some("NONE"));
        if none || check.get_bool("disable") == Some(true) {
            let title = format!(
                "service `{}` waits until `{name}` is healthy, but its check is disabled",
                self.name
            );
            self.problems.error(entry.key, title).set_code("conflict");
            self.problems.relate(check.span, "disabled here");
        }
    }
}

/// Which services could be meant.
fn others(name: &str, services: &BTreeMap<&str, &Entry>) -> String {
    let others: Vec<_> = services
        .keys()
        .filter(|it| **it != name)
        .map(|it| format!("`{it}`"))
        .collect();
    match others.is_empty() {
        true => "there is no other service in the project".to_owned(),
        false => format!("the other services are {}", others.join(", ")),
    }
}

impl Node {
    fn as_float(&self) -> Option<f64> {
        match self.value {
            super::document::Value::Float(value) => Some(value),
            super::document::Value::Int(value) => Some(value as f64),
            _ => None,
        }
    }
}

fn is_zero(node: &Node) -> bool {
    node.as_float() == Some(0.0) || node.as_str() == Some("0")
}

/// The node under a path such as `deploy.replicas`.
fn at<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(node, |node, key| node.get(key))
}

fn container_names(services: &BTreeMap<&str, &Entry>, problems: &mut Problems) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for entry in services.values() {
        let Some(node) = entry.node.get("container_name") else {
            continue;
        };
        let Some(name) = node.as_str() else { continue };
        if let Some(earlier) = seen.insert(name, node.span) {
            let title = format!("two services have the `container_name` `{name}`");
            problems.error(node.span, title).set_code("conflict");
            problems.relate(earlier, "the first one");
        }
    }
}
