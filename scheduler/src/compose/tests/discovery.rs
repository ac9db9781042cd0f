//! Choosing files and names.

use std::path::Path;

use crate::compose::discover::{
    check_project_name, default_project_name, find, split_compose_file,
};

#[track_caller]
fn check_find(present: &[&str], directory: &str, expected: &str) {
    let exists = |path: &Path| present.iter().any(|it| Path::new(it) == path);
    let text = match find(Path::new(directory), &exists) {
        None => "nothing".to_owned(),
        Some(found) => {
            let join = |paths: &[std::path::PathBuf]| {
                let names: Vec<_> = paths.iter().map(|it| it.display().to_string()).collect();
                names.join(" ")
            };
            format!("{} | {}", join(&found.files), join(&found.ignored))
        }
    };
    assert_eq!(text, expected);
}

#[test]
fn finds_files_in_the_order_of_their_names_and_in_parents() {
    check_find(&["/a/compose.yaml"], "/a", "/a/compose.yaml | ");
    check_find(&["/a/compose.yaml"], "/a/b/c", "/a/compose.yaml | ");
    check_find(&[], "/a", "nothing");
    check_find(
        &[
            "/a/docker-compose.yml",
            "/a/compose.yml",
            "/a/compose.override.yaml",
        ],
        "/a",
        "/a/compose.yml /a/compose.override.yaml | /a/docker-compose.yml",
    );
}

#[test]
fn splits_the_list_of_files() {
    assert_eq!(
        split_compose_file("a.yaml:b.yaml", None),
        [Path::new("a.yaml"), Path::new("b.yaml")]
    );
    assert_eq!(
        split_compose_file("a:b;c", Some(";")),
        [Path::new("a:b"), Path::new("c")]
    );
    assert!(split_compose_file("", None).is_empty());
}

#[test]
fn derives_and_checks_project_names() {
    assert_eq!(
        default_project_name(Path::new("/srv/My Shop.v2")),
        "myshopv2"
    );
    assert_eq!(default_project_name(Path::new("/srv/_-x_y-")), "x_y-");
    assert_eq!(default_project_name(Path::new("/")), "");
    assert!(check_project_name("shop-1_a").is_ok());
    for bad in ["Shop", "", "-a", "a b", "ä"] {
        assert!(check_project_name(bad).is_err(), "{bad}");
    }
}
