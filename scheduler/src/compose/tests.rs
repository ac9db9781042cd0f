//! Small projects in, models, canonical files and messages out.

mod attributes;
mod canonical;
mod discovery;
mod errors;
mod grammar;
mod laws;
mod lints;
mod merging;
mod mistakes;
mod model;
mod page;
mod property;
mod variables;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Failure, FetchError, Fetched, Files, LoadOptions, Project, Remote, Source, load};

/// Files that exist only in the test.
#[derive(Default)]
struct Disk(BTreeMap<PathBuf, Vec<u8>>);

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        self.0.get(path).cloned().ok_or_else(missing)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// `git://host/NAME` is the folder of that name.
    fn fetch(&self, remote: &Remote) -> Result<Fetched, FetchError> {
        let name = match remote {
            Remote::Git(it) => it.url.trim_start_matches("git://host/"),
            Remote::Artifact(it) => it,
        };
        let root = Path::new("/fetched").join(name);
        let file = root.join("compose.yaml");
        match self.exists(&file) {
            true => Ok(Fetched { file, root }),
            false => Err(FetchError {
                message: "there is none".to_owned(),
                hint: None,
            }),
        }
    }
}

/// A project in `/shop`, described by `--- NAME` lines and what stands below them. Files that
/// begin with `compose` are loaded, in their order.
struct Case {
    disk: Disk,
    options: LoadOptions,
}

impl Case {
    fn new(text: &str) -> Self {
        let mut disk = Disk::default();
        let mut sources = Vec::new();
        let text = if text.trim_start().starts_with("=== ") {
            text.to_owned()
        } else {
            format!("=== compose.yaml\n{text}")
        };
        for file in text.split("=== ").skip(1) {
            let (name, content) = file.split_once('\n').unwrap_or((file, ""));
            let path = Path::new("/shop").join(name.trim());
            if name.starts_with("compose") {
                sources.push(Source {
                    path: path.clone(),
                    text: None,
                });
            }
            disk.0.insert(path, content.as_bytes().to_vec());
        }
        let options = LoadOptions {
            files: sources,
            project_directory: PathBuf::from("/shop"),
            environment: BTreeMap::from([
                ("HOME".to_owned(), "/home/me".to_owned()),
                ("SET".to_owned(), "value".to_owned()),
                ("EMPTY".to_owned(), String::new()),
            ]),
            ..LoadOptions::default()
        };
        Self { disk, options }
    }

    fn load(&self) -> Result<Project, Failure> {
        load(&self.options, &self.disk)
    }

    #[track_caller]
    fn project(&self) -> Project {
        match self.load() {
            Ok(project) => project,
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Titles of the errors and warnings, one a line, with their lines and columns.
fn titles(diagnostics: &[super::Diagnostic]) -> String {
    let lines = diagnostics.iter().map(|it| match it.position() {
        Some((path, line, column)) => {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            format!("{name}:{line}:{column} {}\n", it.title())
        }
        None => format!("{}\n", it.title()),
    });
    lines.collect()
}
