//! What a watched tree looks like, and what has changed between two looks.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::pattern::Patterns;

/// The files that count, by path relative to the tree; a watched file is one without a name.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Stamp>);

/// Differs after a file was written, however it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
    mode: u32,
}

/// Paths relative to a tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) written: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.written.len() + self.removed.len()
    }
}

impl Tree {
    /// Looks at a directory or file; what cannot be read is not there.
    pub(super) fn look(path: &Path, patterns: &Patterns) -> Self {
        let mut tree = Self::default();
        let mut open = vec![(path.to_owned(), String::new())];
        while let Some((path, name)) = open.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if !metadata.is_dir() {
                if name.is_empty() || patterns.counts(&name) {
                    tree.0.insert(name, Stamp::of(&metadata));
                }
                continue;
            }
            if !name.is_empty() && patterns.skips(&name) {
                continue;
            }
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                let file = entry.file_name();
                let inner = match name.is_empty() {
                    true => file.to_string_lossy().into_owned(),
                    false => format!("{name}/{}", file.to_string_lossy()),
                };
                open.push((entry.path(), inner));
            }
        }
        tree
    }

    /// What has become of the files meanwhile.
    pub(super) fn changes_to(&self, now: &Self) -> Changes {
        let written = now
            .0
            .iter()
            .filter(|(name, it)| self.0.get(*name) != Some(it));
        let removed = self.0.keys().filter(|name| !now.0.contains_key(*name));
        Changes {
            written: written.map(|(name, _)| name.clone()).collect(),
            removed: removed.cloned().collect(),
        }
    }

    pub(super) fn everything(&self) -> Changes {
        Self::default().changes_to(self)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            inode: metadata.ino(),
            mode: metadata.mode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_new_and_removed_files_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir(path.join("a")).unwrap();
        for name in ["a/same", "a/gone", "changed"] {
            fs::write(path.join(name), "1").unwrap();
        }
        let before = Tree::look(path, &Patterns::default());
        fs::write(path.join("changed"), "22").unwrap();
        fs::write(path.join("a/new"), "").unwrap();
        fs::remove_file(path.join("a/gone")).unwrap();
        let changes = before.changes_to(&Tree::look(path, &Patterns::default()));
        assert_eq!(changes.written, ["a/new", "changed"]);
        assert_eq!(changes.removed, ["a/gone"]);
        let file = Tree::look(&path.join("changed"), &Patterns::default());
        assert_eq!(file.everything().written, [""]);
    }
}
