//! `include`: another project, loaded with its own directory and variables, and brought in whole.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Assembler, MAX_CHAIN, Scope};
use crate::compose::document::Node;
use crate::compose::dotenv::{self, Format};
use crate::compose::{Source, environment};

impl Assembler<'_> {
    /// The tree of an entry of `include`, loaded as a project of its own.
    pub(super) fn include(&mut self, entry: &Node, scope: &Scope) -> Option<Node> {
        if self.exhausted {
            return None;
        }
        let paths = entry.get("path")?;
        let mut sources = Vec::new();
        for node in paths.items() {
            let text = node.as_str()?;
            let path = self.origin(text, node.span)?;
            if self.including.contains(&path) || self.including.len() >= MAX_CHAIN {
                let chain: Vec<_> = self
                    .including
                    .iter()
                    .chain([&path])
                    .map(|it| it.display().to_string())
                    .collect();
                let title = format!("files include each other: {}", chain.join(" → "));
                self.problems.error(node.span, title);
                return None;
            }
            let text = self.read(&path, Some(node.span))?;
            sources.push(Source {
                path,
                text: Some(text),
            });
        }
        let first = sources.first()?.path.clone();
        let directory = match entry.get_str("project_directory") {
            Some(directory) => self.located(directory),
            None => first.parent().unwrap_or(&first).to_owned(),
        };
        let environment = self.included_environment(entry, &directory, scope);
        let inner = Scope {
            directory,
            environment,
        };
        let depth = self.including.len();
        self.including
            .extend(sources.iter().map(|it| it.path.clone()));
        let before = self.problems.source_count();
        let parsed = self.parse(&sources);
        for file in before..self.problems.source_count() {
            self.problems.add_included(file, entry.span);
        }
        let mut model = self.assemble(parsed, &inner);
        self.including.truncate(depth);
        if self.steps.resolve_environment && self.steps.interpolate {
            environment::fill_from_project(&mut model, &inner.environment);
        }
        model.remove("name");
        Some(model)
    }

    /// The parent's variables, over those of the included project's own files.
    fn included_environment(
        &mut self,
        entry: &Node,
        directory: &Path,
        scope: &Scope,
    ) -> BTreeMap<String, String> {
        let mut files = Vec::new();
        match entry.get("env_file") {
            Some(list) => {
                let named = list
                    .items()
                    .iter()
                    .filter_map(|it| Some((self.located(it.as_str()?), it.span)));
                files.extend(named.filter(|(path, _)| path != Path::new("/dev/null")));
                files.retain(|(path, span)| self.confine(path, *span));
            }
            None => {
                let default = directory.join(".env");
                if self.is_allowed(&default, entry.span) && self.files.exists(&default) {
                    files.push((default, entry.span));
                }
            }
        }
        let mut environment = scope.environment.clone();
        let mut own = BTreeMap::new();
        for (path, span) in files {
            let Some(text) = self.read(&path, Some(span)) else {
                continue;
            };
            let lookup = |name: &str| {
                scope
                    .environment
                    .get(name)
                    .or_else(|| own.get(name))
                    .cloned()
            };
            match dotenv::parse(&text, Format::Compose, &lookup) {
                Ok(values) => own.extend(
                    values
                        .into_iter()
                        .filter_map(|(name, value)| Some((name, value?))),
                ),
                Err(error) => {
                    self.problems
                        .error(span, format!("{}: {error}", path.display()));
                }
            }
        }
        for (name, value) in own {
            environment.entry(name).or_insert(value);
        }
        environment
    }
}
