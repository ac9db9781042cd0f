//! Compose files in, a [`Stack`] out, or everything that is wrong with them.
//!
//! ```text
//! text ─document─► nodes ─interpolate─► ─check─► canonical nodes ─assemble─► one tree
//!      (spans, aliases)   (${…})         (schema)                 (include, extends, merge)
//! one tree ─normalize─► (profiles, defaults, names) ─consistency─► ─resolve─► Stack
//!                                                   └─canonical─► what `config` prints
//! ```
//!
//! Every value keeps the place where it was written until the end, so that each step can point at
//! it; no step stops at the first problem. Files come through [`Files`], the environment and all
//! choices through [`LoadOptions`]: nothing here touches the machine.

mod assemble;
mod canonical;
mod check;
mod consistency;
mod develop;
mod diagnostic;
pub mod discover;
mod document;
pub mod dotenv;
mod environment;
mod interpolate;
mod lint;
mod merge;
mod normalize;
mod remote;
mod resolve;
mod schema;
mod short;
mod template;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

pub use canonical::{Canonical, Mapping, Tree};
pub use check::{clean, nearest};
pub use develop::{Action, Watch};
pub use diagnostic::{Color, Diagnostic, Failure, Severity, render_all, to_json};
pub use lint::{Group, Lints, Rule, UnknownRule};
pub use remote::{FetchError, Fetched, Remote, RemoteError, Repository};
pub use template::{TemplateError, Variable};
pub use value::{ValueError, parse_duration};

use crate::model::stack::Stack;
use assemble::{Assembler, Scope};
use diagnostic::Problems;
use document::Node;

/// Where the contents of files come from: the cli reads the disk, tests read a map.
pub trait Files {
    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    fn exists(&self, path: &Path) -> bool;

    /// Brings what is elsewhere to where it can be read.
    ///
    /// # Errors
    ///
    /// What keeps it from being fetched; where nothing else is said, that nothing can be.
    fn fetch(&self, remote: &Remote) -> Result<Fetched, FetchError> {
        let _ = remote;
        Err(FetchError {
            message: "only files of this host can be read here".to_owned(),
            hint: None,
        })
    }
}

/// Everything that decides what is loaded; gathered by the cli.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The files, already chosen, in the order in which they are merged.
    pub files: Vec<Source>,
    /// Absolute; relative paths of all `files` are meant from here.
    pub project_directory: PathBuf,
    /// Directories of `files` that have been fetched: what these refer to is read in there only.
    pub fetched: Vec<PathBuf>,
    /// `-p` or `COMPOSE_PROJECT_NAME`.
    pub project_name: Option<String>,
    /// Whose name the project has when nobody names it; else it is `project_directory`.
    pub name_directory: Option<PathBuf>,
    /// The process's environment over that of `.env`.
    pub environment: BTreeMap<String, String>,
    /// Active profiles; `*` is all.
    pub profiles: Vec<String>,
    /// Services named on the command line: their profiles become active.
    pub services: Vec<String>,
    pub steps: Steps,
}

/// A file to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// Absolute, or `-` for standard input.
    pub path: PathBuf,
    /// The content, when it does not come from `path`.
    pub text: Option<String>,
}

/// Parts of loading that `config` can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// `--no-interpolate`: texts keep their `${…}`, and there is no stack.
    pub interpolate: bool,
    /// `--no-path-resolution`; there is no stack.
    pub resolve_paths: bool,
    /// `--no-env-resolution`: `env_file` stays, and variables without a value stay so; there is no
    /// stack.
    pub resolve_environment: bool,
    /// `--no-normalize`: no implicit networks, dependencies and names, and there is no stack.
    pub normalize: bool,
    /// `--no-consistency`: there is no stack.
    pub check_consistency: bool,
    pub purpose: Purpose,
    /// `--all-resources`.
    pub resources: Resources,
}

/// Which networks, volumes, secrets, configs and models stay in a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resources {
    /// Those that an active service names.
    #[default]
    Used,
    All,
}

/// What a project is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at: what cannot be run yet is a warning, and the files behind secrets and
    /// configs are not read.
    Show,
    /// To be judged: what cannot be run is an error, and the files are not read.
    Check,
    /// To be run: what cannot be run is an error.
    #[default]
    Run,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            interpolate: true,
            resolve_paths: true,
            resolve_environment: true,
            normalize: true,
            check_consistency: true,
            purpose: Purpose::Run,
            resources: Resources::Used,
        }
    }
}

/// A loaded project.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// Only active services; empty if a step that it needs was left out.
    pub stack: Stack,
    pub warnings: Vec<Diagnostic>,
    /// Services that no active profile asks for, with their profiles.
    pub disabled: BTreeMap<String, Vec<String>>,
    /// Every profile that the files mention.
    pub profiles: BTreeSet<String>,
    /// The variables that the files use.
    pub variables: BTreeSet<Variable>,
    /// The environment that was used, with `COMPOSE_PROJECT_NAME`.
    pub environment: BTreeMap<String, String>,
    model: Node,
    steps: Steps,
}

impl Project {
    /// What `config` prints.
    pub fn canonical(&self) -> Canonical<'_> {
        Canonical::new(&self.model, self.steps)
    }

    /// The hash of each service's configuration, as Docker Compose labels its containers with it.
    pub fn config_hashes(&self) -> BTreeMap<String, String> {
        let services = self.model.get("services").into_iter();
        services
            .flat_map(Node::entries)
            .map(|(name, entry)| (name.to_owned(), canonical::config_hash(&entry.node)))
            .collect()
    }
}

/// Loads a project.
///
/// # Errors
///
/// Every problem that was found in the files.
pub fn load(options: &LoadOptions, files: &dyn Files) -> Result<Project, Failure> {
    let mut problems = Problems::new(options.steps.purpose);
    let loaded = load_into(options, files, Keep::Project, &mut problems);
    let (errors, warnings): (Vec<_>, Vec<_>) = problems
        .finish(&Lints::default())
        .into_iter()
        .partition(|it| it.severity() == Severity::Error);
    match loaded {
        Some(Loaded { mut project, .. }) if errors.is_empty() => {
            project.warnings = warnings;
            Ok(project)
        }
        _ => Err(Failure { errors, warnings }),
    }
}

/// Everything that is wrong with a project or looks wrong, in the order of the files.
pub fn check(options: &LoadOptions, files: &dyn Files, lints: &Lints) -> Vec<Diagnostic> {
    let mut problems = Problems::default();
    let loaded = load_into(options, files, Keep::Merged, &mut problems);
    if let Some(merged) = loaded.and_then(|it| it.merged) {
        lint::lint(&merged, files, &mut problems);
    }
    problems.finish(lints)
}

struct Loaded {
    project: Project,
    /// The tree before profiles and defaults have changed it, if it was asked for.
    merged: Option<Node>,
}

/// What is wanted of loading. A tree of a thousand services takes as long to copy as to merge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Project,
    Merged,
}

/// `None` is given only after an error has been reported.
fn load_into(
    options: &LoadOptions,
    files: &dyn Files,
    keep: Keep,
    problems: &mut Problems,
) -> Option<Loaded> {
    if options.files.is_empty() {
        problems.error_without_place("no Compose file was given");
        return None;
    }
    let mut assembler = Assembler::new(options, files, problems);
    let documents = assembler.parse(&options.files);
    let name = assembler.project_name(options, &documents)?;
    let mut environment = options.environment.clone();
    environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let scope = Scope {
        directory: options.project_directory.clone(),
        environment: environment.clone(),
    };
    let mut model = assembler.assemble(documents, &scope);
    let variables = std::mem::take(&mut assembler.filled.variables);
    if assembler.incomplete {
        return None;
    }
    if assembler.tagged {
        merge::settle(&mut model);
    }
    let merged = (keep == Keep::Merged).then(|| model.clone());

    let selection = normalize::select(&mut model, options, problems);
    let context = normalize::Context {
        name: &name,
        directory: &options.project_directory,
        environment: &environment,
        files,
        steps: options.steps,
    };
    normalize::normalize(&mut model, &context, problems);
    if options.steps.check_consistency {
        consistency::check(&model, &selection, problems);
    }
    if options.steps.resources == Resources::Used {
        normalize::drop_unused(&mut model);
    }
    let whole = options.steps
        == Steps {
            purpose: options.steps.purpose,
            resources: options.steps.resources,
            ..Steps::default()
        };
    // Also after errors: it may find more.
    let stack = if whole {
        resolve::stack(&model, &context, options, problems)
    } else {
        Stack::default()
    };
    let project = Project {
        name,
        stack,
        warnings: Vec::new(),
        disabled: selection.disabled,
        profiles: selection.profiles,
        variables,
        environment,
        model,
        steps: options.steps,
    };
    Some(Loaded { project, merged })
}
