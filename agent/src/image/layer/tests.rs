use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};

use super::*;

/// A layer to be, and what it is unpacked to, beside a canary that nothing may touch.
struct Fixture {
    scratch: tempfile::TempDir,
}

fn header(kind: EntryType, name: &str, link: &str, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // Not `set_path`, which refuses the names that are tried here.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_link_name_literal(link).unwrap();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    header.set_cksum();
    header
}

/// One line an entry: `f name content`, `d name`, `l name target`, `h name target`, `c name`, `p name`.
fn archive(drawing: &str) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for line in drawing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let mut words = line.splitn(3, ' ');
        let (kind, name, rest) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.next().unwrap_or(""),
        );
        let entry = match kind {
            "f" => header(EntryType::Regular, name, "", 0o644, rest.len() as u64),
            "s" => header(EntryType::Regular, name, "", 0o4755, rest.len() as u64),
            "d" => header(EntryType::Directory, name, "", 0o750, 0),
            "l" => header(EntryType::Symlink, name, rest, 0o777, 0),
            "h" => header(EntryType::Link, name, rest, 0o644, 0),
            "c" => header(EntryType::Char, name, "", 0o600, 0),
            "p" => header(EntryType::Fifo, name, "", 0o600, 0),
            other => panic!("no kind `{other}`"),
        };
        let content = if matches!(kind, "f" | "s") {
            rest.as_bytes()
        } else {
            b""
        };
        builder.append(&entry, content).unwrap();
    }
    builder.into_inner().unwrap()
}

impl Fixture {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("outside/dir")).unwrap();
        fs::write(scratch.path().join("outside/secret"), "untouched").unwrap();
        fs::create_dir(scratch.path().join("layer")).unwrap();
        Self { scratch }
    }

    fn layer(&self) -> PathBuf {
        self.scratch.path().join("layer")
    }

    fn unpack(&self, archive: &[u8], limits: Limits) -> Result<Unpacked, LayerError> {
        unpack(archive, &self.layer(), limits, &AtomicBool::new(false))
    }

    /// Names with types, modes and contents, one a line.
    fn listing(path: &Path, prefix: &str, into: &mut String) {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let (path, name) = (path.join(&name), name.to_string_lossy().into_owned());
            let meta = fs::symlink_metadata(&path).unwrap();
            let kind = meta.file_type();
            let opaque = xattr::get(&path, "trusted.overlay.opaque")
                .ok()
                .flatten()
                .map_or("", |_| " opaque");
            let what = match () {
                () if kind.is_symlink() => {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                }
                () if kind.is_dir() => {
                    format!("dir {:o}{opaque}", meta.permissions().mode() & 0o7777)
                }
                () if kind.is_char_device() => format!("char {}", meta.rdev()),
                () if kind.is_fifo() => "fifo".to_owned(),
                () => format!(
                    "{:o} {}",
                    meta.permissions().mode() & 0o7777,
                    fs::read_to_string(&path).unwrap()
                ),
            };
            into.push_str(&format!("{prefix}{name} {what}\n"));
            if kind.is_dir() {
                Self::listing(&path, &format!("{prefix}{name}/"), into);
            }
        }
    }

    fn canary(&self) -> String {
        let mut text = String::new();
        let outside = self.scratch.path().join("outside");
        Self::listing(&outside, "", &mut text);
        format!(
            "{text}{}",
            fs::metadata(outside.join("secret")).unwrap().nlink()
        )
    }
}

#[track_caller]
fn check(drawing: &str, expected: &str) {
    let fixture = Fixture::new();
    let before = fixture.canary();
    let drawing = drawing.replace(
        "OUT",
        fixture.scratch.path().join("outside").to_str().unwrap(),
    );
    let archive = archive(&drawing);
    let outcome = fixture.unpack(&archive, Limits::default());
    let text = match outcome {
        Ok(unpacked) => {
            assert_eq!(unpacked.diff_id, Digest::of(&archive));
            let mut text = String::new();
            Fixture::listing(&fixture.layer(), "", &mut text);
            text
        }
        Err(error) => format!("{error}\n"),
    };
    let expected: String = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(text, expected);
    assert_eq!(fixture.canary(), before, "the canary was touched");
}

#[test]
fn a_layer_becomes_the_tree_that_it_describes() {
    check(
        "d ./
         d bin/
         s bin/su hello
         h bin/sudo bin/su
         l sh bin/su
         f /etc/hosts x
         p fifo",
        "bin dir 750
         bin/su 4755 hello
         bin/sudo 4755 hello
         etc dir 755
         etc/hosts 644 x
         fifo fifo
         sh -> bin/su",
    );
    check("", "");
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    check(
        "d a/
         f a/.wh.gone
         d b/
         f b/.wh..wh..opq
         f b/new 1
         f .wh..wh.plnk",
        "a dir 750
         a/gone char 0
         b dir 750 opaque
         b/new 644 1",
    );
    check("f kept 1\nf .wh.kept", "kept 644 1");
    check("f .wh.kept\nf kept 1", "kept 644 1");
    check("d kept/\nf .wh.kept", "kept dir 750 opaque");
    check("f .wh.kept\nd kept/", "kept dir 750 opaque");
    check(
        "f .wh.",
        "the layer's entry `.wh.` hides nothing that can be hidden",
    );
    check(
        "f .wh...",
        "the layer's entry `.wh...` hides nothing that can be hidden",
    );
    check(
        "c null",
        "the layer's entry `null` is device 0:0, which only whiteouts are",
    );
}

#[test]
fn nothing_outside_the_layer_is_ever_touched() {
    check("f ../x 1", "the layer's entry `../x` has `..` in a name");
    check(
        "f a/../../x 1",
        "the layer's entry `a/../../x` has `..` in a name",
    );
    // A link to the outside leads to the same name inside, where nothing is.
    check(
        "l x OUT\nf x/secret 1",
        "cannot unpack the layer's entry `x/secret`",
    );
    check(
        "l x ../outside\nd x/dir/",
        "cannot unpack the layer's entry `x/dir/`",
    );
    check("l x /\nf x/etc/y 1", "etc dir 755\netc/y 644 1\nx -> /");
    check("l x ../../..\nf x/y 1", "x -> ../../..\ny 644 1");
    check("l x OUT/secret\nf x 1", "x 644 1");
    check("l x OUT\nd x/", "x dir 750");
    check(
        "h x OUT/secret",
        "the layer's entry `x` is a hard link to a file that the layer does not have",
    );
    check(
        "h x ../outside/secret",
        "the layer's entry `../outside/secret` has `..` in a name",
    );
    check(
        "l d OUT\nh x d/secret",
        "the layer's entry `x` is a hard link to a file that the layer does not have",
    );
    check(
        "l d OUT\nf d/.wh.secret",
        "cannot unpack the layer's entry `d/.wh.secret`",
    );
    check(
        "l d OUT\nf d/.wh..wh..opq",
        "cannot unpack the layer's entry `d/.wh..wh..opq`",
    );
    check(
        "l ./ OUT",
        "the layer's entry `./` would replace the root directory",
    );
    check(
        "h x ./",
        "the layer's entry `x` is a hard link to the root directory",
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    check("f a 1\nf a 2", "a 644 2");
    check("d a/\nf a/b 1\nf a 2", "a 644 2");
    check("f a 1\nh b a\nf a 2", "a 644 2\nb 644 1");
    check("d a/\nf a/b 1\nd a/", "a dir 750\na/b 644 1");
    check("f a 1\nf a/b 2", "cannot unpack the layer's entry `a/b`");
}

#[test]
fn limits_end_what_would_fill_the_host() {
    let fixture = Fixture::new();
    let archive = archive("f a 1\nf b 2\nf c 3");
    let few = Limits {
        entries: 2,
        ..Limits::default()
    };
    assert!(matches!(
        fixture.unpack(&archive, few),
        Err(LayerError::TooManyEntries { limit: 2 })
    ));
    let small = Limits {
        bytes: 600,
        ..Limits::default()
    };
    assert!(matches!(
        fixture.unpack(&archive, small),
        Err(LayerError::TooManyBytes { limit: 600 })
    ));
    let deep = format!("f {}x 1", "n/".repeat(40));
    fixture
        .unpack(&super::tests::archive(&deep), Limits::default())
        .unwrap();
    let cancelled = unpack(
        archive.as_slice(),
        &fixture.layer(),
        Limits::default(),
        &AtomicBool::new(true),
    );
    assert!(matches!(cancelled, Err(LayerError::Cancelled)));
}

#[test]
fn attributes_owners_and_times_are_kept_and_overlays_own_are_refused() {
    let with = |xattrs: &[(&str, &[u8])], uid: u64| {
        let mut builder = Builder::new(Vec::new());
        let named: BTreeMap<String, &[u8]> = xattrs
            .iter()
            .map(|(key, value)| (format!("SCHILY.xattr.{key}"), *value))
            .collect();
        builder
            .append_pax_extensions(named.iter().map(|(key, value)| (key.as_str(), *value)))
            .unwrap();
        let mut entry = header(EntryType::Regular, "ping", "", 0o755, 1);
        entry.set_uid(uid);
        entry.set_cksum();
        builder.append(&entry, &b"x"[..]).unwrap();
        let fixture = Fixture::new();
        let outcome = fixture.unpack(&builder.into_inner().unwrap(), Limits::default());
        (fixture, outcome)
    };
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let (fixture, outcome) = with(
        &[
            ("security.capability", capability),
            ("security.selinux", b"x"),
        ],
        1234,
    );
    outcome.unwrap();
    let path = fixture.layer().join("ping");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.mtime()), (1234, 1_000));
    assert_eq!(
        xattr::get(&path, "security.capability").unwrap().unwrap(),
        capability
    );
    let (_, outcome) = with(&[("trusted.overlay.opaque", b"y")], 0);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "the layer's entry `ping` sets an attribute of overlayfs"
    );
    let (_, outcome) = with(&[], u64::from(u32::MAX));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "the layer's entry `ping` has an owner that Linux cannot have"
    );
}

#[test]
fn nesting_through_links_is_bounded_too() {
    let mut drawing = String::new();
    let hop = "d/".repeat(40);
    drawing.push_str(&format!("d {hop}\nl l0 {hop}\n"));
    for n in 1..12 {
        drawing.push_str(&format!("d l{}/{hop}\nl l{n} l{}/{hop}\n", n - 1, n - 1));
    }
    let outcome = Fixture::new().unpack(&archive(&drawing), Limits::default());
    assert!(
        matches!(
            outcome,
            Err(LayerError::Entry {
                what: "is nested more than 256 directories deep",
                ..
            })
        ),
        "{outcome:?}"
    );
}
