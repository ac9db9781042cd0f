//! Files that are wrong.

use std::fs;
use std::path::PathBuf;

use super::{bare, docker_compose, each, root, wharfie};

#[test]
fn both_refuse_what_is_wrong_and_we_say_why() {
    let theirs = docker_compose();
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("tests/compose/refused"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let found = each(&files, |file| {
        let mut found = Vec::new();
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(file).unwrap();
        let wanted: Vec<_> = text.lines().map_while(|it| it.strip_prefix("# ")).collect();
        let run = |program: &std::path::Path| {
            let mut command = bare(program, file.parent().unwrap());
            command
                .args(["-p", "test", "-f", name, "config", "-q"])
                .output()
                .unwrap()
        };
        if run(&theirs).status.success() {
            found.push(format!("{name}: Docker Compose accepts it"));
        }
        let ours = run(wharfie());
        let folder = file.parent().unwrap().to_str().unwrap();
        let said = String::from_utf8_lossy(&ours.stderr).replace(folder, "[DIR]");
        let errors: Vec<_> = said
            .lines()
            .filter_map(|it| it.strip_prefix("error: "))
            .collect();
        if ours.status.success() || errors != wanted {
            found.push(format!("{name}: we say {errors:?}, not {wanted:?}"));
        }
        found
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}
