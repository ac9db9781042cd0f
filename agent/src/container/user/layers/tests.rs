use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, mknod};

use super::*;

/// Layers `a` (uppermost) and `b` made of lines such as `a/etc/passwd=text`, `a/etc -> ../x`,
/// `a/etc/passwd!` (a whiteout) and `a/etc opaque`.
#[track_caller]
fn check(drawing: &[&str], path: &str, expected: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    for line in drawing {
        draw(root.path(), line);
    }
    let layers = [root.path().join("a"), root.path().join("b")];
    let found = read(&layers, Path::new(path)).map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(found.as_deref(), expected);
}

fn draw(root: &Path, line: &str) {
    let make_parent = |path: &Path| fs::create_dir_all(path.parent().unwrap()).unwrap();
    if let Some((path, target)) = line.split_once(" -> ") {
        make_parent(&root.join(path));
        symlink(target, root.join(path)).unwrap();
    } else if let Some((path, text)) = line.split_once('=') {
        make_parent(&root.join(path));
        fs::write(root.join(path), text).unwrap();
    } else if let Some(path) = line.strip_suffix('!') {
        make_parent(&root.join(path));
        mknod(&root.join(path), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    } else if let Some(path) = line.strip_suffix(" opaque") {
        fs::create_dir_all(root.join(path)).unwrap();
        xattr::set(root.join(path), "trusted.overlay.opaque", b"y").unwrap();
    } else {
        panic!("{line}");
    }
}

#[test]
fn the_uppermost_layer_wins() {
    check(
        &["a/etc/passwd=a", "b/etc/passwd=b"],
        "/etc/passwd",
        Some("a"),
    );
    check(
        &["a/etc/group=a", "b/etc/passwd=b"],
        "/etc/passwd",
        Some("b"),
    );
    check(&["a/x=1"], "/etc/passwd", None);
}

#[test]
fn what_was_deleted_above_is_gone() {
    check(&["a/etc/passwd!", "b/etc/passwd=b"], "/etc/passwd", None);
    check(&["a/etc!", "b/etc/passwd=b"], "/etc/passwd", None);
    check(&["a/etc opaque", "b/etc/passwd=b"], "/etc/passwd", None);
    check(&["a/etc=file", "b/etc/passwd=b"], "/etc/passwd", None);
}

#[test]
fn links_are_followed_inside_the_layers_only() {
    check(
        &["a/etc/passwd -> /lib/passwd", "b/lib/passwd=b"],
        "/etc/passwd",
        Some("b"),
    );
    check(
        &["a/etc -> lib/etc", "b/lib/etc/passwd=b"],
        "/etc/passwd",
        Some("b"),
    );
    check(
        &["a/etc/passwd -> ../../../../lib/p", "b/lib/p=b"],
        "/etc/passwd",
        Some("b"),
    );
    check(&["a/etc -> /proc/self/root/etc"], "/etc/passwd", None);
}

#[test]
fn a_circle_of_links_ends() {
    check(&["a/etc/passwd -> passwd"], "/etc/passwd", None);
    check(&["a/etc -> /x", "a/x -> /etc"], "/etc/passwd", None);
}

#[test]
fn only_regular_files_are_read() {
    check(&["a/etc/passwd/x=1"], "/etc/passwd", None);
}
