use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn the_cache_is_where_the_users_caches_are() {
    let check = |pairs: &[(&str, &str)], expected: Option<&str>| {
        assert_eq!(cache(&environment(pairs)), expected.map(PathBuf::from));
    };
    check(&[("HOME", "/home/me")], Some("/home/me/.cache/wharfie"));
    check(
        &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")],
        Some("/c/wharfie"),
    );
    check(
        &[("HOME", "/h"), ("XDG_CACHE_HOME", "c")],
        Some("/h/.cache/wharfie"),
    );
    check(&[], None);
}

#[test]
fn a_switch_forbids_fetching() {
    let remote = Remote::Artifact("registry/app".to_owned());
    let check = |value: &str, expected: &str| {
        let environment = environment(&[(OCI_SWITCH, value), (GIT_SWITCH, "0")]);
        assert_eq!(fetch(&remote, &environment).unwrap_err().message, expected);
    };
    check(
        "false",
        "it is forbidden by COMPOSE_EXPERIMENTAL_OCI_REMOTE",
    );
    check(
        "no",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE is `no`, which is neither true nor false",
    );
    check("1", "there is nowhere to keep it");
}

#[test]
fn links_of_fetched_files_do_not_lead_out() {
    let home = tempfile::tempdir().unwrap();
    let environment = environment(&[("XDG_CACHE_HOME", home.path().to_str().unwrap())]);
    let root = home.path().join("wharfie/git/c0");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("a"), "").unwrap();
    fs::write(home.path().join("wharfie/git/secret"), "").unwrap();
    std::os::unix::fs::symlink("a", root.join("inside")).unwrap();
    std::os::unix::fs::symlink("../secret", root.join("beside")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("outside")).unwrap();
    let readable = |name: &str| is_readable(&root.join(name), &environment);
    assert!(readable("a") && readable("inside") && readable("missing"));
    assert!(!readable("beside") && !readable("outside"));
    assert!(is_readable(Path::new("/etc/passwd"), &environment));
}
