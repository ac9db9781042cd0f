//! Files from elsewhere: fetched where they are named, and kept to what was fetched with them.
//!
//! A Compose file of somebody else may say what containers are started, and is shown before it is run.
//! What merely loading it reads (`config`, `ps`) is another matter: a key of this host in an `env_file`
//! would be printed, or be in the environment of somebody's program. Mounts are not looked at.

use std::path::{Path, PathBuf};

use super::Assembler;
use crate::compose::check::clean;
use crate::compose::diagnostic::Span;
use crate::compose::document::Node;
use crate::compose::remote::{FetchError, Remote};

impl Assembler<'_> {
    /// The file that is named by a path of a checked tree, fetched if it is elsewhere. `None` is given
    /// only after an error has been reported.
    pub(super) fn origin(&mut self, text: &str, named: Span) -> Option<PathBuf> {
        let fetched = match Remote::parse(text).map_err(FetchError::from) {
            Ok(None) => {
                let path = self.located(text);
                return self.confine(&path, named).then_some(path);
            }
            Ok(Some(remote)) => self.files.fetch(&remote),
            Err(error) => Err(error),
        };
        match fetched {
            Ok(fetched) => {
                self.fetched.push(fetched.root);
                Some(fetched.file)
            }
            Err(error) => {
                self.incomplete = true;
                let title = format!("`{text}` cannot be fetched: {}", error.message);
                let diagnostic = self.problems.error(named, title);
                if let Some(hint) = error.hint {
                    diagnostic.set_help(hint);
                }
                None
            }
        }
    }

    /// Refuses a path that leads a fetched file out of what was fetched. Gives whether it is allowed.
    pub(super) fn confine(&mut self, path: &Path, named: Span) -> bool {
        if self.is_allowed(path, named) {
            return true;
        }
        self.incomplete = true;
        let title = format!("{} is outside of what was fetched", path.display());
        let help = "a file from elsewhere can refer only to files that come with it";
        self.problems.error(named, title).set_help(help);
        false
    }

    /// Whether the file in which something is named may read a path.
    pub(super) fn is_allowed(&self, path: &Path, named: Span) -> bool {
        let Some(file) = self
            .problems
            .path(named)
            .filter(|_| !self.fetched.is_empty())
        else {
            return true;
        };
        let root = self.fetched.iter().find(|root| file.starts_with(root));
        root.is_none_or(|root| clean(path).starts_with(root) || path == Path::new("/dev/null"))
    }

    /// Looks at all files that a checked document refers to, and that loading it reads.
    pub(super) fn confine_file(&mut self, document: &Node) {
        if self.fetched.is_empty() {
            return;
        }
        for section in ["secrets", "configs"] {
            for (_, entry) in document.get(section).into_iter().flat_map(Node::entries) {
                self.confine_text(entry.node.get("file"));
            }
        }
        for (_, entry) in document.get("services").into_iter().flat_map(Node::entries) {
            self.confine_service(&entry.node);
        }
    }

    /// The same of one service.
    pub(super) fn confine_service(&mut self, service: &Node) {
        if self.fetched.is_empty() {
            return;
        }
        let items = |key| service.get(key).map(Node::items).unwrap_or_default();
        for item in items("env_file") {
            self.confine_text(item.get("path"));
        }
        for item in items("label_file") {
            self.confine_text(Some(item));
        }
    }

    fn confine_text(&mut self, node: Option<&Node>) {
        if let Some((text, span)) = node.and_then(|it| Some((it.as_str()?, it.span))) {
            let path = self.located(text);
            self.confine(&path, span);
        }
    }
}
