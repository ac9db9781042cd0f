//! Which files, which variables, which directory, which name: a row for each rule, and Docker Compose says
//! the same.
//!
//! A row is files and a command. `PATH: IMAGE` is a Compose file with one service, `PATH| TEXT` a file with
//! that text (`\n` is a new line), `$ [FOLDER/] [VARIABLE=VALUE…] [OPTION…]` how `config` is called, and
//! `<< TEXT` what comes by standard input. What is expected is the project's name, and of each service the
//! image and the directory from which its `./d` is meant, seen from the top.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use super::{bare, docker_compose, wharfie};

struct Row {
    place: tempfile::TempDir,
    folder: String,
    variables: Vec<(String, String)>,
    options: Vec<String>,
    stdin: String,
}

fn service(image: &str) -> String {
    format!("services: {{web: {{image: '{image}', network_mode: none, volumes: ['./d:/d']}}}}\n")
}

impl Row {
    fn new(drawing: &str) -> Self {
        let mut row = Self {
            place: tempfile::tempdir().unwrap(),
            folder: String::new(),
            variables: Vec::new(),
            options: Vec::new(),
            stdin: String::new(),
        };
        for line in drawing.lines().map(str::trim).filter(|it| !it.is_empty()) {
            if let Some(words) = line.strip_prefix("$") {
                for word in words.split_whitespace() {
                    match word.split_once('=') {
                        Some((name, value)) if !word.starts_with('-') => {
                            row.variables.push((name.to_owned(), value.to_owned()));
                        }
                        _ if word.ends_with('/') => row.folder = word.to_owned(),
                        _ => row.options.push(word.to_owned()),
                    }
                }
            } else if let Some(image) = line.strip_prefix("<< ") {
                row.stdin = service(image);
            } else if let Some((path, text)) = line.split_once("| ") {
                row.write(path, &text.replace("\\n", "\n"));
            } else if let Some((path, image)) = line.split_once(": ") {
                row.write(path, &service(image));
            } else {
                panic!("`{line}` means nothing");
            }
        }
        row
    }

    /// All of it is below a folder with a name that is made fit for a project.
    fn top(&self) -> PathBuf {
        self.place.path().join("My_Shop 2")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, program: &Path) -> Output {
        let folder = self.top().join(&self.folder);
        fs::create_dir_all(&folder).unwrap();
        let mut command = bare(program, &folder);
        command
            .envs(self.variables.iter().cloned())
            .args(&self.options)
            .args(["config", "--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who does not read it may be gone already.
        let _ = child.stdin.take().unwrap().write_all(self.stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn summary(&self, output: &Output) -> String {
        if !output.status.success() {
            return "refused".to_owned();
        }
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut text = printed["name"].as_str().unwrap().to_owned();
        for (name, service) in printed["services"].as_object().into_iter().flatten() {
            let source = service["volumes"][0]["source"].as_str().unwrap_or_default();
            let from = Path::new(source).parent().unwrap_or(Path::new(""));
            let from = from.strip_prefix(self.top()).unwrap_or(from);
            text += &format!(" {name}={}", service["image"].as_str().unwrap());
            if !from.as_os_str().is_empty() {
                text += &format!("@{}", from.display());
            }
        }
        text
    }
}

#[track_caller]
fn check(drawing: &str, expected: &str) {
    let row = Row::new(drawing);
    let (ours, theirs) = (row.run(wharfie()), row.run(&docker_compose()));
    let said = |it: &Output| String::from_utf8_lossy(&it.stderr).into_owned();
    assert_eq!(
        row.summary(&ours),
        expected,
        "{drawing}: we: {}",
        said(&ours)
    );
    assert_eq!(
        row.summary(&theirs),
        expected,
        "{drawing}: they: {}",
        said(&theirs)
    );
}

#[test]
fn a_file_is_looked_for_by_its_name() {
    check("compose.yaml: 1 \n compose.yml: 2 \n $", "my_shop2 web=1");
    check(
        "compose.yml: 1 \n docker-compose.yml: 2 \n $",
        "my_shop2 web=1",
    );
    check(
        "docker-compose.yml: 1 \n docker-compose.yaml: 2 \n $",
        "my_shop2 web=1",
    );
    check("docker-compose.yaml: 1 \n $", "my_shop2 web=1");
    check("compose.json: 1 \n $", "refused");
    check("compose.yaml: 1 \n $ a/b/", "my_shop2 web=1");
    check("compose.yaml: 1 \n a/compose.yml: 2 \n $ a/b/", "a web=2@a");
}

#[test]
fn one_override_file_goes_over_the_file_that_was_found() {
    check(
        "compose.yaml: 1 \n compose.override.yml: 2 \n $",
        "my_shop2 web=2",
    );
    check(
        "compose.yaml: 1 \n compose.override.yaml: 2 \n $",
        "my_shop2 web=2",
    );
    check(
        "compose.yaml: 1 \n docker-compose.override.yml: 2 \n $",
        "my_shop2 web=2",
    );
    check(
        "compose.yaml: 1 \n compose.override.yml: 2 \n compose.override.yaml: 3 \n $",
        "my_shop2 web=2",
    );
    check(
        "compose.yaml: 1 \n compose.override.yml: 2 \n $ -f compose.yaml",
        "my_shop2 web=1",
    );
    check(
        "compose.yaml: 1 \n compose.override.yml: 2 \n $ COMPOSE_FILE=compose.yaml",
        "my_shop2 web=1",
    );
}

#[test]
fn files_that_are_named_are_merged_in_their_order() {
    check(
        "a.yaml: 1 \n b.yaml: 2 \n $ -f a.yaml -f b.yaml",
        "my_shop2 web=2",
    );
    check(
        "a.yaml: 1 \n b.yaml: 2 \n $ -f b.yaml -f a.yaml",
        "my_shop2 web=1",
    );
    check(
        "a.yaml: 1 \n b.yaml: 2 \n $ COMPOSE_FILE=a.yaml:b.yaml",
        "my_shop2 web=2",
    );
    check(
        "a.yaml: 1 \n b.yaml: 2 \n $ COMPOSE_FILE=a.yaml,b.yaml COMPOSE_PATH_SEPARATOR=,",
        "my_shop2 web=2",
    );
    check(
        "a.yaml: 1 \n b.yaml: 2 \n $ COMPOSE_FILE=a.yaml -f b.yaml",
        "my_shop2 web=2",
    );
    check(
        "a.yaml: 1 \n .env| COMPOSE_FILE=a.yaml \n $",
        "my_shop2 web=1",
    );
    check("compose.yaml: 1 \n $ -f absent.yaml", "refused");
    check(
        "a.yaml| services: {web: {image: '1', volumes: ['./d:/d']}}\\n---\\nservices: {web: {image: '2'}} \n $ -f a.yaml",
        "my_shop2 web=2",
    );
}

#[test]
fn standard_input_is_a_file_of_the_working_directory() {
    check("$ -f - \n << 1", "my_shop2 web=1");
    check("$ a/ -f - \n << 1", "a web=1@a");
    check("a.yaml: 1 \n $ -f a.yaml -f - \n << 2", "my_shop2 web=2");
    check("$ a/ --project-directory .. -f - \n << 1", "my_shop2 web=1");
    check("$ -f -", "refused");
}

#[test]
fn relative_paths_are_meant_from_the_first_file() {
    check("a/compose.yaml: 1 \n $ -f a/compose.yaml", "a web=1@a");
    check(
        "a/x.yaml: 1 \n b/y.yaml: 2 \n $ -f a/x.yaml -f b/y.yaml",
        "a web=2@a",
    );
    check(
        "a/x.yaml: 1 \n $ --project-directory b -f a/x.yaml",
        "b web=1@b",
    );
    check("a/compose.yaml: 1 \n $ --project-directory a", "a web=1@a");
}

#[test]
fn variables_come_from_the_environment_over_files() {
    let file = "compose.yaml: ${V:-none} \n a.env| V=a \n b.env| V=b \n .env| V=dot \n";
    check(&format!("{file} $"), "my_shop2 web=dot");
    check(&format!("{file} $ V=set"), "my_shop2 web=set");
    check(&format!("{file} $ V="), "my_shop2 web=none");
    check(&format!("{file} $ --env-file a.env"), "my_shop2 web=a");
    check(
        &format!("{file} $ --env-file a.env --env-file b.env"),
        "my_shop2 web=b",
    );
    check(
        &format!("{file} $ --env-file a.env V=set"),
        "my_shop2 web=set",
    );
    check(&format!("{file} $ --env-file absent.env"), "refused");
    check(
        &format!("{file} $ COMPOSE_ENV_FILES=b.env,a.env"),
        "my_shop2 web=a",
    );
    check(
        &format!("{file} $ COMPOSE_DISABLE_ENV_FILE=true"),
        "my_shop2 web=none",
    );
    check(
        &format!("{file} $ COMPOSE_DISABLE_ENV_FILE=1 --env-file a.env"),
        "my_shop2 web=a",
    );
}

#[test]
fn the_env_file_is_that_of_the_first_file_that_is_named() {
    let file = "a/compose.yaml: ${V:-none}-${W:-none} \n a/.env| V=own\\nW=own \n";
    check(&format!("{file} $ -f a/compose.yaml"), "a web=own-own@a");
    check(
        &format!("{file} .env| V=here \n $ -f a/compose.yaml"),
        "a web=own-own@a",
    );
    check(
        &format!("{file} .env| V=here \n $ --project-directory a"),
        "a web=own-own@a",
    );
    check(
        "a/compose.yaml: ${V:-none} \n .env| V=here \n $ -f a/compose.yaml",
        "a web=none@a",
    );
    check(
        &format!("{file} .env| V=here\\nCOMPOSE_FILE=a/compose.yaml \n $"),
        "a web=here-own@a",
    );
    check(
        &format!("{file} .env| V=here \n $ a/ --project-directory .. -f compose.yaml"),
        "my_shop2 web=here-none",
    );
}

#[test]
fn the_name_is_the_nearest_to_the_command() {
    let file =
        "compose.yaml| name: 'n${X:-}'\\nservices: {web: {image: '$COMPOSE_PROJECT_NAME'}} \n";
    check(&format!("{file} $"), "n web=n");
    check(&format!("{file} $ X=x"), "nx web=nx");
    check(&format!("{file} $ COMPOSE_PROJECT_NAME=env"), "env web=env");
    check(
        &format!("{file} .env| COMPOSE_PROJECT_NAME=dot \n $"),
        "dot web=dot",
    );
    check(
        &format!("{file} $ COMPOSE_PROJECT_NAME=env -p flag"),
        "flag web=flag",
    );
    check(&format!("{file} $ -p Flag"), "refused");
    check(&format!("{file} $ X=A.b"), "nab web=nab");
    check(
        "compose.yaml| name: '-'\\nservices: {web: {image: '1'}} \n $",
        "refused",
    );
    check(
        &format!("{file} b.yaml| name: b \n $ -f compose.yaml -f b.yaml"),
        "b web=b",
    );
    check("a/_-B.c/compose.yaml: 1 \n $ a/_-B.c/", "bc web=1@a/_-B.c");
}

#[test]
fn profiles_are_of_the_command_or_of_the_environment() {
    let file = "compose.yaml| services: {a: {image: '1'}, b: {image: '2', profiles: [p]}, c: {image: '3', profiles: [q, r]}} \n";
    check(&format!("{file} $"), "my_shop2 a=1");
    check(&format!("{file} $ --profile p"), "my_shop2 a=1 b=2");
    check(
        &format!("{file} $ --profile p --profile r"),
        "my_shop2 a=1 b=2 c=3",
    );
    check(&format!("{file} $ --profile *"), "my_shop2 a=1 b=2 c=3");
    check(
        &format!("{file} $ COMPOSE_PROFILES=p,q"),
        "my_shop2 a=1 b=2 c=3",
    );
    check(
        &format!("{file} $ COMPOSE_PROFILES=*"),
        "my_shop2 a=1 b=2 c=3",
    );
    check(
        &format!("{file} .env| COMPOSE_PROFILES=q \n $"),
        "my_shop2 a=1 c=3",
    );
}
