//! What is allowed but probably not meant: `wharfie check`.
//!
//! Looks at the merged tree before profiles and defaults have changed it, so that services which
//! are off are looked at too. Each rule is a function in the file of its subject; what it says is
//! explained by a page in `lint/pages/`. False positives are worse than misses: a rule that cannot
//! be sure stays silent, or belongs to the pedantic ones, which must be asked for.
//!
//! | file | looks at |
//! |---|---|
//! | [`address`] | addresses in variables that lead elsewhere than meant |
//! | [`exposure`] | open databases, privileges, secrets in plain sight |
//! | [`image`] | tags |
//! | [`order`] | waiting for what cannot happen, or not waiting for what could |
//! | [`storage`] | data that is lost, files that are not there |
//! | [`style`] | the pedantic rest |
//! | [`unused`] | resources that nobody uses |

mod address;
mod exposure;
mod image;
mod known;
mod order;
mod rule;
mod silence;
mod storage;
mod style;
mod unused;

use std::collections::BTreeMap;

use super::Files;
use super::diagnostic::{Diagnostic, Problems, Span};
use super::document::{Entry, Node};
pub use rule::{Group, Lints, Rule, UnknownRule};
pub(super) use silence::Allowances;

/// Looks for everything that the rules know of. After errors, rules that conclude from what is not
/// there would be misled, and are left out.
pub(super) fn lint(model: &Node, files: &dyn Files, problems: &mut Problems) {
    let sound = !problems.has_errors();
    let services: BTreeMap<&str, Service<'_>> = model
        .get("services")
        .into_iter()
        .flat_map(Node::entries)
        .map(|(name, entry)| (name, Service::new(name, entry)))
        .collect();
    let mut linter = Linter {
        model,
        services,
        files,
        problems,
    };
    for service in linter.services.clone().values() {
        linter.image(service);
        linter.exposure(service);
        linter.files(service);
        linter.databases(service);
        linter.style(service);
        if sound {
            linter.order(service);
            linter.addresses(service);
        }
    }
    linter.missing_contents();
    if sound {
        linter.unused();
    }
}

struct Linter<'a> {
    model: &'a Node,
    services: BTreeMap<&'a str, Service<'a>>,
    files: &'a dyn Files,
    problems: &'a mut Problems,
}

#[derive(Clone, Copy)]
struct Service<'a> {
    name: &'a str,
    key: Span,
    node: &'a Node,
}

impl<'a> Service<'a> {
    fn new(name: &'a str, entry: &'a Entry) -> Self {
        Self {
            name,
            key: entry.key,
            node: &entry.node,
        }
    }

    fn items(&self, key: &str) -> &'a [Node] {
        self.node.get(key).map(Node::items).unwrap_or_default()
    }

    fn image(&self) -> Option<&'a Node> {
        self.node.get("image")
    }

    fn is_built(&self) -> bool {
        self.node.get("build").is_some()
    }

    /// The variables with a value, with the place of the value.
    fn variables(&self) -> impl Iterator<Item = (&'a str, &'a str, Span)> {
        let entries = self.node.get("environment").into_iter();
        entries
            .flat_map(Node::entries)
            .filter_map(|(name, entry)| Some((name, entry.node.as_str()?, entry.node.span)))
    }
}

impl Linter<'_> {
    /// Reports about a service, unless the service allows it (the merged one: `x-wharfie` may have
    /// come from an anchor or another file).
    fn warn(
        &mut self,
        service: &Service<'_>,
        rule: Rule,
        span: Span,
        title: impl Into<String>,
    ) -> Option<&mut Diagnostic> {
        if silence::allowed_by(service.node, rule) {
            return None;
        }
        Some(self.problems.warn(rule, span, title))
    }
}
