//! `watch`: files that change here change in the containers.

use std::fs;
use std::process::{Child, Stdio};

use crate::support::{Host, binary, eventually};

const STACK: &str = "
services:
  web:
    image: busybox:1.35
    init: true
    stop_grace_period: 1s
    command: sh -c 'echo begun >> /begun; exec sleep 1000000'
    develop:
      watch:
        - {path: ./src, action: sync, target: /app, ignore: ['*.tmp', build/], initial_sync: true}
        - {path: ./only, action: sync, target: /only, include: ['*.html']}
        - path: ./conf
          action: sync+exec
          target: /conf
          exec: {command: [sh, -c, 'echo $$WHO $$(id -u) $$(pwd) > /ran'], user: '7', working_dir: /tmp, privileged: true, environment: [WHO=reload]}
        - {path: ./main.cfg, action: sync+restart, target: /main.cfg}
        - {path: ./flag, action: restart}
";

/// Ends the command when the test does.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside(host: &Host, what: &str, line: &str, expected: &str) {
    eventually(what, || {
        let ran = host.exec("app", "web", line);
        match ran.stdout.trim_end() {
            it if it == expected => Ok(()),
            _ => Err(ran.to_string()),
        }
    });
}

#[test]
fn files_that_change_here_change_in_the_containers() {
    let host = Host::new();
    let file = host.project("app", STACK);
    let here = |name: &str| file.with_file_name(name);
    for directory in ["src", "only", "conf"] {
        fs::create_dir(here(directory)).unwrap();
    }
    fs::write(here("src/first"), "1").unwrap();
    fs::write(here("src/never.tmp"), "1").unwrap();
    fs::write(here("main.cfg"), "1").unwrap();
    fs::write(here("flag"), "1").unwrap();
    // `/ran` is written by a user who is not root.
    let mut command = host.command(binary());
    command.args(["-f", file.to_str().unwrap(), "watch"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut watching = Watching(command.spawn().unwrap());
    let said = watching.0.stderr.take().unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(said));
    assert!(said.any(|line| line.unwrap() == "Watch enabled"));
    std::thread::spawn(move || said.for_each(drop));

    inside(&host, "what was there is copied", "ls /app", "first");
    inside(
        &host,
        "it may write",
        "touch /ran && chmod 666 /ran && echo ok",
        "ok",
    );
    fs::create_dir_all(here("src/deep/er")).unwrap();
    fs::create_dir_all(here("src/build")).unwrap();
    fs::write(here("src/deep/er/new"), "2").unwrap();
    fs::write(here("src/build/out"), "2").unwrap();
    inside(&host, "a new file is copied", "cat /app/deep/er/new", "2");
    fs::remove_file(here("src/first")).unwrap();
    inside(&host, "a removed file goes", "ls /app", "deep");
    fs::write(here("only/a.txt"), "").unwrap();
    fs::write(here("only/b.html"), "").unwrap();
    inside(
        &host,
        "only what is included is copied",
        "ls /only",
        "b.html",
    );
    fs::write(here("conf/x"), "").unwrap();
    inside(&host, "the command has run", "cat /ran", "reload 7 /tmp");
    fs::write(here("main.cfg"), "22").unwrap();
    inside(
        &host,
        "it was copied and restarted",
        "cat /main.cfg /begun",
        "22begun\nbegun",
    );
    fs::write(here("flag"), "22").unwrap();
    inside(
        &host,
        "it was restarted",
        "cat /begun",
        "begun\nbegun\nbegun",
    );
    drop(watching);
    host.compose("app", STACK, "down").succeeds();
    host.leaves_nothing();
}

#[test]
fn what_cannot_be_watched_is_said() {
    let host = Host::new();
    let text = STACK.replace("action: restart", "action: rebuild");
    host.compose("app", &text, "watch")
        .fails_with(1)
        .says("`rebuild` of service \"web\" is not part of wharfie yet");
    host.compose("app", "services: {web: {image: x}}", "up --watch")
        .fails_with(1)
        .says("no service says what to watch");
    host.leaves_nothing();
}
