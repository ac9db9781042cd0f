use super::*;

#[track_caller]
fn check(text: &str, canonical: &str, familiar: &str) {
    let reference: Reference = text.parse().unwrap();
    assert_eq!(reference.canonical(), canonical);
    assert_eq!(reference.to_string(), familiar);
    assert_eq!(
        reference.canonical().parse::<Reference>().unwrap(),
        reference
    );
    assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(text.parse::<Reference>().unwrap_err().to_string(), expected);
}

#[test]
fn names_are_completed_as_docker_completes_them() {
    check(
        "busybox",
        "docker.io/library/busybox:latest",
        "busybox:latest",
    );
    check(
        "busybox:1.36",
        "docker.io/library/busybox:1.36",
        "busybox:1.36",
    );
    check("me/app", "docker.io/me/app:latest", "me/app:latest");
    check(
        "docker.io/busybox",
        "docker.io/library/busybox:latest",
        "busybox:latest",
    );
    check("index.docker.io/me/app:1", "docker.io/me/app:1", "me/app:1");
    check(
        "localhost/app",
        "localhost/app:latest",
        "localhost/app:latest",
    );
    check(
        "localhost:5000/a/b/c:x",
        "localhost:5000/a/b/c:x",
        "localhost:5000/a/b/c:x",
    );
    check("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest");
    check(
        "[::1]:5000/app",
        "[::1]:5000/app:latest",
        "[::1]:5000/app:latest",
    );
    check("FOO/bar", "FOO/bar:latest", "FOO/bar:latest");
    check(
        "a__b/c---d/e.f_g",
        "docker.io/a__b/c---d/e.f_g:latest",
        "a__b/c---d/e.f_g:latest",
    );
}

#[test]
fn a_digest_takes_the_place_of_the_tag_that_is_not_given() {
    let digest = Digest::of(b"x");
    check(
        &format!("busybox@{digest}"),
        &format!("docker.io/library/busybox@{digest}"),
        &format!("busybox@{digest}"),
    );
    let both = format!("busybox:1@{digest}");
    check(&both, &format!("docker.io/library/{both}"), &both);
    assert_eq!(
        both.parse::<Reference>().unwrap().manifest_key(),
        digest.to_string()
    );
}

#[test]
fn errors_say_where() {
    let bad = "invalid reference format:";
    refused("", &format!("{bad} the name is empty"));
    refused(
        "Busybox",
        &format!("{bad} repository name (Busybox) must be lowercase"),
    );
    refused(
        "ghcr.io/Foo/bar",
        &format!("{bad} repository name (Foo/bar) must be lowercase"),
    );
    refused(
        "a//b",
        &format!("{bad} `a//b` has an empty part at position 3"),
    );
    refused(
        "ghcr.io/a b",
        &format!("{bad} unexpected ` ` at position 10 of `ghcr.io/a b`"),
    );
    refused("-a", &format!("{bad} unexpected `-` at position 1 of `-a`"));
    refused("a.", &format!("{bad} unexpected `.` at position 2 of `a.`"));
    refused(
        "a..b",
        &format!("{bad} unexpected `.` at position 3 of `a..b`"),
    );
    refused(
        "../x",
        &format!("{bad} the registry `..` is not a host name with an optional port"),
    );
    refused(
        "host:port/x",
        &format!("{bad} the registry `host:port` is not a host name with an optional port"),
    );
    refused(
        "host:99999/x",
        &format!("{bad} the registry `host:99999` is not a host name with an optional port"),
    );
    refused(
        "[::g]/x",
        &format!("{bad} the registry `[::g]` is not a host name with an optional port"),
    );
    let tag = "should be 1 to 128 letters, digits, `_`, `.` or `-`, not beginning with `.` or `-`";
    refused("a:", &format!("{bad} the tag `` {tag}"));
    refused("a:.x", &format!("{bad} the tag `.x` {tag}"));
    refused("a:b:c", &format!("{bad} the tag `b:c` {tag}"));
    refused(
        "a@sha256:1",
        &format!("{bad} digest `sha256:1` should have 64 lower-case hex digits after `sha256:`"),
    );
    refused(
        &"a".repeat(64),
        &format!(
            "invalid repository name ({}), cannot specify 64-byte hexadecimal strings",
            "a".repeat(64)
        ),
    );
    refused(
        &format!("{}b", "a/".repeat(130)),
        &format!("{bad} the name has 271 bytes, at most 255 are allowed"),
    );
    refused(
        "ü/x",
        &format!("{bad} unexpected `ü` at position 1 of `ü/x`"),
    );
}

#[test]
fn loopback_registries_are_told_from_others() {
    let loopback = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
    for text in [
        "localhost/a",
        "localhost:5000/a",
        "127.0.0.1:5000/a",
        "127.9.9.9/a",
        "[::1]:80/a",
    ] {
        assert!(loopback(text), "{text}");
    }
    for text in [
        "a",
        "127.0.0.1.example.org/a",
        "localhost.example.org/a",
        "10.0.0.1:5000/a",
        "[fe80::1]/a",
    ] {
        assert!(!loopback(text), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader_and_what_it_accepts_it_writes_back(text in "[a-zA-Z0-9_./:@\\[\\]\\-é ]{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            proptest::prop_assert_eq!(reference.canonical().parse::<Reference>().unwrap(), reference);
        }
    }
}
