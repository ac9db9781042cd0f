//! Which project a command is about: its files, its variables, its name.
//!
//!     -f │ COMPOSE_FILE │ discovery ─► files ─┐
//!     environment over .env ──────────────────┼─► scheduler::compose::load ─► Project
//!     --profile │ COMPOSE_PROFILES ───────────┘
//!
//! A command that works on what exists (`ps`, `logs`, `down`) needs only the name, and with
//! `-p NAME` no file at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use scheduler::compose::{
    self, Color, Diagnostic, FetchError, Files, Lints, LoadOptions, Project, Purpose, Remote,
    Resources, Source, Steps, discover, dotenv, render_all,
};

use crate::args::{Ansi, Global, ProgressMode};
use crate::connect::{ApiError, Client, Endpoint, node};
use crate::disk::{self, Disk};
use crate::error::Failure;
use crate::output::{self, Colour};
use crate::progress::Progress;

/// Where a node started by a command keeps its data, unless `WHARFIE_DATA_ROOT` says otherwise.
pub(crate) const DATA_ROOT: &str = "/var/lib/wharfie";

/// Where a node keeps its sockets, unless `WHARFIE_EXEC_ROOT` says otherwise.
pub(crate) const EXEC_ROOT: &str = "/run/wharfie";

/// What every command is given: the options before it, and the environment.
pub(crate) struct Context {
    pub(crate) global: Global,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    disk: Disk,
    /// Standard input can be read only once, and a command may load its project twice.
    stdin: OnceLock<String>,
}

/// A project that is known by its name.
pub(crate) struct Named {
    pub(crate) name: String,
    /// Services of its files; empty when none were read.
    services: BTreeSet<String>,
}

impl Named {
    /// Services named on the command line must be in the files, or in what there is.
    pub(crate) fn check(
        &self,
        services: &[String],
        exists: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        match services
            .iter()
            .find(|it| !self.services.contains(*it) && !exists(it))
        {
            Some(unknown) => Err(no_such_service(unknown, self.services.iter())),
            None => Ok(()),
        }
    }
}

/// A service was named that there is not: what was probably meant, or what there is.
pub(crate) fn no_such_service<'a>(
    name: &str,
    known: impl Iterator<Item = &'a String> + Clone,
) -> Failure {
    let failure = Failure::new(format!("no such service: {name}"));
    if let Some(meant) = compose::nearest(name, known.clone().map(String::as_str)) {
        return failure.hint(format!("Did you mean `{meant}`?"));
    }
    let known: Vec<_> = known.map(String::as_str).collect();
    match known.is_empty() {
        true => failure,
        false => failure.hint(format!("The services are: {}.", known.join(", "))),
    }
}

/// How what is wrong or odd in the files is told. A command that only looks at what exists does not
/// repeat what `up` has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warnings {
    Shown,
    Hidden,
    /// Together with the errors, as JSON for editors.
    Json,
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        // Variables that are not text cannot be used in a file of text.
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let directory = std::env::current_dir().context("the working directory cannot be read")?;
        // Files use it, and a process that no shell started may lack it.
        if let Some(here) = directory.to_str() {
            let variable = environment.entry("PWD".to_owned());
            variable.or_insert_with(|| here.to_owned());
        }
        let mut context = Self {
            global,
            disk: Disk::new(BTreeMap::new()),
            environment,
            directory,
            stdin: OnceLock::new(),
        };
        let mut variables = context.environment.clone();
        variables.extend(context.options_of_dotenv());
        context.disk = Disk::new(variables);
        Ok(context)
    }

    /// What the `.env` files set of the variables that stand for options (`COMPOSE_…`), and the
    /// environment does not. A file that cannot be read is told of by whoever loads the project.
    pub(crate) fn options_of_dotenv(&self) -> BTreeMap<String, String> {
        let mut variables = self.with_dotenv(&self.base_directory()).unwrap_or_default();
        variables
            .retain(|name, _| name.starts_with("COMPOSE_") && !self.environment.contains_key(name));
        variables
    }

    /// Colours on standard output.
    pub(crate) fn colour(&self) -> Colour {
        colour(self.global.ansi, output::stdout_is_terminal())
    }

    /// Colours on standard error.
    pub(crate) fn error_colour(&self) -> Colour {
        colour(self.global.ansi, output::stderr_is_terminal())
    }

    /// The way in which progress was asked to be shown, under this verb.
    pub(crate) fn progress(&self, title: &'static str) -> Progress {
        Progress::new(self.global.progress, title, self.error_colour())
    }

    /// How many things are fetched at a time.
    pub(crate) fn parallel(&self) -> usize {
        match usize::try_from(self.global.parallel) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        }
    }

    /// Nothing but results is to be printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.global.progress == ProgressMode::Quiet
    }

    /// A client of the node, which must be there.
    pub(crate) fn client(&self) -> Client {
        let host = self.global.host.clone();
        Client::new(host.unwrap_or_else(|| self.own_endpoint()))
    }

    /// A number of seconds that the environment gives.
    pub(crate) fn seconds(&self, variable: &str) -> Option<Duration> {
        let text = self.environment.get(variable)?;
        text.parse().ok().map(Duration::from_secs)
    }

    /// Where this host's own node listens: the only one that is started when it is needed, and that
    /// may be absent. One that was named (`-H`, `WHARFIE_HOST`) is expected to be there.
    fn own_endpoint(&self) -> Endpoint {
        let exec_root = self
            .environment
            .get("WHARFIE_EXEC_ROOT")
            .map_or(EXEC_ROOT, String::as_str);
        Endpoint::Unix(Path::new(exec_root).join("wharfie.sock"))
    }

    /// A client of a node that answers; this host's own is started if need be.
    pub(crate) async fn node(&self) -> Result<Client, Failure> {
        let client = self.client();
        if *client.endpoint() != self.own_endpoint() {
            client.probe().await?;
            return Ok(client);
        }
        let data_root = self
            .environment
            .get("WHARFIE_DATA_ROOT")
            .map_or(DATA_ROOT, String::as_str);
        Ok(node::ensure(client, Path::new(data_root)).await?)
    }

    /// A client of the node; `None` when this host has none, and so nothing of anybody.
    pub(crate) async fn existing_node(&self) -> Result<Option<Client>, Failure> {
        let client = self.client();
        match client.probe().await {
            Ok(()) => Ok(Some(client)),
            Err(ApiError::Unreachable { cause, .. })
                if node::is_absent(&cause) && *client.endpoint() == self.own_endpoint() =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Loads the project; the services named on the command line switch their profiles on.
    pub(crate) fn load(
        &self,
        services: &[String],
        steps: Steps,
        warnings: Warnings,
    ) -> Result<Project, Failure> {
        let options = self.load_options(services, steps, warnings)?;
        let style = match self.error_colour() {
            Colour::On => Color::Ansi,
            Colour::Off => Color::Plain,
        };
        let project = compose::load(&options, &self.disk).map_err(|failure| {
            if warnings == Warnings::Json {
                output::note(as_json(&[failure.warnings, failure.errors].concat()));
                return Failure::silent(1);
            }
            if !failure.warnings.is_empty() && warnings == Warnings::Shown {
                output::note(render_all(&failure.warnings, style));
            }
            output::note(failure.render(style));
            Failure::silent(1)
        })?;
        if !project.warnings.is_empty() && !self.is_quiet() {
            match warnings {
                Warnings::Shown => output::note(render_all(&project.warnings, style)),
                Warnings::Json => output::note(as_json(&project.warnings)),
                Warnings::Hidden => {}
            }
        }
        Ok(project)
    }

    /// What is wrong with the project, and what looks wrong.
    pub(crate) fn check(&self, lints: &Lints) -> Result<Vec<Diagnostic>, Failure> {
        let steps = Steps {
            purpose: Purpose::Check,
            ..Steps::default()
        };
        let options = self.load_options(&[], steps, Warnings::Shown)?;
        Ok(compose::check(&options, &self.disk, lints))
    }

    /// Loads the project and checks that it has these services.
    pub(crate) fn load_with(&self, services: &[String]) -> Result<Project, Failure> {
        let project = self.load(services, Steps::default(), Warnings::Shown)?;
        match services
            .iter()
            .find(|it| !project.stack.services.contains_key(*it))
        {
            None => Ok(project),
            Some(unknown) => Err(no_such_service(unknown, project.stack.services.keys())),
        }
    }

    /// The project's name, and its services if that is known without being asked for: with `-p` no
    /// file is read.
    pub(crate) fn named(&self) -> Result<Named, Failure> {
        let environment = self.with_dotenv(&self.base_directory())?;
        if let Some(name) = self.explicit_name(&environment) {
            discover::check_project_name(&name)?;
            return Ok(Named {
                name,
                services: BTreeSet::new(),
            });
        }
        let steps = Steps {
            purpose: Purpose::Show,
            ..Steps::default()
        };
        let project = self.load(&[], steps, Warnings::Hidden)?;
        let services = project
            .stack
            .services
            .into_keys()
            .chain(project.disabled.into_keys());
        Ok(Named {
            name: project.name,
            services: services.collect(),
        })
    }

    /// The project's name alone.
    pub(crate) fn project_name(&self) -> Result<String, Failure> {
        Ok(self.named()?.name)
    }

    /// The environment with the variables of the `.env` files.
    pub(crate) fn load_options(
        &self,
        services: &[String],
        mut steps: Steps,
        warnings: Warnings,
    ) -> Result<LoadOptions, Failure> {
        if self.global.all_resources {
            steps.resources = Resources::All;
        }
        let base = self.base_directory();
        let mut environment = self.with_dotenv(&base)?;
        let Chosen { files, fetched } = self.files(&base, &environment, warnings)?;
        let is_fetched = |path: &PathBuf| fetched.iter().any(|root| path.starts_with(root));
        let parent = |path: Option<&PathBuf>| path?.parent().map(compose::clean);
        let local = files
            .first()
            .filter(|it| it.as_os_str() != "-" && !is_fetched(it));
        let given = self.global.project_directory.as_ref();
        let given = given.map(|it| compose::clean(&self.directory.join(it)));
        let here = given.clone().or_else(|| parent(local));
        let here = here.unwrap_or_else(|| self.directory.clone());
        if here != base {
            for (key, value) in self.with_dotenv(&here)? {
                environment.entry(key).or_insert(value);
            }
        }
        // A project from elsewhere has its own directory, but the name and the variables of the place
        // where it is used.
        let elsewhere = parent(files.iter().find(|it| is_fetched(it)));
        let elsewhere = elsewhere.filter(|_| given.is_none());
        let sources = files.into_iter().map(|it| self.source(it));
        Ok(LoadOptions {
            files: sources.collect::<Result<_, _>>()?,
            fetched,
            project_directory: elsewhere.unwrap_or_else(|| here.clone()),
            project_name: self.explicit_name(&environment),
            name_directory: Some(here),
            profiles: self.profiles(&environment),
            environment,
            services: services.to_vec(),
            steps,
        })
    }

    /// The file, with its text if that can be read only once.
    fn source(&self, path: PathBuf) -> Result<Source, Failure> {
        if path.as_os_str() != "-" {
            return Ok(Source { path, text: None });
        }
        let text = match self.stdin.get() {
            Some(text) => text.clone(),
            None => {
                let text = disk::read_text(io::stdin())
                    .context("cannot read the Compose file from standard input")?;
                self.stdin.get_or_init(|| text).clone()
            }
        };
        Ok(Source {
            path,
            text: Some(text),
        })
    }

    /// Where files are looked for, and the first `.env`: the directory that was named, or that of the first
    /// file that was.
    fn base_directory(&self) -> PathBuf {
        let is_local = |path: &&PathBuf| {
            let remote = path
                .to_str()
                .is_some_and(|it| !matches!(Remote::parse(it), Ok(None)));
            path.as_os_str() != "-" && !remote
        };
        let named = self.global.project_directory.as_deref();
        let first = self.global.files.first().filter(is_local);
        let directory = named.or_else(|| first?.parent());
        compose::clean(&self.directory.join(directory.unwrap_or(Path::new(""))))
    }

    fn explicit_name(&self, environment: &BTreeMap<String, String>) -> Option<String> {
        let from_environment = || {
            environment
                .get("COMPOSE_PROJECT_NAME")
                .filter(|it| !it.is_empty())
        };
        self.global
            .project_name
            .clone()
            .or_else(|| from_environment().cloned())
    }

    fn profiles(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        if !self.global.profiles.is_empty() {
            return self.global.profiles.clone();
        }
        let listed = environment
            .get("COMPOSE_PROFILES")
            .map_or("", String::as_str);
        listed
            .split(',')
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn files(
        &self,
        base: &Path,
        environment: &BTreeMap<String, String>,
        warnings: Warnings,
    ) -> Result<Chosen, Failure> {
        if !self.global.files.is_empty() {
            return self.chosen(self.global.files.iter().cloned());
        }
        if let Some(listed) = environment.get("COMPOSE_FILE").filter(|it| !it.is_empty()) {
            let separator = environment
                .get("COMPOSE_PATH_SEPARATOR")
                .map(String::as_str);
            return self.chosen(discover::split_compose_file(listed, separator).into_iter());
        }
        let Some(found) = discover::find(base, &|path| path.is_file()) else {
            return Err(Failure::new(format!(
                "no Compose file found in {} or above it",
                base.display()
            ))
            .hint("Write a compose.yaml, or name a file with -f."));
        };
        if let (Some(used), false, Warnings::Shown) =
            (found.files.first(), found.ignored.is_empty(), warnings)
        {
            let ignored: Vec<_> = found
                .ignored
                .iter()
                .map(|it| it.display().to_string())
                .collect();
            output::note(format!(
                "warning: {} is used, not {}",
                used.display(),
                ignored.join(", ")
            ));
        }
        Ok(Chosen {
            files: found.files,
            fetched: Vec::new(),
        })
    }

    /// The files of these names; those that are elsewhere are fetched.
    fn chosen(&self, names: impl Iterator<Item = PathBuf>) -> Result<Chosen, Failure> {
        let mut chosen = Chosen::default();
        for name in names {
            let remote = match name.to_str().map(Remote::parse) {
                Some(Ok(remote)) => remote,
                Some(Err(error)) => return Err(unfetched(&name, error.into())),
                None => None,
            };
            chosen.files.push(match remote {
                Some(remote) => {
                    let fetched = self.disk.fetch(&remote);
                    let fetched = fetched.map_err(|error| unfetched(&name, error))?;
                    chosen.fetched.push(fetched.root);
                    fetched.file
                }
                None if name.as_os_str() == "-" => name,
                None => self.directory.join(name),
            });
        }
        Ok(chosen)
    }

    /// The environment over the variables of `--env-file`, or of `.env` in the directory.
    fn with_dotenv(&self, directory: &Path) -> Result<BTreeMap<String, String>, Failure> {
        let mut variables = BTreeMap::new();
        for (path, presence) in self.dotenv_files(directory) {
            let text = match File::open(&path).and_then(disk::read_text) {
                Ok(text) => text,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && presence == Presence::Optional =>
                {
                    continue;
                }
                Err(error) => {
                    return Err(anyhow::Error::new(error)
                        .context(format!("cannot read env file {}", path.display()))
                        .into());
                }
            };
            let lookup = |name: &str| {
                self.environment
                    .get(name)
                    .or_else(|| variables.get(name))
                    .cloned()
            };
            let parsed = dotenv::parse(&text, dotenv::Format::Compose, &lookup)
                .with_context(|| path.display().to_string())?;
            variables.extend(
                parsed
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
        }
        variables.extend(self.environment.clone());
        Ok(variables)
    }

    fn dotenv_files(&self, directory: &Path) -> Vec<(PathBuf, Presence)> {
        if !self.global.env_files.is_empty() {
            let given = self.global.env_files.iter();
            return given
                .map(|it| (self.directory.join(it), Presence::Required))
                .collect();
        }
        if let Some(listed) = self
            .environment
            .get("COMPOSE_ENV_FILES")
            .filter(|it| !it.is_empty())
        {
            let listed = listed.split(',');
            return listed
                .map(|it| (self.directory.join(it), Presence::Required))
                .collect();
        }
        let disabled = self
            .environment
            .get("COMPOSE_DISABLE_ENV_FILE")
            .map_or("", String::as_str);
        match disabled {
            "1" | "true" | "TRUE" | "True" => Vec::new(),
            _ => vec![(directory.join(".env"), Presence::Optional)],
        }
    }
}

/// The files of a project.
#[derive(Default)]
struct Chosen {
    /// Absolute, or `-`.
    files: Vec<PathBuf>,
    /// Directories of those that were fetched.
    fetched: Vec<PathBuf>,
}

fn unfetched(name: &Path, error: FetchError) -> Failure {
    let failure = Failure::new(format!(
        "`{}` cannot be fetched: {}",
        name.display(),
        error.message
    ));
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// Diagnostics for editors, without a newline at the end.
fn as_json(found: &[Diagnostic]) -> String {
    let json = compose::to_json(found).unwrap_or_else(|error| error.to_string());
    json.trim_end().to_owned()
}

/// Colours as asked for; `auto` is on a terminal that does not refuse them.
pub(crate) fn colour(ansi: Ansi, is_terminal: bool) -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    match ansi {
        Ansi::Always => Colour::On,
        Ansi::Auto if is_terminal && !refused => Colour::On,
        Ansi::Auto | Ansi::Never => Colour::Off,
    }
}
