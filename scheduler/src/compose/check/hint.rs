//! What was probably meant by a key or a value that cannot be.

use super::{Checker, Step};
use crate::compose::document::Node;
use crate::compose::schema::{self, Attribute, Form, Shape};

/// What people call things, and what they are called.
const SYNONYMS: &[(&str, &str)] = &[
    ("cmd", "command"),
    ("cpu", "cpus"),
    ("env", "environment"),
    ("memory", "mem_limit"),
    ("mounts", "volumes"),
    ("name", "container_name"),
    ("workdir", "working_dir"),
];

/// How deep a key is looked for below the mapping in which it stands.
const DEPTH: usize = 3;

impl Checker<'_> {
    /// Where a key belongs that does not belong here.
    pub(super) fn home_of(&self, key: &str, attributes: &[Attribute]) -> Option<String> {
        let synonym = SYNONYMS.iter().find(|(word, _)| *word == key);
        if let Some((_, meant)) = synonym
            && attributes.iter().any(|it| it.name == *meant)
        {
            return Some(format!("did you mean `{meant}`?"));
        }
        if let Some(path) = below(key, attributes, DEPTH) {
            return Some(format!("`{key}` stands under `{path}`"));
        }
        let of_service = schema::service::ATTRIBUTES.iter().any(|it| it.name == key);
        match self.path.as_slice() {
            [] if of_service => Some(format!(
                "`{key}` belongs into a service: `services: {{NAME: {{{key}: …}}}}`"
            )),
            [Step::Key(section), _, _, ..] if section == "services" && of_service => Some(format!(
                "`{key}` belongs to the service itself: indent it less"
            )),
            _ => None,
        }
    }

    /// What to write in place of a scalar where a mapping must stand.
    pub(super) fn instead_of_mapping(&self, node: &Node) -> Option<String> {
        let text = node.as_str()?;
        if let Some((key, value)) = text.split_once(':')
            && !key.is_empty()
            && !value.is_empty()
            && key.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
        {
            return Some(format!("write a space behind the `:`: `{key}: {value}`"));
        }
        match self.path.as_slice() {
            [Step::Key(section), Step::Key(name)] if section == "services" => {
                match schema::service::ATTRIBUTES.iter().any(|it| it.name == name) {
                    true => Some(format!(
                        "`{name}` is an attribute of a service: indent it more than the service's name"
                    )),
                    false => Some(format!("write `{name}: {{image: {text}}}`")),
                }
            }
            [.., Step::Key(key)] if key == "healthcheck" => {
                Some(format!("write `healthcheck: {{test: {text}}}`"))
            }
            _ => None,
        }
    }
}

/// The path to the mapping below these attributes that has the key.
fn below(key: &str, attributes: &[Attribute], depth: usize) -> Option<String> {
    if depth == 0 {
        return None;
    }
    let objects = || {
        attributes
            .iter()
            .filter_map(|it| Some((it.name, object(it.shape)?)))
    };
    let direct = objects().find(|(_, inner)| inner.iter().any(|it| it.name == key));
    if let Some((name, _)) = direct {
        return Some(name.to_owned());
    }
    objects().find_map(|(name, inner)| Some(format!("{name}.{}", below(key, inner, depth - 1)?)))
}

fn object(shape: &'static Shape) -> Option<&'static [Attribute]> {
    match shape {
        Shape::Object(attributes) => Some(attributes),
        Shape::Form(Form { long, .. }) | Shape::Merged(_, long) => object(long),
        _ => None,
    }
}
