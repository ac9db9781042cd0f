//! Files that try to eat the machine are refused before they have eaten much.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{bare, wharfie};

/// The most that a refusal may take, of memory.
const MOST_BYTES: u64 = 256 << 20;

/// Begins the text of a file that is a link.
const LINK: &str = "-> ";

/// For how long a refusal is awaited: a loaded machine is slow, but it ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that it may take of a processor. What is refused within a second of an idle machine takes many
/// times as long where the tests are built unoptimized and run beside others: this ends what has no end.
const MOST_SECONDS: u64 = 40;

/// Loads files in a directory of their own, under the limits; gives the error.
#[track_caller]
fn refused(files: &[(&str, String)]) -> String {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = place.path().join(name);
        match text.strip_prefix(LINK) {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let mut command = bare(Path::new("/bin/sh"), place.path());
    let limited = format!(
        "ulimit -v {}; ulimit -t {MOST_SECONDS}; exec \"$0\" -p bomb config -q",
        MOST_BYTES / 1024
    );
    let mut child = command
        .args(["-c", &limited])
        .arg(wharfie())
        .env("TOKIO_WORKER_THREADS", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        pipe.read_to_string(&mut said).unwrap();
        said
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it goes on for more than {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let said = reader.join().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    let errors = said.lines().filter_map(|it| it.strip_prefix("error: "));
    errors.map(|it| format!("{it}\n")).collect()
}

fn compose(text: String) -> Vec<(&'static str, String)> {
    vec![("compose.yaml", text)]
}

#[track_caller]
fn check(files: &[(&str, String)], part: &str) {
    let said = refused(files);
    assert!(said.contains(part), "not `{part}`:\n{said}");
}

/// Nine of the level below, twelve times.
#[test]
fn aliases_of_aliases() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    check(&compose(text), "expands to more than 100000 values");
}

/// An anchor keeps a copy of what it names: ninety of them around the same large list.
#[test]
fn anchors_within_anchors() {
    let open: String = (0..90).map(|it| format!("&a{it} [")).collect();
    let text = format!("x-a: {open}{}{}", "1,".repeat(90_000), "]".repeat(90));
    check(&compose(text), "expands to more than 100000 values");
}

#[test]
fn lists_within_lists() {
    let text = format!("x-a: {}{}", "[".repeat(200_000), "]".repeat(200_000));
    check(&compose(text), "recursion limit exceeded");
}

#[test]
fn a_very_large_file() {
    let text = format!(
        "services: {{}}\n{}",
        "# much ado about nothing\n".repeat(400_000)
    );
    check(&compose(text), "larger than");
}

/// A variable of a megabyte, many times.
#[test]
fn variables_that_fill_much() {
    let text = format!("services: {{a: {{image: \"{}\"}}}}", "$A".repeat(500_000));
    let mut files = compose(text);
    files.push((".env", format!("A={}", "x".repeat(1_000_000))));
    check(&files, "becomes longer than");
}

/// Each variable is twice the one before.
#[test]
fn variables_of_variables() {
    let mut text = "A0=xxxxxxxxxx\n".to_owned();
    for level in 1..64 {
        text.push_str(&format!("A{level}=$A{0}$A{0}\n", level - 1));
    }
    let mut files = compose("services: {a: {image: \"$A63\"}}".to_owned());
    files.push((".env", text));
    check(&files, "becomes longer than");
}

#[test]
fn ranges_of_ports() {
    let ports = vec!["1-65535"; 10_000].join(", ");
    let text = format!("services: {{a: {{image: x, ports: [{ports}]}}}}");
    check(&compose(text), "more than 100000 ports");
}

/// Each file includes the next twice, so that there are two to the power of forty.
#[test]
fn files_that_include_twice() {
    let mut files = compose("include: [f0.yaml]".to_owned());
    let names: Vec<_> = (0..40).map(|it| format!("f{it}.yaml")).collect();
    for (at, name) in names.iter().enumerate() {
        let text = match names.get(at + 1) {
            Some(next) => format!("include: [{next}, ./{next}]"),
            None => "services: {a: {image: x}}".to_owned(),
        };
        files.push((name, text));
    }
    check(&files, "more than 1000 files");
}

/// Everything is wrong, everywhere.
#[test]
fn errors_without_end() {
    let lines: String = (0..40_000).map(|it| format!("k{it}: 1\n")).collect();
    check(&compose(lines), "unknown key");
}

/// People name films and devices by mistake.
#[test]
fn files_without_end() {
    let zero = || format!("{LINK}/dev/zero");
    let include = "include: [other.yaml]".to_owned();
    check(
        &[("compose.yaml", include), ("other.yaml", zero())],
        "it is larger than",
    );
    let service = "services: {a: {image: x, env_file: a.env}}".to_owned();
    check(
        &[("compose.yaml", service.clone()), ("a.env", zero())],
        "it is larger than",
    );
    check(
        &[("compose.yaml", service), (".env", zero())],
        "cannot read env file",
    );
}
