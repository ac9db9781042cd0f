//! `driver_opts` of a volume → what mount(2) takes. Pure.
//!
//! Source: Docker's `local` driver (`type`, `o`, `device` as for mount(8)); mount(2).

use nix::mount::MsFlags;
use scheduler::model::volume::VolumeSpec;

use super::VolumeError;

/// What to mount at the volume's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountOptions {
    pub(super) kind: String,
    pub(super) device: String,
    pub(super) flags: MsFlags,
    /// What the file system itself is told.
    pub(super) data: String,
}

/// Words that are flags, and whether they set or clear.
const FLAGS: &[(&str, MsFlags, bool)] = &[
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("bind", MsFlags::MS_BIND, true),
    ("defaults", MsFlags::empty(), true),
];

impl MountOptions {
    /// `None` for a plain volume.
    pub(super) fn parse(spec: &VolumeSpec) -> Result<Option<Self>, VolumeError> {
        let fail = |reason: String| VolumeError::Options {
            name: spec.name.clone(),
            reason,
        };
        let unknown = spec
            .driver_opts
            .keys()
            .find(|key| !matches!(key.as_str(), "type" | "o" | "device"));
        if let Some(key) = unknown {
            return Err(fail(format!(
                "`{key}` is not supported: only `type`, `o` and `device` are"
            )));
        }
        let option = |key: &str| spec.driver_opts.get(key).filter(|value| !value.is_empty());
        let (kind, device) = match (option("type"), option("device"), option("o")) {
            (None, None, None) => return Ok(None),
            (Some(kind), Some(device), _) => (kind.clone(), device.clone()),
            (None, _, _) => return Err(fail("`type` is missing".to_owned())),
            (_, None, _) => return Err(fail("`device` is missing".to_owned())),
        };
        let (flags, data) = split(option("o").map_or("", String::as_str)).map_err(&fail)?;
        if flags.contains(MsFlags::MS_BIND) && !device.starts_with('/') {
            return Err(fail(format!("`{device}` is no absolute path")));
        }
        Ok(Some(Self {
            kind,
            device,
            flags,
            data,
        }))
    }
}

/// Flags, and what remains for the file system.
fn split(options: &str) -> Result<(MsFlags, String), String> {
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for word in options
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match FLAGS.iter().find(|(name, _, _)| *name == word) {
            Some((_, flag, set)) => flags.set(*flag, *set),
            // A recursive bind would bring along mounts that the removal had to find again.
            None if word == "rbind" => {
                return Err("`rbind` is not supported: use `bind`".to_owned());
            }
            None => data.push(word),
        }
    }
    Ok((flags, data.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &[(&str, &str)], expected: &str) {
        let driver_opts = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let spec = VolumeSpec {
            name: "data".to_owned(),
            driver_opts,
            ..VolumeSpec::default()
        };
        let text = match MountOptions::parse(&spec) {
            Ok(None) => "plain".to_owned(),
            Ok(Some(mount)) => format!(
                "{} {} {:?} {:?}",
                mount.kind, mount.device, mount.flags, mount.data
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn options_become_what_mount_takes() {
        check(&[], "plain");
        check(
            &[
                ("type", "tmpfs"),
                ("device", "tmpfs"),
                ("o", "size=10m,uid=1000,nosuid"),
            ],
            "tmpfs tmpfs MsFlags(MS_NOSUID) \"size=10m,uid=1000\"",
        );
        check(
            &[("type", "none"), ("device", "/srv"), ("o", "bind")],
            "none /srv MsFlags(MS_BIND) \"\"",
        );
        check(
            &[
                ("type", "nfs"),
                ("device", ":/x"),
                ("o", "addr=192.0.2.1,ro,rw"),
            ],
            "nfs :/x MsFlags(0x0) \"addr=192.0.2.1\"",
        );
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let wrong = |reason: &str| format!("driver options of volume `data`: {reason}");
        check(&[("type", "tmpfs")], &wrong("`device` is missing"));
        check(&[("o", "bind")], &wrong("`type` is missing"));
        check(
            &[("size", "1g")],
            &wrong("`size` is not supported: only `type`, `o` and `device` are"),
        );
        check(
            &[("type", "none"), ("device", "srv"), ("o", "bind")],
            &wrong("`srv` is no absolute path"),
        );
        check(
            &[("type", "none"), ("device", "/srv"), ("o", "rbind")],
            &wrong("`rbind` is not supported: use `bind`"),
        );
    }
}
