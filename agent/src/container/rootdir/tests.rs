use std::os::unix::fs::symlink;

use super::*;

/// Makes `directory` in a root with the given symlinks, and tells what exists afterwards.
#[track_caller]
fn check(links: &[(&str, &str)], directory: &str, expected: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let root_path = scratch.path().join("root");
    std::fs::create_dir(&root_path).unwrap();
    for (at, to) in links {
        let at = root_path.join(at);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(to, at).unwrap();
    }
    let root = RootDir::open_host(&root_path).unwrap();
    let made = match root.make_directory(Path::new(directory), Mode::from_bits_truncate(0o755)) {
        Ok(fd) => std::fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&fd)
        ))
        .unwrap()
        .strip_prefix(scratch.path())
        .unwrap()
        .display()
        .to_string(),
        Err(errno) => errno.to_string(),
    };
    assert_eq!(made, expected);
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "something was made outside"
    );
}

#[test]
fn makes_missing_parents() {
    check(&[], "/a/b/c", "root/a/b/c");
    check(&[], "/a/../../b", "root/b");
}

#[test]
fn symlinks_stay_inside_the_root() {
    check(&[("a", "../../..")], "/a/b", "root/b");
    check(&[("a", "/x/y")], "/a/b", "root/x/y/b");
    check(&[("var/run", "/run")], "/var/run/lock", "root/run/lock");
    check(&[("var/run", "../run")], "/var/run/lock", "root/run/lock");
}

#[test]
fn endless_symlinks_are_refused() {
    check(
        &[("a", "b"), ("b", "a")],
        "/a/c",
        "ELOOP: Too many symbolic links encountered",
    );
}
