//! Many files into one tree: `include`, `extends`, and the merging of what remains.
//!
//! Relative paths are made absolute while a file is checked, because afterwards nobody knows which
//! directory they were meant from: that of the project for its own files, that of the other file
//! for included and extended ones.

mod extend;
mod include;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::check::{Checker, Paths, Step};
use super::diagnostic::{Problems, Span};
use super::document::{self, Documents, Map, Node, Value};
use super::interpolate::{Filled, interpolate};
use super::merge::merge;
use super::normalize::SECTIONS;
use super::schema::{FILE, Shape};
use super::{Files, LoadOptions, Source, Steps, discover};

/// Of all files together. Files that include others twice, which include others twice, … would
/// otherwise never end.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// Read one by one; the same goes for very small ones.
const MAX_FILES: usize = 1000;

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
    project_directory: &'a Path,
    files: &'a dyn Files,
    problems: &'a mut Problems,
    pub(super) filled: Filled,
    /// Ports that ranges stand for, so far.
    ports: usize,
    /// Files read so far.
    file_count: usize,
    /// Services of files that others extend, by file and directory of the scope.
    extended: BTreeMap<(PathBuf, PathBuf), Rc<Map>>,
    /// The files being included, outermost first.
    including: Vec<PathBuf>,
    /// Directories that have been fetched.
    fetched: Vec<PathBuf>,
    /// Bytes read so far.
    text_len: usize,
    /// A `!reset` or `!override` stands somewhere, so that marks of it may be left in the tree.
    pub(super) tagged: bool,
    /// A file is missing from the tree, wholly or in part: what the others refer to may be in it.
    pub(super) incomplete: bool,
    /// A limit has been passed: nothing more is read.
    exhausted: bool,
}

/// A file that has been parsed.
pub(super) struct Parsed {
    path: PathBuf,
    documents: Vec<Node>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(
        options: &'a LoadOptions,
        files: &'a dyn Files,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            steps: options.steps,
            project_directory: &options.project_directory,
            files,
            problems,
            filled: Filled::default(),
            ports: 0,
            file_count: 0,
            extended: BTreeMap::new(),
            including: Vec::new(),
            fetched: options.fetched.clone(),
            text_len: 0,
            tagged: false,
            incomplete: false,
            exhausted: false,
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
        self.text_len += text.len();
        self.file_count += 1;
        let too_much = if self.text_len > MAX_TEXT {
            Some(format!(
                "the files are larger than {MAX_TEXT} bytes in total"
            ))
        } else if self.file_count > MAX_FILES {
            Some(format!("there are more than {MAX_FILES} files"))
        } else {
            None
        };
        let parsed = match too_much {
            Some(title) => {
                self.problems.error(start, title);
                self.exhausted = true;
                None
            }
            None => document::parse(text, file, self.problems),
        };
        let Some(Documents {
            nodes: mut documents,
            tagged,
        }) = parsed
        else {
            self.incomplete = true;
            return Parsed {
                path: path.to_owned(),
                documents: Vec::new(),
            };
        };
        self.tagged |= tagged;
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

    /// The project's name: given, or `name:` of the last file that has one, or the directory's. What files
    /// and directories are called is made fit; what the user says has to be.
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
            interpolate(
                &mut node,
                Some(&options.environment),
                &mut Filled::default(),
                &mut silent,
            );
            let written = node.as_str().unwrap_or_default();
            let name = discover::normalize_project_name(written);
            if name.is_empty() {
                let title = format!("no name of a project can be made of `{written}`");
                self.problems
                    .error(node.span, title)
                    .set_help("it consists of lowercase letters, digits, `-` and `_`");
            }
            return Some(name);
        }
        let directory = options.name_directory.as_ref();
        let directory = directory.unwrap_or(&options.project_directory);
        let name = discover::default_project_name(directory);
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
        let mut model = Node::new(Value::Map(Box::default()), nowhere);
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
        self.confine_file(&document);
        document.remove("version");
        let included = document.remove("include");
        self.extend_services(&mut document, path, scope);
        if let Some(included) = included {
            let mut all = Node::map([], included.key);
            for entry in included.node.items() {
                if let Some(one) = self.include(entry, scope) {
                    self.conflicts(&all, &one, entry);
                    all = merge(&FILE, all, one);
                }
            }
            // What this file itself says about something included goes over it.
            document = merge(&FILE, all, document);
        }
        merge(&FILE, model, document)
    }

    /// Two included projects may bring the same, but not different things under one name.
    fn conflicts(&mut self, before: &Node, now: &Node, entry: &Node) {
        for section in ["services"].iter().chain(&SECTIONS) {
            let known = before.get(section).and_then(Node::as_map);
            for (name, found) in now.get(section).into_iter().flat_map(Node::entries) {
                let Some(other) = known.and_then(|it| it.get(name)) else {
                    continue;
                };
                if !other.node.says_the_same(&found.node) {
                    let what = section.trim_end_matches('s');
                    let title = format!("{what} `{name}` is included twice, and not as the same");
                    self.problems.error(entry.span, title);
                    self.problems.relate(other.key, "the first one");
                }
            }
        }
    }

    fn interpolate(&mut self, node: &mut Node, scope: &Scope) {
        let environment = self.steps.interpolate.then_some(&scope.environment);
        interpolate(node, environment, &mut self.filled, self.problems);
    }

    fn check(
        &mut self,
        shape: &Shape,
        node: Node,
        directory: &Path,
        scope: &Scope,
        path: Vec<Step>,
    ) -> Node {
        let mut checker = Checker {
            problems: self.problems,
            paths: match self.steps.resolve_paths {
                true => Paths::Absolute(directory),
                false => Paths::Relative {
                    directory,
                    project: self.project_directory,
                },
            },
            home: scope.environment.get("HOME").map(String::as_str),
            templates: !self.steps.interpolate,
            path,
            ports: &mut self.ports,
        };
        checker.check(shape, node)
    }

    /// Where a path of a checked tree leads: it is absolute, or meant from the project's directory.
    fn located(&self, path: &str) -> PathBuf {
        self.project_directory.join(path)
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
