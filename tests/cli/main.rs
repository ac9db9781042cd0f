//! What a person sees: help, errors and results of commands that need no node.
//!
//! Every command runs in an empty directory with a cleared environment, so that nothing of the
//! machine shows; the directory's path is written as `[DIR]`.
#![allow(clippy::unwrap_used)]

mod check;
mod config;
mod errors;
mod fake_node;
mod help;
mod interrupts;
mod no_node;
mod refused;
mod stack;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A directory to run commands in.
struct Place {
    directory: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Place {
    fn empty() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            environment: Vec::new(),
        }
    }

    /// A directory with a `compose.yaml`.
    fn with(compose: &str) -> Self {
        Self::empty().file("compose.yaml", compose)
    }

    fn file(self, name: &str, content: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn env(mut self, key: &'static str, value: &'static str) -> Self {
        self.environment.push((key, value));
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `wharfie` and writes down everything that it prints, and its exit code unless it is 0.
    fn run(&self, arguments: &str) -> String {
        self.written_down(self.start(arguments).wait_with_output().unwrap())
    }

    fn written_down(&self, output: Output) -> String {
        let mut text = String::from_utf8(output.stdout).unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        if !complaints.is_empty() {
            text.push_str(&format!("--- stderr\n{complaints}"));
        }
        match output.status.code() {
            Some(0) => {}
            code => text.push_str(&format!("--- exit {}\n", code.unwrap())),
        }
        let here = self.path().canonicalize().unwrap();
        text.replace(here.to_str().unwrap(), "[DIR]")
    }

    /// Where a node is looked for.
    fn socket(&self) -> PathBuf {
        self.path().join("wharfie.sock")
    }

    fn start(&self, arguments: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_wharfie"))
            .args(arguments.split_whitespace())
            .current_dir(self.path().canonicalize().unwrap())
            .env_clear()
            .env("WHARFIE_EXEC_ROOT", self.path())
            .env("COLUMNS", "100")
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

#[test]
fn every_file_beside_this_one_is_a_module_of_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli");
    let this = include_str!("main.rs");
    for entry in fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            stem == "main" || this.contains(&format!("mod {stem};")),
            "{stem} is forgotten"
        );
    }
}
