//! Commands that stay: `up` without `-d`, `logs -f`, `exec` on a terminal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Host, binary};

/// A service that ends at the first SIGTERM.
const PATIENT: &str = "
services:
  good:
    image: busybox:1.35
    init: true
    command: sh -c 'echo good is up; exec sleep 1000000'
";
fn begin(host: &Host, file: &str, words: &str) -> Child {
    let path = host.project("app", file);
    let mut command = host.command(binary());
    let command = command.arg("-f").arg(path).args(words.split_whitespace());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ctrl-C, as far as a command without a terminal can feel it: timeout(1) in front passes it on.
fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
}

#[test]
fn ctrl_c_stops_the_stack_and_keeps_its_containers() {
    let host = Host::new();
    let mut up = begin(&host, PATIENT, "up");
    // Whoever prints what containers say has come so far that Ctrl-C is for them.
    let mut lines = BufReader::new(up.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("good is up") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    interrupt(&up);
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130), "{said}");
    assert_eq!(host.inspect("app-good-1")["State"]["Status"], "exited");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_attached_up_ends_with_the_code_of_the_service_that_was_named() {
    let host = Host::new();
    let file = format!(
        "{PATIENT}  test:\n    image: busybox:1.35\n    command: sh -c 'echo tested; exit 9'\n"
    );
    let ran = host.compose("app", &file, "up --exit-code-from test");
    ran.fails_with(9).says("tested");
    assert_eq!(host.inspect("app-good-1")["State"]["Status"], "exited");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn following_logs_ends_when_nothing_can_be_said_any_more() {
    let host = Host::new();
    let file = "services:\n  a:\n    image: busybox:1.35\n    command: sh -c 'for i in $(seq 20); do echo line $$i; sleep 0.05; done'\n".replace("$(seq", "$$(seq");
    host.compose("app", &file, "up -d").succeeds();
    let all = host
        .wharfie("-p app logs -f --no-log-prefix")
        .succeeds()
        .stdout;
    assert_eq!(all.lines().count(), 20, "{all}");
    let tail = host
        .wharfie("-p app logs --tail 2 --no-log-prefix")
        .succeeds()
        .stdout;
    assert_eq!(tail, "line 19\nline 20\n");
    host.wharfie("-p app down").succeeds();
}

#[test]
fn exec_on_a_terminal_has_its_size_and_its_code() {
    let host = Host::new();
    host.compose("app", PATIENT, "up -d").succeeds();
    let line = format!(
        "script -qec \"stty cols 77 rows 33; {} -p app exec good sh -c 'stty size; tty; exit 4'\" /dev/null",
        binary()
    );
    let ran = host.shell(&line);
    assert_eq!(ran.code, 4, "{ran}");
    ran.says("33 77").says("/dev/pts/");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
