//! `extends`: a service that starts from another one, perhaps of another file.
//!
//! Of the other file only that service is looked at, and what it extends in turn: the rest may be
//! wrong, and nothing else of it is brought along.

use std::path::Path;
use std::rc::Rc;

use super::{Assembler, MAX_CHAIN, Scope};
use crate::compose::check::{Step, nearest};
use crate::compose::diagnostic::Span;
use crate::compose::document::{Entry, Map, Node, Text, Value};
use crate::compose::merge::merge;
use crate::compose::schema::service::SERVICE;

/// A service to extend: where it stands, and its name.
struct Base<'a> {
    file: &'a Path,
    directory: &'a Path,
    /// Interpolated, perhaps not yet checked.
    services: &'a Map,
    name: &'a str,
    /// Where it is named, and by which service.
    named: Option<(Span, &'a str)>,
}

impl Assembler<'_> {
    pub(super) fn extend_services(&mut self, document: &mut Node, file: &Path, scope: &Scope) {
        let extends = |entry: &Entry| entry.node.get("extends").is_some();
        let Some(services) = document
            .get("services")
            .and_then(Node::as_map)
            .filter(|it| it.values().any(extends))
            .cloned()
        else {
            return;
        };
        for (name, entry) in &services {
            if entry.node.get("extends").is_none() {
                continue;
            }
            let base = Base {
                file,
                directory: &scope.directory,
                services: &services,
                name,
                named: None,
            };
            let extended = self.extended(&base, scope, &mut Vec::new());
            if let (Some(node), Some(services)) = (extended, document.get_mut("services")) {
                services.set(name.clone(), node);
                // The service is still named where this file names it.
                if let Some(it) = services.as_map_mut().and_then(|it| it.get_mut(name)) {
                    it.key = entry.key;
                }
            }
        }
    }

    /// The service with everything that it extends below it.
    fn extended(
        &mut self,
        base: &Base<'_>,
        scope: &Scope,
        chain: &mut Vec<String>,
    ) -> Option<Node> {
        let entry = base.services.get(base.name)?;
        if let Some((named, by)) = base.named {
            self.problems.add_extended(entry.node.span, named, by);
        }
        let path = vec![Step::Key("services".into()), Step::Key(base.name.into())];
        let mut node = self.check(&SERVICE, entry.node.clone(), base.directory, scope, path);
        self.confine_service(&node);
        let Some(extends) = node.remove("extends") else {
            return Some(node);
        };
        let link = format!("`{}` of {}", base.name, base.file.display());
        if chain.contains(&link) || chain.len() >= MAX_CHAIN {
            chain.push(link);
            let title = format!("services extend each other: {}", chain.join(" → "));
            self.problems.error(extends.key, title);
            return Some(node);
        }
        chain.push(link);
        let under = self.base(base, &extends, scope, chain);
        chain.pop();
        match under {
            Some(under) => Some(merge(&SERVICE, under, node)),
            None => Some(node),
        }
    }

    fn base(
        &mut self,
        of: &Base<'_>,
        extends: &Entry,
        scope: &Scope,
        chain: &mut Vec<String>,
    ) -> Option<Node> {
        let Some((name, span)) = extends
            .node
            .get("service")
            .and_then(|it| Some((it.as_str()?, it.span)))
        else {
            self.problems
                .error(extends.key, "`extends` has no `service`")
                .set_help("name the service to start from: `service: NAME`");
            return None;
        };
        let Some((file, at)) = extends
            .node
            .get("file")
            .and_then(|it| Some((it.as_str()?, it.span)))
        else {
            if !of.services.contains_key(name) {
                self.missing_base(name, span, of.file, of.services);
                return None;
            }
            let named = Some((span, of.name));
            return self.extended(&Base { name, named, ..*of }, scope, chain);
        };
        let file = self.origin(file, at)?;
        let services = self.services_of(&file, at, scope)?;
        if !services.contains_key(name) {
            self.missing_base(name, span, &file, &services);
            return None;
        }
        let directory = file.parent().unwrap_or(&file);
        self.extended(
            &Base {
                file: &file,
                directory,
                services: &services,
                name,
                named: Some((span, of.name)),
            },
            scope,
            chain,
        )
    }

    /// The services of another file, interpolated. It is read once, however many extend them.
    fn services_of(&mut self, file: &Path, at: Span, scope: &Scope) -> Option<Rc<Map>> {
        let key = (file.to_owned(), scope.directory.clone());
        if let Some(services) = self.extended.get(&key) {
            return Some(Rc::clone(services));
        }
        if self.exhausted {
            return None;
        }
        let text = self.read(file, Some(at))?;
        let mut services = Map::default();
        for mut document in self.parse_text(file, &text).documents {
            let Some(mut found) = document.remove("services") else {
                continue;
            };
            self.interpolate(&mut found.node, scope);
            if let Value::Map(found) = found.node.value {
                services.extend(*found);
            }
        }
        let services = Rc::new(services);
        self.extended.insert(key, Rc::clone(&services));
        Some(services)
    }

    fn missing_base(&mut self, name: &str, span: Span, file: &Path, services: &Map) {
        let title = format!(
            "there is no service `{name}` in {} to extend",
            file.display()
        );
        let meant = nearest(name, services.keys().map(Text::as_str));
        let diagnostic = self.problems.error(span, title);
        if let Some(meant) = meant {
            diagnostic.set_help(format!("did you mean `{meant}`?"));
        }
    }
}
