//! `develop.watch`: what is to happen in containers when files change here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Project;
use super::document::Node;
use crate::model::container::Hook;

/// One entry of `develop.watch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// A directory or file of this host.
    pub path: PathBuf,
    pub action: Action,
    /// Where it lies in the container.
    pub target: Option<String>,
    /// Only these, when there are any. Patterns as in a `.dockerignore`, relative to `path`.
    pub include: Vec<String>,
    /// Not these; a later pattern with `!` takes one back.
    pub ignore: Vec<String>,
    /// Everything is copied at the beginning.
    pub initial_sync: bool,
    /// What [`Action::SyncExec`] runs.
    pub exec: Option<Hook>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Rebuild,
    Restart,
    Sync,
    SyncRestart,
    SyncExec,
}

impl Action {
    /// Whether files are copied.
    pub fn copies(self) -> bool {
        match self {
            Self::Sync | Self::SyncRestart | Self::SyncExec => true,
            Self::Rebuild | Self::Restart => false,
        }
    }
}

impl Project {
    /// What is to be watched for each active service that says so.
    pub fn watches(&self) -> BTreeMap<String, Vec<Watch>> {
        let services = self.model.get("services").into_iter();
        let watches = services.flat_map(Node::entries).map(|(name, entry)| {
            let list = entry.node.get("develop").and_then(|it| it.get("watch"));
            let items = list.map(Node::items).unwrap_or_default();
            let found: Vec<_> = items.iter().filter_map(watch).collect();
            (name.to_owned(), found)
        });
        watches.filter(|(_, found)| !found.is_empty()).collect()
    }
}

fn watch(node: &Node) -> Option<Watch> {
    let text = |key: &str| node.get_str(key).map(str::to_owned);
    let action = match node.get_str("action")? {
        "rebuild" => Action::Rebuild,
        "restart" => Action::Restart,
        "sync+restart" => Action::SyncRestart,
        "sync+exec" => Action::SyncExec,
        _ => Action::Sync,
    };
    Some(Watch {
        path: text("path")?.into(),
        action,
        target: text("target"),
        include: texts(node, "include"),
        ignore: texts(node, "ignore"),
        initial_sync: node.get_bool("initial_sync").unwrap_or(false),
        exec: node.get("exec").map(hook),
    })
}

/// Variables without a value stay so: a shell of the user's has them, or nobody.
fn hook(node: &Node) -> Hook {
    let text = |key: &str| node.get_str(key).map(str::to_owned);
    let environment = node.get("environment").into_iter().flat_map(Node::entries);
    let variable = |(name, entry): (&str, &super::document::Entry)| {
        (name.to_owned(), entry.node.as_str().map(str::to_owned))
    };
    Hook {
        command: texts(node, "command"),
        user: text("user"),
        privileged: node.get_bool("privileged").unwrap_or(false),
        working_dir: text("working_dir"),
        environment: environment.map(variable).collect(),
    }
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    let items = node.get(key).map(Node::items).unwrap_or_default();
    let texts = items.iter().filter_map(Node::as_str);
    texts.map(str::to_owned).collect()
}
