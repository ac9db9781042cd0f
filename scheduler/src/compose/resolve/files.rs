//! Secrets and configs: their contents, and who may see them.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Contents, Resolver, flag, text, text_map};
use crate::compose::Purpose;
use crate::compose::document::Node;
use crate::compose::value;
use crate::model::container::FileGrant;
use crate::model::stack::ContentSpec;

/// Raft carries the contents; Swarm's limit for a secret is as large.
const MAX_CONTENT: usize = 1024 * 1024;

impl Resolver<'_> {
    pub(super) fn contents(&mut self, section: &str) -> Contents {
        let mut contents = Contents::new();
        for (key, node) in self.section(section) {
            let external = flag(node, "external");
            let content = if external || self.context.steps.purpose != Purpose::Run {
                None
            } else {
                self.content(section.trim_end_matches('s'), key, node)
            };
            let spec = ContentSpec {
                name: text(node, "name").unwrap_or_else(|| key.to_owned()),
                labels: text_map(node, "labels"),
                external,
                content,
            };
            contents.insert(key.to_owned(), spec);
        }
        contents
    }

    fn content(&mut self, singular: &str, key: &str, node: &Node) -> Option<Vec<u8>> {
        let (bytes, source) = if let Some(file) = node.get("file") {
            let path = self.context.directory.join(Path::new(file.as_str()?));
            match self.context.files.read(&path) {
                Ok(bytes) => (bytes, file),
                Err(error) => {
                    let title = format!(
                        "{singular} `{key}`: {} cannot be read: {error}",
                        path.display()
                    );
                    self.problems.error(file.span, title);
                    return None;
                }
            }
        } else if let Some(variable) = node.get("environment") {
            let name = variable.as_str()?;
            let Some(value) = self.context.environment.get(name) else {
                let title = format!("{singular} `{key}`: the variable `{name}` is not set");
                self.problems
                    .error(variable.span, title)
                    .set_help(format!("set `{name}` in the environment or in `.env`"));
                return None;
            };
            (value.clone().into_bytes(), variable)
        } else {
            let content = node.get("content")?;
            (content.as_str()?.to_owned().into_bytes(), content)
        };
        if bytes.len() > MAX_CONTENT {
            let title = format!(
                "`{key}` has {} bytes; at most {MAX_CONTENT} are possible",
                bytes.len()
            );
            self.problems
                .error(source.span, title)
                .set_help("use a volume or an image for large files");
            return None;
        }
        Some(bytes)
    }

    /// The grants of a service; `directory` is where relative targets go.
    pub(super) fn grants(
        &mut self,
        service: &Node,
        section: &str,
        directory: &str,
    ) -> Vec<FileGrant> {
        let mut grants = Vec::new();
        for item in service.get(section).map(Node::items).unwrap_or_default() {
            let Some(key) = item.get_str("source") else {
                self.problems.error(
                    item.span,
                    format!("an entry of `{section}` has no `source`"),
                );
                continue;
            };
            let target = match item.get_str("target") {
                Some(target) if target.starts_with('/') => target.to_owned(),
                Some(target) => format!("{directory}{target}"),
                None => format!("{directory}{key}"),
            };
            let source = self.final_name(section, key);
            let uid = self
                .parsed(item.get("uid"), "a numeric user id")
                .unwrap_or(0);
            let gid = self
                .parsed(item.get("gid"), "a numeric group id")
                .unwrap_or(0);
            let mode = item
                .get_str("mode")
                .and_then(|it| value::parse_mode(it).ok())
                .unwrap_or(0o444);
            grants.push(FileGrant {
                source,
                target,
                uid,
                gid,
                mode,
            });
        }
        grants
    }
}

/// SHA-256 in hex over the contents that a service is granted; empty when there are none.
pub(super) fn digest(service: &Node, secrets: &Contents, configs: &Contents) -> String {
    let mut hasher = Sha256::new();
    let mut any = false;
    for (section, contents) in [("secrets", secrets), ("configs", configs)] {
        for item in service.get(section).map(Node::items).unwrap_or_default() {
            let spec = item.get_str("source").and_then(|it| contents.get(it));
            let Some(spec) = spec else { continue };
            any = true;
            let content = spec.content.as_deref().unwrap_or_default();
            // Lengths keep the borders: `ab`,`c` must not be `a`,`bc`.
            hasher.update((spec.name.len() as u64).to_le_bytes());
            hasher.update(&spec.name);
            hasher.update((content.len() as u64).to_le_bytes());
            hasher.update(content);
        }
    }
    if !any {
        return String::new();
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
