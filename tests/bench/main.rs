//! wharfie beside its peers, in one run: `cargo bench`.
//!
//! Whatever of dockerd, Docker Compose, podman, runc and crun is installed takes part. Every
//! engine runs in network and mount namespaces of its own; each measurement takes turns between
//! the engines, with a pause after it, because what one leaves to be cleaned up lands on the next.
//! Printed are medians and, for each peer, how many times longer it takes than wharfie.
//!
//! `RUNS=n` sets how often each thing is measured (5), `SERVICES=1,10,50` the sizes of the stacks,
//! `DOCKER_COMPOSE=path` a Docker Compose (else the plugin of `docker`, or `docker-compose`).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support.rs"]
mod support;

mod dockerd;
mod peers;
mod table;

use dockerd::Dockerd;
use peers::{Bundle, Podman};
use support::Host;
use table::{Contender, Table, time};

fn main() {
    let runs = variable("RUNS", "5").parse().expect("RUNS is a number");
    let sizes: Vec<usize> = variable("SERVICES", "1,10,50")
        .split(',')
        .map(|size| size.parse().expect("SERVICES are numbers"))
        .collect();
    let wharfie = Host::new();
    let dockerd = Dockerd::start();
    let podman = Podman::find();
    let bundles = [Bundle::new("runc"), Bundle::new("crun")];

    println!("median of {runs} runs, milliseconds; in brackets how many times wharfie's\n");
    let mut table = Table::new("create, start, wait for, remove a container that runs `true`");
    let mut contenders: Vec<Contender<'_>> = vec![(
        "wharfie, by the docker CLI",
        Box::new(|| wharfie_docker(&wharfie, &["run", "--rm", "busybox:1.35", "true"])),
    )];
    if let Some(dockerd) = &dockerd {
        contenders.push((
            "dockerd, by the docker CLI",
            Box::new(|| dockerd.docker(&["run", "--rm", "busybox:1.35", "true"])),
        ));
    }
    if let Some(podman) = &podman {
        contenders.push((
            "podman",
            Box::new(|| podman.run(&["run", "--ulimit", "host", "--rm", "busybox:1.35", "true"])),
        ));
    }
    for bundle in bundles.iter().flatten() {
        contenders.push((bundle.runtime(), Box::new(|| bundle.run())));
    }
    table.measure(runs, &contenders);
    drop(contenders);

    let mut table = Table::new("exec `true` in a running container");
    wharfie_docker(
        &wharfie,
        &[
            "run",
            "-d",
            "--name",
            "sleeper",
            "busybox:1.35",
            "sleep",
            "100000",
        ],
    );
    if let Some(dockerd) = &dockerd {
        dockerd.docker(&[
            "run",
            "-d",
            "--name",
            "sleeper",
            "busybox:1.35",
            "sleep",
            "100000",
        ]);
    }
    if let Some(podman) = &podman {
        podman.run(&[
            "run",
            "--ulimit",
            "host",
            "-d",
            "--name",
            "sleeper",
            "busybox:1.35",
            "sleep",
            "100000",
        ]);
    }
    let mut contenders: Vec<Contender<'_>> = vec![(
        "wharfie, by the docker CLI",
        Box::new(|| wharfie_docker(&wharfie, &["exec", "sleeper", "true"])),
    )];
    if let Some(dockerd) = &dockerd {
        contenders.push((
            "dockerd, by the docker CLI",
            Box::new(|| dockerd.docker(&["exec", "sleeper", "true"])),
        ));
    }
    if let Some(podman) = &podman {
        contenders.push((
            "podman",
            Box::new(|| podman.run(&["exec", "sleeper", "true"])),
        ));
    }
    table.measure(runs, &contenders);
    drop(contenders);
    wharfie_docker(&wharfie, &["rm", "-f", "sleeper"]);

    for size in sizes {
        stacks(&wharfie, dockerd.as_ref(), runs, size);
    }
}

/// `up -d`, the same again, and `down`, of a stack of `size` services.
fn stacks(wharfie: &Host, dockerd: Option<&Dockerd>, runs: usize, size: usize) {
    let mut text = String::from("services:\n");
    for number in 1..=size {
        text += &format!(
            "  s{number}:\n    image: busybox:1.35\n    command: sleep 100000\n    stop_signal: SIGKILL\n"
        );
    }
    let file = wharfie.project("bench", &text);
    let file = file.to_str().unwrap();
    let mut tables = ["up -d", "up -d again, with nothing to do", "down"]
        .map(|what| Table::new(&format!("{what}, {size} services")));
    for _ in 0..runs {
        for (table, words) in tables
            .iter_mut()
            .zip([&["up", "-d"][..], &["up", "-d"], &["down"]])
        {
            let mut args = vec!["-f", file];
            args.extend(words);
            table.add(
                "wharfie",
                time(|| drop(wharfie.wharfie_with(&args).succeeds())),
            );
        }
        let Some(dockerd) = dockerd.filter(|dockerd| dockerd.has_compose()) else {
            continue;
        };
        for (table, words) in tables
            .iter_mut()
            .zip([&["up", "-d"][..], &["up", "-d"], &["down"]])
        {
            let mut args = vec!["-f", file];
            args.extend(words);
            table.add("Docker Compose on dockerd", time(|| dockerd.compose(&args)));
        }
    }
    tables.iter().for_each(Table::print);
}

fn wharfie_docker(host: &Host, args: &[&str]) {
    let socket = host.socket();
    let mut all = vec!["-H", &socket];
    all.extend(args);
    host.run("docker", &all).succeeds();
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
