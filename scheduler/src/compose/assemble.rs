//! Many files into one tree: `include`, `extends`, and the merging of what remains.
//!
//! Relative paths are made absolute while a file is checked, because afterwards nobody knows which
//! directory they were meant from: that of the project for its own files, that of the other file
//! for included and extended ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::diagnostic::{Problems, Span};
use super::document::{self, Entry, Map, Node, Value};
use super::dotenv::{self, Format};
use super::interpolate::{self, Variable};
use super::merge::merge;
use super::schema::service::SERVICE;
use super::schema::{FILE, Shape};
use super::{Files, LoadOptions, Source, Steps, discover, environment};

/// Files that include files that include …: a chain this long is a mistake.
const MAX_CHAIN: usize = 50;

/// What a group of files is read with.
pub(super) struct Scope {
    /// Relative paths are meant from here.
    pub(super) directory: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
}

pub(super) struct Assembler<'a> {
    steps: Steps,
    files: &'a dyn Files,
    problems: &'a mut Problems,
    /// Variables that were warned about.
    warned: BTreeSet<String>,
    pub(super) variables: BTreeSet<Variable>,
    /// The files being included, outermost first.
    including: Vec<PathBuf>,
    /// A file is missing from the tree, wholly or in part: what the others refer to may be in it.
    pub(super) incomplete: bool,
}

/// A file that has been parsed.
pub(super) struct Parsed {
    path: PathBuf,
    documents: Vec<Node>,
}

/// A service to extend: where it stands, and its name.
struct Base<'a> {
    file: &'a Path,
    directory: &'a Path,
    /// Interpolated, perhaps not yet checked.
    services: &'a Map,
    name: &'a str,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(steps: Steps, files: &'a dyn Files, problems: &'a mut Problems) -> Self {
        Self {
            steps,
            files,
            problems,
            warned: BTreeSet::new(),
            variables: BTreeSet::new(),
            including: Vec::new(),
            incomplete: false,
        }
    }

    pub(super) fn parse(&mut self, sources: &[Source]) -> Vec<Parsed> {
        let mut parsed = Vec::new();
        for source in sources {
            let text = match &source.text {
                Some(text) => Some(text.clone()),
                None => self.read(&source.path, None),
            };
            let Some(text) = text else { continue };
            parsed.push(self.parse_text(&source.path, &text));
        }
        parsed
    }

    fn parse_text(&mut self, path: &Path, text: &str) -> Parsed {
        let file = self.problems.add_source(path, text);
        let start = Span {
            file,
            start: 0,
            end: 0,
        };
        let Some(mut documents) = document::parse(text, file, self.problems) else {
            self.incomplete = true;
            return Parsed {
                path: path.to_owned(),
                documents: Vec::new(),
            };
        };
        documents.retain(|it| !it.is_null());
        if documents.is_empty() {
            self.incomplete = true;
            self.problems.error(start, "the file is empty");
        }
        for document in documents.iter().filter(|it| it.as_map().is_none()) {
            self.incomplete = true;
            let title = format!("the top level must be a mapping, not {}", document.kind());
            self.problems.error(document.span, title);
        }
        documents.retain(|it| it.as_map().is_some());
        Parsed {
            path: path.to_owned(),
            documents,
        }
    }

    /// The project's name: given, or `name:` of the last file that has one, or the directory's.
    pub(super) fn project_name(
        &mut self,
        options: &LoadOptions,
        files: &[Parsed],
    ) -> Option<String> {
        if let Some(name) = &options.project_name {
            if let Err(error) = discover::check_project_name(name) {
                self.problems.error_without_place(error.to_string());
                return None;
            }
            return Some(name.clone());
        }
        let mut named = None;
        for document in files.iter().flat_map(|it| &it.documents) {
            named = document.get("name").or(named);
        }
        if let Some(node) = named {
            let mut node = node.clone();
            // Problems of the expression itself are reported when its file is read.
            let mut silent = Problems::default();
            interpolate::interpolate(
                &mut node,
                &options.environment,
                &mut BTreeSet::new(),
                &mut silent,
            );
            let name = node.as_str().unwrap_or_default().to_owned();
            if let Err(error) = discover::check_project_name(&name) {
                let help = discover::normalize_project_name(&name);
                let diagnostic = self.problems.error(node.span, error.to_string());
                if !help.is_empty() {
                    diagnostic.set_help(format!("for example `{help}`"));
                }
            }
            return Some(name);
        }
        let name = discover::default_project_name(&options.project_directory);
        if name.is_empty() {
            let title = "the project has no name, and none can be made of its directory's";
            self.problems
                .error_without_place(title)
                .set_help("give one with `-p`, or with `name:` in the file");
            return None;
        }
        Some(name)
    }

    pub(super) fn assemble(&mut self, files: Vec<Parsed>, scope: &Scope) -> Node {
        let nowhere = Span {
            file: u32::MAX,
            start: 0,
            end: 0,
        };
        let mut model = Node::new(Value::Map(Map::new()), nowhere);
        for file in files {
            for document in file.documents {
                model = self.document(document, model, &file.path, scope);
            }
        }
        model
    }

    fn document(&mut self, mut document: Node, model: Node, path: &Path, scope: &Scope) -> Node {
        self.interpolate(&mut document, scope);
        let mut document = self.check(&FILE, document, &scope.directory, scope, Vec::new());
        document.remove("version");
        let included = document.remove("include");
        self.extend_services(&mut document, path, scope);
        if let Some(included) = included {
            for entry in included.node.items() {
                if let Some(base) = self.include(entry, scope) {
                    document = merge(&FILE, base, document);
                }
            }
        }
        merge(&FILE, model, document)
    }

    fn interpolate(&mut self, node: &mut Node, scope: &Scope) {
        interpolate::variables(node, &mut self.variables);
        if self.steps.interpolate {
            interpolate::interpolate(node, &scope.environment, &mut self.warned, self.problems);
        }
    }

    fn check(
        &mut self,
        shape: &Shape,
        node: Node,
        directory: &Path,
        scope: &Scope,
        path: Vec<String>,
    ) -> Node {
        let mut checker = Checker {
            problems: self.problems,
            directory: self.steps.resolve_paths.then_some(directory),
            home: scope.environment.get("HOME").map(String::as_str),
            templates: !self.steps.interpolate,
            path,
        };
        checker.check(shape, node)
    }

    fn extend_services(&mut self, document: &mut Node, file: &Path, scope: &Scope) {
        let Some(services) = document.get("services").and_then(Node::as_map).cloned() else {
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
        let path = vec!["services".to_owned(), base.name.to_owned()];
        let mut node = self.check(&SERVICE, entry.node.clone(), base.directory, scope, path);
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
                .error(extends.key, "`extends` has no `service`");
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
            return self.extended(&Base { name, ..*of }, scope, chain);
        };
        let file = of.directory.join(file);
        let text = self.read(&file, Some(at))?;
        let mut services = Map::new();
        for mut document in self.parse_text(&file, &text).documents {
            let Some(mut found) = document.remove("services") else {
                continue;
            };
            self.interpolate(&mut found.node, scope);
            services.extend(found.node.as_map().cloned().into_iter().flatten());
        }
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
            },
            scope,
            chain,
        )
    }

    fn missing_base(&mut self, name: &str, span: Span, file: &Path, services: &Map) {
        let title = format!(
            "there is no service `{name}` in {} to extend",
            file.display()
        );
        let meant = super::check::nearest(name, services.keys().map(String::as_str));
        let diagnostic = self.problems.error(span, title);
        if let Some(meant) = meant {
            diagnostic.set_help(format!("did you mean `{meant}`?"));
        }
    }

    /// The tree of an entry of `include`, loaded as a project of its own.
    fn include(&mut self, entry: &Node, scope: &Scope) -> Option<Node> {
        let paths = entry.get("path")?;
        let mut sources = Vec::new();
        for node in paths.items() {
            let text = node.as_str()?;
            if text.contains("://") || text.starts_with("git@") {
                self.problems.error(
                    node.span,
                    format!("`{text}`: only local files can be included"),
                );
                return None;
            }
            let path = scope.directory.join(text);
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
            Some(directory) => scope.directory.join(directory),
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
        let parsed = self.parse(&sources);
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
                    .filter_map(|it| Some((scope.directory.join(it.as_str()?), it.span)));
                files.extend(named.filter(|(path, _)| path != Path::new("/dev/null")));
            }
            None => {
                let default = directory.join(".env");
                if self.files.exists(&default) {
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

    fn read(&mut self, path: &Path, blame: Option<Span>) -> Option<String> {
        let why = match self.files.read(path).map(String::from_utf8) {
            Ok(Ok(text)) => return Some(text),
            Ok(Err(_)) => "it is not UTF-8 text".to_owned(),
            Err(error) => error.to_string(),
        };
        self.incomplete = true;
        let title = format!("{} cannot be read: {why}", path.display());
        match blame {
            Some(span) => self.problems.error(span, title),
            None => self.problems.error_without_place(title),
        };
        None
    }
}
