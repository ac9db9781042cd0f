//! `volumes` and `tmpfs` of a service.

use super::{Resolver, flag, size, text};
use crate::compose::document::Node;
use crate::compose::value;
use crate::model::container::{Mount, MountSource, Sibling, VolumesFrom};

impl Resolver<'_> {
    pub(super) fn mounts(&mut self, service: &Node) -> Vec<Mount> {
        let mut mounts = Vec::new();
        for item in service.get("volumes").map(Node::items).unwrap_or_default() {
            mounts.extend(self.volume(item));
        }
        for item in service.get("tmpfs").map(Node::items).unwrap_or_default() {
            mounts.extend(self.tmpfs(item));
        }
        mounts
    }

    fn volume(&mut self, item: &Node) -> Option<Mount> {
        let source = match item.get_str("type")? {
            "bind" => self.bind(item)?,
            "image" => image(item)?,
            "tmpfs" => tmpfs_long(item),
            _ => self.named_volume(item),
        };
        Some(Mount {
            target: text(item, "target")?,
            read_only: flag(item, "read_only"),
            source,
        })
    }

    /// Mounts below a read-only directory are read-only too, unless `writable` is asked for.
    fn bind(&mut self, item: &Node) -> Option<MountSource> {
        let details = item.get("bind");
        let recursive = details.and_then(|it| it.get("recursive"));
        let read_only = flag(item, "read_only");
        if let Some(node) = recursive {
            match node.as_str() {
                Some("readonly") if !read_only => {
                    let title = "`recursive: readonly` needs `read_only: true`";
                    self.problems.error(node.span, title);
                }
                _ => {}
            }
        }
        Some(MountSource::Bind {
            path: text(item, "source")?,
            create: details
                .and_then(|it| it.get_bool("create_host_path"))
                .unwrap_or(true),
            propagation: details.and_then(|it| text(it, "propagation")),
            recursive: recursive.and_then(Node::as_str) != Some("disabled"),
            writable_below: recursive.and_then(Node::as_str) == Some("writable"),
        })
    }

    /// `SERVICE[:ro]` or `container:NAME[:ro]`.
    pub(super) fn volumes_from(&mut self, service: &Node) -> Vec<VolumesFrom> {
        let items = service.get("volumes_from").map(Node::items);
        let mut found = Vec::new();
        for item in items.unwrap_or_default() {
            let text = item.as_str().unwrap_or_default();
            let (kind, rest) = match text.strip_prefix("container:") {
                Some(rest) => (Sibling::Container as fn(String) -> Sibling, rest),
                None => (Sibling::Service as fn(String) -> Sibling, text),
            };
            let (name, access) = rest.split_once(':').unwrap_or((rest, "rw"));
            if name.is_empty() || !matches!(access, "ro" | "rw") {
                let title = format!("`{text}` names no volumes of another container");
                let help = "write `SERVICE`, `SERVICE:ro`, `container:NAME` or `container:NAME:ro`";
                self.problems.error(item.span, title).set_help(help);
                continue;
            }
            found.push(VolumesFrom {
                container: kind(name.to_owned()),
                read_only: access == "ro",
            });
        }
        found
    }

    fn named_volume(&self, item: &Node) -> MountSource {
        let details = item.get("volume");
        let no_copy = details.is_some_and(|it| flag(it, "nocopy"));
        match item.get_str("source") {
            Some(key) => MountSource::Volume {
                name: self.final_name("volumes", key),
                no_copy,
                subpath: details.and_then(|it| text(it, "subpath")),
            },
            None => MountSource::Anonymous { no_copy },
        }
    }

    /// `PATH[:OPTION,…]`
    fn tmpfs(&mut self, item: &Node) -> Option<Mount> {
        let (target, list) = item
            .as_str()
            .map(|it| it.split_once(':').unwrap_or((it, "")))?;
        let (mut size, mut mode, mut uid, mut gid) = (None, None, None, None);
        let mut read_only = false;
        let mut options = Vec::new();
        for option in list.split(',').filter(|it| !it.is_empty()) {
            let (name, argument) = option.split_once('=').unwrap_or((option, ""));
            let understood = match name {
                "size" => {
                    size = value::parse_size(argument)
                        .ok()
                        .and_then(|it| u64::try_from(it).ok());
                    size.is_some()
                }
                "mode" => {
                    mode = value::parse_mode(argument).ok();
                    mode.is_some()
                }
                "uid" => {
                    uid = argument.parse().ok();
                    uid.is_some()
                }
                "gid" => {
                    gid = argument.parse().ok();
                    gid.is_some()
                }
                "ro" => {
                    read_only = true;
                    true
                }
                _ => {
                    options.push(option.to_owned());
                    true
                }
            };
            if !understood {
                self.problems
                    .error(item.span, format!("`{option}` is not an option of a tmpfs"));
            }
        }
        if !target.starts_with('/') {
            self.problems.error(
                item.span,
                format!("the tmpfs `{target}` is not an absolute path"),
            );
        }
        Some(Mount {
            target: target.to_owned(),
            read_only,
            source: MountSource::Tmpfs {
                size,
                mode,
                uid,
                gid,
                options,
            },
        })
    }
}

fn image(item: &Node) -> Option<MountSource> {
    Some(MountSource::Image {
        image: text(item, "source")?,
        subpath: item.get("image").and_then(|it| text(it, "subpath")),
    })
}

fn tmpfs_long(item: &Node) -> MountSource {
    let details = item.get("tmpfs");
    MountSource::Tmpfs {
        size: details.and_then(|it| size(it, "size")),
        mode: details
            .and_then(|it| it.get_int("mode"))
            .and_then(|it| u32::try_from(it).ok()),
        uid: None,
        gid: None,
        options: Vec::new(),
    }
}
