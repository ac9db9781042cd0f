//! What `config` prints is a Compose file that means the same.

use std::fs;
use std::path::Path;

use super::{bare, cases, each, wharfie};

/// Loads a text in an empty directory and prints it again.
fn again(text: &[u8], format: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("compose.yaml"), text).unwrap();
    print(place.path(), &["--profile", "*"], format)
}

fn print(directory: &Path, options: &[&str], format: &str) -> String {
    let output = bare(wharfie(), directory)
        .args(options)
        .args(["config", "--format", format])
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {why}", directory.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_output_is_read_as_the_same() {
    let found = each(&cases(), |case| {
        let mut found = Vec::new();
        for format in ["yaml", "json"] {
            let output = case.config(wharfie(), &["--format", format]);
            let once = String::from_utf8(output.stdout).unwrap();
            let twice = again(once.as_bytes(), format);
            if once != twice {
                found.push(format!(
                    "{} {format}:\n{once}\n--- again\n{twice}",
                    case.name
                ));
            }
        }
        found
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn both_formats_say_the_same() {
    let found = each(&cases(), |case| {
        let yaml = case.config(wharfie(), &[]).stdout;
        let json = case.config(wharfie(), &["--format", "json"]).stdout;
        match again(&yaml, "json") == again(&json, "json") {
            true => Vec::new(),
            false => vec![case.name.clone()],
        }
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}
