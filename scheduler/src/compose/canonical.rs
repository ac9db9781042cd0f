//! The project as one file in long form: what `config` prints, and a valid input again.
//!
//! Keys stand in the order of Docker Compose 2.40, values in its forms. Two differences are meant:
//! `x-` keys are kept in JSON too, and numbers in `environment` stay as they were written.

mod hash;
mod order;
mod tree;
mod yaml;

use std::borrow::Cow;

use super::Steps;
use super::document::{Node, Value};
use super::schema::deploy::DEPLOY;
use super::schema::resource::NETWORK;
use super::schema::service::SERVICE;
use super::schema::{Attribute, FILE, Form, Shape};
use super::value;
pub(super) use hash::config_hash;
use order::natural;
pub use tree::{Mapping, Tree};

/// A project in canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical<'a> {
    tree: Mapping<'a>,
}

impl<'a> Canonical<'a> {
    pub(super) fn new(model: &'a Node, steps: Steps) -> Self {
        let dollars = if steps.interpolate {
            Dollars::Doubled
        } else {
            Dollars::AsWritten
        };
        let style = Style {
            dollars,
            extensions: Extensions::Kept,
        };
        let mut tree = match build(&FILE, model, style) {
            Tree::Map(map) => map,
            _ => Mapping::default(),
        };
        tree.retain(|_, it| !matches!(it, Tree::Map(map) if map.is_empty()));
        tree.sort_by_rank(section_rank);
        Self { tree }
    }

    /// Leaves out the services that are not named; everything else stays.
    #[must_use]
    pub fn only_services(mut self, keep: &dyn Fn(&str) -> bool) -> Self {
        if let Some(Tree::Map(services)) = self.tree.get_mut("services") {
            services.retain(|name, _| keep(name));
        }
        self
    }

    /// A section in the order of the YAML output.
    pub fn section(&self, name: &str) -> Option<&Mapping<'a>> {
        match self.tree.get(name)? {
            Tree::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// YAML text, with a newline at the end.
    pub fn to_yaml(&self) -> String {
        yaml::print(&self.tree)
    }

    /// The tree for JSON: top-level keys sorted, and keys that tools expect even when they are unset.
    pub fn json(&self) -> Tree<'a> {
        let mut tree = self.tree.clone();
        tree.sort_by_rank(str::to_owned);
        tree.sort_for_json();
        for service in entries(&mut tree, "services") {
            complete_service(service);
        }
        for network in entries(&mut tree, "networks") {
            network.complete("ipam", Tree::Map(Mapping::default()));
            network.sort_by_rank(|key| rank(&NETWORK, key));
        }
        Tree::Map(tree)
    }

    /// Replaces the images of services by what `image` makes of them.
    #[must_use]
    pub fn with_images(mut self, image: &dyn Fn(&str) -> String) -> Self {
        for service in entries(&mut self.tree, "services") {
            if let Some(Tree::Text(text)) = service.get_mut("image") {
                *text = Cow::Owned(image(text));
            }
        }
        self
    }

    /// Only the images of services, as a file to be merged over the others.
    #[must_use]
    pub fn only_images(mut self) -> Self {
        self.tree.retain(|key, _| key == "services");
        for service in entries(&mut self.tree, "services") {
            service.retain(|key, _| key == "image");
        }
        self
    }
}

/// The mappings under the keys of a section.
fn entries<'t, 'a>(
    tree: &'t mut Mapping<'a>,
    section: &str,
) -> impl Iterator<Item = &'t mut Mapping<'a>> {
    let section = match tree.get_mut(section) {
        Some(Tree::Map(map)) => Some(map),
        _ => None,
    };
    let entries = section.into_iter().flat_map(|it| it.values_mut());
    entries.filter_map(|it| match it {
        Tree::Map(map) => Some(map),
        _ => None,
    })
}

/// Adds what JSON has in a service even when it is unset.
fn complete_service(service: &mut Mapping<'_>) {
    for key in ["command", "entrypoint"] {
        service.complete(key, Tree::Null);
    }
    service.sort_by_rank(|key| rank(&SERVICE, key));
    if let Some(Tree::Map(deploy)) = service.get_mut("deploy") {
        for key in ["resources", "placement"] {
            deploy.complete(key, Tree::Map(Mapping::default()));
        }
        deploy.sort_by_rank(|key| rank(&DEPLOY, key));
    }
}

/// How values are written.
#[derive(Clone, Copy)]
struct Style {
    dollars: Dollars,
    extensions: Extensions,
}

/// What becomes of the user's own keys, `x-…`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extensions {
    Kept,
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dollars {
    Doubled,
    AsWritten,
}

fn section_rank(key: &str) -> (usize, String) {
    let order = [
        "name", "services", "networks", "volumes", "secrets", "configs", "models",
    ];
    (
        order
            .iter()
            .position(|it| *it == key)
            .unwrap_or(order.len()),
        key.to_owned(),
    )
}

/// Where a key stands in its table; keys of the user stand last.
fn rank(shape: &Shape, key: &str) -> (usize, String) {
    let attributes: &[Attribute] = match shape {
        Shape::Object(attributes) => attributes,
        Shape::Form(Form { long, .. }) => return rank(long, key),
        _ => &[],
    };
    match attributes.iter().position(|it| it.name == key) {
        Some(at) => (at, String::new()),
        None => (attributes.len(), key.to_owned()),
    }
}

fn build<'a>(shape: &Shape, node: &'a Node, style: Style) -> Tree<'a> {
    match (shape, &node.value) {
        (_, Value::Null) => Tree::Null,
        (_, Value::Bool(value)) => Tree::Bool(*value),
        (_, Value::Int(value)) => Tree::Int(*value),
        (_, Value::Float(value)) => Tree::Float(*value),
        (Shape::Any, Value::Plain(text)) => plain(text),
        (_, Value::Plain(text) | Value::Text(text)) => Tree::Text(match style.dollars {
            Dollars::Doubled if text.contains('$') => Cow::Owned(str::replace(text, '$', "$$")),
            Dollars::Doubled | Dollars::AsWritten => Cow::Borrowed(text),
        }),
        (Shape::Form(Form { long, .. }) | Shape::Merged(_, long), _) => build(long, node, style),
        (Shape::Either(_, object), Value::Map(_)) => build(object, node, style),
        (Shape::Object(attributes), Value::Map(_)) => object(attributes, node, style),
        (Shape::List { item, .. }, Value::Seq(items)) => {
            Tree::List(items.iter().map(|it| build(item, it, style)).collect())
        }
        (_, Value::Seq(items)) => Tree::List(
            items
                .iter()
                .map(|it| build(&Shape::Any, it, style))
                .collect(),
        ),
        (_, Value::Map(map)) => {
            let inner = match shape {
                Shape::Map(inner) => inner,
                Shape::KeyValues(_) => &Shape::Text,
                _ => &Shape::Any,
            };
            let entries = map.iter();
            let entries =
                entries.map(|(key, entry)| (key.as_str(), build(inner, &entry.node, style)));
            Tree::Map(Mapping::of_names(entries))
        }
    }
}

/// Attributes in the order of their table without those that say nothing, then the user's keys.
fn object<'a>(attributes: &[Attribute], node: &'a Node, style: Style) -> Tree<'a> {
    let known = node.entries().filter(|(_, entry)| !entry.node.is_null());
    let known = known.filter_map(|(key, entry)| {
        let mut attributes = attributes.iter().enumerate();
        let (place, attribute) = attributes.find(|(_, it)| it.name == key)?;
        Some((place, attribute, &entry.node))
    });
    let mut known: Vec<_> = known.collect();
    known.sort_unstable_by_key(|(place, ..)| *place);
    let mut entries = Mapping::of_attributes(known.len());
    for (_, attribute, value) in known {
        let tree = build(attribute.shape, value, style);
        if is_worth_printing(attribute.name, &tree) {
            entries.push(attribute.name, tree);
        }
    }
    let mut own: Vec<_> = node
        .entries()
        .filter(|(key, _)| key.starts_with("x-") && style.extensions == Extensions::Kept)
        .collect();
    own.sort_by(|(a, _), (b, _)| natural(a, b));
    for (key, entry) in own {
        entries.push(key, build(&Shape::Any, &entry.node, style));
    }
    Tree::Map(entries)
}

/// Docker Compose leaves out what is empty, zero or false, except where that has a meaning.
fn is_worth_printing(name: &str, tree: &Tree<'_>) -> bool {
    match tree {
        Tree::Null => false,
        Tree::List(items) => !items.is_empty() || matches!(name, "command" | "entrypoint"),
        Tree::Map(map) => !map.is_empty() || MAY_BE_EMPTY.contains(&name),
        Tree::Bool(value) => {
            let default_is_true = ["attach", "create_host_path", "enable_ipv4", "required"];
            *value || default_is_true.contains(&name) || matches!(name, "init" | "enable_ipv6")
        }
        Tree::Int(0) => matches!(
            name,
            "count"
                | "replicas"
                | "scale"
                | "retries"
                | "soft"
                | "hard"
                | "parallelism"
                | "max_attempts"
        ),
        Tree::Float(value) => *value != 0.0,
        Tree::Text(text) if text == "0s" => name != "delay" && name != "monitor",
        // The whole content, which may be nothing.
        Tree::Text(_) if name == "content" => true,
        Tree::Text(text) => !(text.is_empty() || text == "0" && is_size(name)),
        Tree::Int(_) => true,
    }
}

/// Mappings that say something by being there.
const MAY_BE_EMPTY: [&str; 5] = ["volume", "tmpfs", "bind", "deploy", "healthcheck"];

fn is_size(name: &str) -> bool {
    matches!(
        name,
        "mem_limit" | "mem_reservation" | "memswap_limit" | "shm_size" | "memory" | "size"
    )
}

/// What an unquoted scalar of the user's own means.
fn plain(text: &str) -> Tree<'_> {
    match text {
        "true" | "True" | "TRUE" => return Tree::Bool(true),
        "false" | "False" | "FALSE" => return Tree::Bool(false),
        _ => {}
    }
    if let Some(number) = value::parse_int(text) {
        return Tree::Int(number);
    }
    let numeric = text.starts_with(|it: char| it.is_ascii_digit() || matches!(it, '-' | '+' | '.'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Tree::Float(number),
        _ => Tree::Text(Cow::Borrowed(text)),
    }
}
