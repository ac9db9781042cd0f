use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let shown = match Remote::parse(text) {
        Ok(None) => "a file".to_owned(),
        Ok(Some(Remote::Artifact(reference))) => format!("artifact {reference}"),
        Ok(Some(Remote::Git(it))) => {
            let revision = it.revision.as_deref().unwrap_or("-");
            format!("git {} {revision} {}", it.url, it.place.display())
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(shown.trim_end(), expected, "{text}");
}

#[test]
fn repositories_and_artifacts_are_told_from_files() {
    check("compose.yaml", "a file");
    check("./github.com/x", "a file");
    check("a@b/c.yaml", "a file");
    check("dir/a@b:c", "a file");
    check("oci://registry/app:1", "artifact registry/app:1");
    check("https://h/a.git", "git https://h/a.git -");
    check("http://h/a.git", "git http://h/a.git -");
    check("git://h/a", "git git://h/a -");
    check("ssh://git@h:22/a", "git ssh://git@h:22/a -");
    check("git@h:a/b.git", "git git@h:a/b.git -");
    check("github.com/a/b", "git https://github.com/a/b -");
}

#[test]
fn what_follows_names_a_revision_and_a_place() {
    check("https://h/a.git#main", "git https://h/a.git main");
    check(
        "https://h/a.git#v1:sub/dir",
        "git https://h/a.git v1 sub/dir",
    );
    check("https://h/a.git#:/sub", "git https://h/a.git - sub");
    check("git@h:a.git#x/y:c.yaml", "git git@h:a.git x/y c.yaml");
}

#[test]
fn what_git_must_not_be_given_is_refused() {
    check(
        "https://h/a.yaml",
        "`https://h/a.yaml` is neither a Git repository nor an artifact of a registry",
    );
    check(
        "file:///a.git",
        "`file:///a.git` is neither a Git repository nor an artifact of a registry",
    );
    check(
        "ext::sh -c x://a.git",
        "`ext::sh -c x://a.git` is neither a Git repository nor an artifact of a registry",
    );
    check(
        "git://h/a#--upload-pack=x",
        "`--upload-pack=x` is not the name of a branch, a tag or a commit",
    );
    check(
        "git://h/a#a..b",
        "`a..b` is not the name of a branch, a tag or a commit",
    );
    check("git://h/a#:../x", "`../x` leads out of the repository");
    check(
        "git://h/a#:x/../../y",
        "`x/../../y` leads out of the repository",
    );
}
