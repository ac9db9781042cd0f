//! The commands that people type all day, on large projects, beside Docker Compose: `cargo bench --bench compose`.
//!
//! Printed are medians, and how many times longer Docker Compose takes; both take turns.
//!
//! | what | sizes | goal |
//! |---|---|---|
//! | `config` | 50, 1,000 services | 50: 5 times as fast; 1,000: 100 ms |
//! | `ps`, `up -d` with nothing to do | 50, 500 containers | 50: 5 times as fast; 500: 200 ms |
//!
//! The containers only sleep. dockerd takes part with at most 50 of them, as it starts five a second; without
//! dockerd, or without Docker Compose, wharfie is measured alone.
//!
//! `RUNS=n` sets how often each is measured (11), `SERVICES=50,500` how many containers there are,
//! `DOCKER_COMPOSE=path` the Docker Compose (else the one that `tests/run.sh` fetches, or an installed one).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support.rs"]
mod support;

#[allow(dead_code, reason = "the other benchmark needs all of it")]
mod dockerd;
mod table;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use dockerd::{Dockerd, find_compose, quietly};
use support::{Host, binary};
use table::{Contender, Table};

/// dockerd needs two seconds for ten containers, and as much again to remove them.
const MOST_FOR_DOCKERD: usize = 50;

fn main() {
    let runs = variable("RUNS", "11").parse().expect("RUNS is a number");
    let sizes: Vec<usize> = variable("SERVICES", "50,500")
        .split(',')
        .map(|size| size.parse().expect("SERVICES are numbers"))
        .collect();
    println!("median of {runs} runs, milliseconds; in brackets how many times wharfie's\n");
    let compose = find_compose();
    for size in [50, 1000] {
        config(compose.as_deref(), runs, size);
    }
    let wharfie = Host::new();
    let dockerd = Dockerd::start();
    for size in sizes {
        let small = |it: &&Dockerd| it.has_compose() && size <= MOST_FOR_DOCKERD;
        stack(&wharfie, dockerd.as_ref().filter(small), runs, size);
    }
}

/// `config` needs nobody else.
fn config(compose: Option<&[String]>, runs: usize, size: usize) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("compose.yaml");
    fs::write(&file, services_of_all_sorts(size)).unwrap();
    let print = |words: &[String]| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(place.path());
        command.args(["config", "--output", "printed.yaml"]);
        quietly(command);
    };
    let own = [binary().to_owned()];
    let mut contenders: Vec<Contender<'_>> = vec![("wharfie", Box::new(|| print(&own)))];
    if let Some(words) = compose {
        contenders.push(("Docker Compose", Box::new(|| print(words))));
    }
    Table::new(&format!("config, {size} services")).measure(runs, &contenders);
}

/// What is asked of a stack that runs.
fn stack(wharfie: &Host, dockerd: Option<&Dockerd>, runs: usize, size: usize) {
    let mut text = String::from("services:\n");
    for number in 1..=size {
        let _ = write!(
            text,
            "  s{number}:\n    image: busybox:1.35\n    command: sleep 100000\n    stop_signal: SIGKILL\n"
        );
    }
    let file = wharfie.project("bench", &text);
    own(wharfie, &file, &["up", "-d"]);
    if let Some(dockerd) = dockerd {
        theirs(dockerd, &file, &["up", "-d"]);
    }
    for words in [&["ps"][..], &["up", "-d"]] {
        let mut contenders: Vec<Contender<'_>> =
            vec![("wharfie", Box::new(|| own(wharfie, &file, words)))];
        if let Some(dockerd) = dockerd {
            contenders.push((
                "Docker Compose on dockerd",
                Box::new(|| theirs(dockerd, &file, words)),
            ));
        }
        let title = format!("{}, {size} containers that run", words.join(" "));
        Table::new(&title).measure(runs, &contenders);
    }
    own(wharfie, &file, &["down"]);
    if let Some(dockerd) = dockerd {
        theirs(dockerd, &file, &["down"]);
    }
}

/// Not in the host's namespaces, which take milliseconds to enter: the socket is reached from everywhere.
fn own(wharfie: &Host, file: &Path, words: &[&str]) {
    let mut command = Command::new(binary());
    command
        .env("WHARFIE_HOST", wharfie.socket())
        .stdin(Stdio::null())
        .arg("-f")
        .arg(file)
        .args(words);
    quietly(command);
}

fn theirs(dockerd: &Dockerd, file: &Path, words: &[&str]) {
    let mut all = vec!["-f", file.to_str().unwrap()];
    all.extend(words);
    dockerd.compose(&all);
}

/// Services as people write them: short forms, variables, an anchor, two networks, a volume each.
fn services_of_all_sorts(count: usize) -> String {
    let mut text =
        String::from("x-log: &log {driver: json-file, options: {max-size: 10m}}\nservices:\n");
    for number in 0..count {
        let before = number.saturating_sub(1);
        let _ = write!(
            text,
            r#"  s{number}:
    image: registry.example.org/team/app-{number}:${{TAG:-1.{number}}}
    command: serve --port 80{number} --name s{number}
    environment: {{A: "1", B: two, PORT: 80{number}, URL: "http://s{before}:80/${{X:-p}}"}}
    ports: ["{published}:80"]
    volumes: ["data{number}:/data", "./conf/{number}:/etc/app:ro"]
    networks: [front, back]
    healthcheck: {{test: [CMD, curl, -f, http://localhost], interval: 10s, timeout: 3s, retries: 3}}
    restart: unless-stopped
    logging: *log
    labels: [app=s{number}, tier=web]
    deploy: {{resources: {{limits: {{cpus: "0.5", memory: 64m}}}}}}
"#,
            published = 10_000 + number,
        );
        if number > 0 {
            let _ = writeln!(text, "    depends_on: [s{before}]");
        }
    }
    text.push_str("networks: {front: , back: }\nvolumes:\n");
    for number in 0..count {
        let _ = writeln!(text, "  data{number}:");
    }
    text
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
