//! `config`: the files as they are understood, or a part of it. Needs no node, except for digests.

mod digest;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use scheduler::compose::{Canonical, Mapping, Project, Purpose, Resources, Steps, Tree};

use super::Outcome;
use crate::error::Failure;
use crate::output::{self, Table};
use crate::project::{Context, Warnings, no_such_service};

/// Parse, resolve and print the Compose file in canonical form
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is printed; with `json`, problems are told in JSON as well, on standard error
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
    /// Print the models, one a line
    #[arg(long, group = "part")]
    models: bool,
    /// Print the hashes of services, one a line; `*` is all of them
    #[arg(long, group = "part", value_name = "SERVICE,…")]
    hash: Option<String>,
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
    /// Keep networks, volumes, secrets and configs that no service uses
    #[arg(long)]
    all_resources: bool,
    /// Name images by their digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print a file to merge over the others that names images by their digests
    #[arg(long, group = "part")]
    lock_image_digests: bool,
    /// Services to print [default: all]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let warnings = match self.format {
            Format::Yaml => Warnings::Shown,
            Format::Json => Warnings::Json,
        };
        let project = context.load(&self.names, self.steps(), warnings)?;
        let mut canonical = project.canonical();
        let known = keys(&canonical, "services");
        if let Some(unknown) = self.names.iter().find(|it| !known.contains(it)) {
            return Err(no_such_service(unknown, known.iter()));
        }
        if self.resolve_image_digests || self.lock_image_digests {
            let pinned = digest::pinned(&context.client(), &canonical).await?;
            let image = |name: &str| pinned.get(name).map_or(name, String::as_str).to_owned();
            canonical = canonical.with_images(&image);
        }
        if self.lock_image_digests {
            canonical = canonical.only_images();
        }
        if !self.names.is_empty() {
            canonical = canonical.only_services(&|name| self.names.iter().any(|it| it == name));
        }
        if self.quiet {
            return Ok(ExitCode::SUCCESS);
        }
        let text = match self.part(&project, &canonical)? {
            Some(part) => part,
            None => self.whole(&canonical)?,
        };
        // Taking a project of a thousand services apart takes longer than printing it, and the program ends.
        std::mem::forget(canonical);
        std::mem::forget(project);
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
            purpose: Purpose::Show,
            resources: match self.all_resources {
                true => Resources::All,
                false => Resources::Used,
            },
        }
    }

    fn whole(&self, canonical: &Canonical<'_>) -> Result<String, Failure> {
        match self.format {
            Format::Yaml => Ok(canonical.to_yaml()),
            Format::Json => {
                let json = serde_json::to_string_pretty(&canonical.json())?;
                Ok(format!("{json}\n"))
            }
        }
    }

    /// The part that was asked for; `None` is the whole.
    fn part(
        &self,
        project: &Project,
        canonical: &Canonical<'_>,
    ) -> Result<Option<String>, Failure> {
        let wanted = |name: &String| self.names.is_empty() || self.names.contains(name);
        let text = match () {
            () if self.services => lines(keys(canonical, "services").into_iter().filter(wanted)),
            () if self.volumes => lines(keys(canonical, "volumes")),
            () if self.networks => lines(keys(canonical, "networks")),
            () if self.models => lines(values(canonical, "models", "model")),
            () if self.profiles => lines(project.profiles.iter().cloned()),
            () if self.images => {
                let services = project.stack.services.iter();
                let images: BTreeSet<_> = services
                    .filter(|(name, _)| wanted(name))
                    .map(|(_, it)| it.container.image.clone())
                    .filter(|it| !it.is_empty())
                    .collect();
                lines(images)
            }
            () if self.environment => lines(
                project
                    .environment
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            ),
            () if self.variables => variables(project),
            () => match &self.hash {
                Some(listed) => hashes(project, listed)?,
                None => return Ok(None),
            },
        };
        Ok(Some(text))
    }
}

/// `NAME HASH` of the services in a list with commas.
fn hashes(project: &Project, listed: &str) -> Result<String, Failure> {
    let hashes = project.config_hashes();
    let names: Vec<String> = match listed {
        "*" => hashes.keys().cloned().collect(),
        list => list.split(',').map(str::to_owned).collect(),
    };
    let mut text = String::new();
    for name in names {
        let Some(hash) = hashes.get(&name) else {
            return Err(no_such_service(&name, hashes.keys()));
        };
        text.push_str(&format!("{name} {hash}\n"));
    }
    Ok(text)
}

/// What stands under a key in each entry of a section, in order and once.
fn values(canonical: &Canonical<'_>, section: &str, key: &str) -> BTreeSet<String> {
    let entries = canonical
        .section(section)
        .into_iter()
        .flat_map(Mapping::iter);
    let texts = entries.filter_map(|(_, it)| match it {
        Tree::Map(entry) => match entry.get(key)? {
            Tree::Text(text) => Some(text.clone().into_owned()),
            _ => None,
        },
        _ => None,
    });
    texts.collect()
}

/// The keys of a section, in the order in which they are printed.
fn keys(canonical: &Canonical<'_>, section: &str) -> Vec<String> {
    let entries = canonical
        .section(section)
        .into_iter()
        .flat_map(Mapping::iter);
    entries.map(|(key, _)| key.to_owned()).collect()
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
