//! `config`: the files as they are understood, or a part of it. Needs no node.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use scheduler::compose::{Canonical, Project, Steps, Tree};

use super::Outcome;
use crate::error::Failure;
use crate::output::{self, Table};
use crate::project::{Context, Warnings, no_such_service};

/// Parse, resolve and print the Compose file in canonical form
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
    /// Check only, print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Write to a file
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print the names of services, one a line
    #[arg(long, group = "part")]
    services: bool,
    /// Print the keys of volumes, one a line
    #[arg(long, group = "part")]
    volumes: bool,
    /// Print the keys of networks, one a line
    #[arg(long, group = "part")]
    networks: bool,
    /// Print the images, one a line
    #[arg(long, group = "part")]
    images: bool,
    /// Print the profiles, one a line
    #[arg(long, group = "part")]
    profiles: bool,
    /// Print the environment that variables are taken from
    #[arg(long, group = "part")]
    environment: bool,
    /// Print the variables that the files use, and their defaults
    #[arg(long, group = "part")]
    variables: bool,
    /// Leave variables as they are
    #[arg(long)]
    no_interpolate: bool,
    /// Do not add what is implied
    #[arg(long)]
    no_normalize: bool,
    /// Leave paths relative
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not check that what is referred to exists
    #[arg(long)]
    no_consistency: bool,
    /// Leave `env_file` and variables without a value as they are
    #[arg(long)]
    no_env_resolution: bool,
    /// Services to print [default: all]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let project = context.load(&self.names, self.steps(), Warnings::Shown)?;
        let known = keys(&project.canonical, "services");
        if let Some(unknown) = self.names.iter().find(|it| !known.contains(it)) {
            return Err(no_such_service(unknown, known.iter()));
        }
        if self.quiet {
            return Ok(ExitCode::SUCCESS);
        }
        let text = match self.part(&project) {
            Some(part) => part,
            None => self.whole(project)?,
        };
        match &self.output {
            Some(path) => {
                std::fs::write(path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => output::result(text),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn steps(&self) -> Steps {
        Steps {
            interpolate: !(self.no_interpolate || self.variables),
            resolve_paths: !self.no_path_resolution,
            resolve_environment: !self.no_env_resolution,
            normalize: !self.no_normalize,
            check_consistency: !self.no_consistency,
            read_contents: false,
        }
    }

    fn whole(&self, project: Project) -> Result<String, Failure> {
        let canonical = match self.names.is_empty() {
            true => project.canonical,
            false => project
                .canonical
                .only_services(&|name| self.names.iter().any(|it| it == name)),
        };
        match self.format {
            Format::Yaml => Ok(canonical.to_yaml()),
            Format::Json => {
                let json = serde_json::to_string_pretty(&canonical.json())?;
                Ok(format!("{json}\n"))
            }
        }
    }

    /// The part that was asked for; `None` is the whole.
    fn part(&self, project: &Project) -> Option<String> {
        let wanted = |name: &String| self.names.is_empty() || self.names.contains(name);
        let text = match () {
            () if self.services => lines(
                keys(&project.canonical, "services")
                    .into_iter()
                    .filter(wanted),
            ),
            () if self.volumes => lines(keys(&project.canonical, "volumes")),
            () if self.networks => lines(keys(&project.canonical, "networks")),
            () if self.profiles => lines(project.profiles.iter().cloned()),
            () if self.images => {
                let services = project
                    .stack
                    .services
                    .iter()
                    .filter(|(name, _)| wanted(name));
                let images: BTreeSet<_> =
                    services.map(|(_, it)| it.container.image.clone()).collect();
                lines(images)
            }
            () if self.environment => lines(
                project
                    .environment
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            ),
            () if self.variables => variables(project),
            () => return None,
        };
        Some(text)
    }
}

/// The keys of a section, in the order in which they are printed.
fn keys(canonical: &Canonical, section: &str) -> Vec<String> {
    match canonical.sections().get(section) {
        Some(Tree::Map(entries)) => entries.keys().cloned().collect(),
        Some(_) | None => Vec::new(),
    }
}

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|it| it + "\n").collect()
}

fn variables(project: &Project) -> String {
    let mut table = Table::new(
        20,
        &["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"],
    );
    for it in &project.variables {
        table.row(vec![
            it.name.clone(),
            it.required.to_string(),
            it.default.clone().unwrap_or_default(),
            it.alternate.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}
