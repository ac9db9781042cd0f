//! A complete and consistent tree into a [`Stack`].
//!
//! Everything is in canonical form by now, so what is read here is nearly always there and right;
//! what the tables cannot check (addresses, names of signals, namespaces) is checked here.

mod container;
mod deploy;
mod device;
mod files;
mod health;
mod limits;
mod mount;
mod namespace;
mod network;
mod pre_start;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LoadOptions;
use super::diagnostic::Problems;
use super::document::Node;
use super::normalize::Context;
use super::value;
use crate::model::stack::{ContentSpec, Stack};

/// What the parts of a stack need to know while they are read.
pub(super) struct Resolver<'a> {
    pub(super) model: &'a Node,
    pub(super) context: &'a Context<'a>,
    pub(super) problems: &'a mut Problems,
    /// Names under which other services link to a service.
    link_aliases: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn stack(
    model: &Node,
    context: &Context<'_>,
    options: &LoadOptions,
    problems: &mut Problems,
) -> Stack {
    let mut resolver = Resolver {
        model,
        context,
        problems,
        link_aliases: network::link_aliases(model),
    };
    let secrets = resolver.contents("secrets");
    let configs = resolver.contents("configs");
    let networks = resolver.networks();
    let volumes = resolver.volumes();
    let mut services = resolver.services(&secrets, &configs);
    resolver.pre_start(&mut services);
    Stack {
        name: context.name.to_owned(),
        services,
        networks,
        volumes,
        secrets,
        configs,
        working_dir: options.project_directory.to_string_lossy().into_owned(),
        config_files: options
            .files
            .iter()
            .map(|it| it.path.to_string_lossy().into_owned())
            .collect(),
    }
}

impl<'a> Resolver<'a> {
    fn section(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let section = self.model.get(name).into_iter().flat_map(Node::entries);
        section.map(|(key, entry)| (key, &entry.node))
    }

    /// The final name of a declared network, volume, secret or config.
    fn final_name(&self, section: &str, key: &str) -> String {
        let name = self
            .model
            .get(section)
            .and_then(|it| it.get(key)?.get_str("name"));
        name.unwrap_or(key).to_owned()
    }

    /// Parses text that the tables only know as text; what is wrong is reported.
    fn parsed<T: std::str::FromStr>(&mut self, node: Option<&Node>, what: &str) -> Option<T> {
        let node = node?;
        let text = node.as_str()?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problems
                .error(node.span, format!("`{text}` is not {what}"));
        }
        value
    }
}

/// An empty text is the same as none: often a variable that is not set.
fn text(node: &Node, key: &str) -> Option<String> {
    node.get_str(key)
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    let list = node.get(key).map(Node::items).unwrap_or_default();
    list.iter()
        .filter_map(Node::as_str)
        .map(str::to_owned)
        .collect()
}

fn text_map(node: &Node, key: &str) -> BTreeMap<String, String> {
    let map = node.get(key).into_iter().flat_map(Node::entries);
    map.map(|(key, entry)| {
        (
            key.to_owned(),
            entry.node.as_str().unwrap_or_default().to_owned(),
        )
    })
    .collect()
}

fn size(node: &Node, key: &str) -> Option<u64> {
    u64::try_from(value::parse_size(node.get_str(key)?).ok()?).ok()
}

fn duration(node: &Node, key: &str) -> Option<Duration> {
    value::parse_duration(node.get_str(key)?).ok()
}

fn count<T: TryFrom<i64>>(node: &Node, key: &str) -> Option<T> {
    T::try_from(node.get_int(key)?).ok()
}

fn flag(node: &Node, key: &str) -> bool {
    node.get_bool(key).unwrap_or(false)
}

/// The node under a path such as `deploy.resources`.
fn at<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(node, |node, key| node.get(key))
}

type Contents = BTreeMap<String, ContentSpec>;
