//! Mounts, from `Binds`, `Mounts`, `Tmpfs` and `Volumes`, and back.

use scheduler::model::container::{Mount, MountSource};
use serde_json::{Value, json};

use super::config::bytes;
use super::config::{BindOptions, Config, HostConfig, MountPoint, TmpfsOptions, VolumeOptions};
use crate::api::error::{EngineError, bad};

/// Reads all four; a target that is named twice is refused, but for `Volumes`, which yield.
pub(super) fn read(config: &Config, host: &HostConfig) -> Result<Vec<Mount>, EngineError> {
    let mut mounts = Vec::new();
    for text in host.binds.iter().flatten() {
        push(&mut mounts, bind(text)?)?;
    }
    for point in &host.mounts {
        push(&mut mounts, long(point)?)?;
    }
    for (target, options) in &host.tmpfs {
        push(&mut mounts, tmpfs(target, options)?)?;
    }
    for target in config.volumes.iter().flat_map(|volumes| volumes.keys()) {
        let target = clean(target)?;
        if !mounts.iter().any(|mount| mount.target == target) {
            let source = MountSource::Anonymous { no_copy: false };
            mounts.push(Mount {
                target,
                read_only: false,
                source,
            });
        }
    }
    Ok(mounts)
}

fn push(mounts: &mut Vec<Mount>, mount: Mount) -> Result<(), EngineError> {
    if mounts.iter().any(|other| other.target == mount.target) {
        return Err(bad(format!("Duplicate mount point: {}", mount.target)));
    }
    mounts.push(mount);
    Ok(())
}

fn clean(target: &str) -> Result<String, EngineError> {
    match target.trim_end_matches('/') {
        _ if !target.starts_with('/') => Err(bad(format!(
            "invalid volume specification: invalid mount path: '{target}' mount path must be absolute"
        ))),
        "" => Err(bad(
            "invalid volume specification: destination can't be '/'",
        )),
        path => Ok(path.to_owned()),
    }
}

/// `/src:/dst:ro`, `volume:/dst`, `/dst`.
fn bind(text: &str) -> Result<Mount, EngineError> {
    let parts: Vec<_> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad(format!("invalid volume specification: '{text}'"))),
    };
    let (mut read_only, mut no_copy, mut propagation) = (false, false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "copy" => {}
            "nocopy" => no_copy = true,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                propagation = Some(option.to_owned());
            }
            _ => return Err(bad(format!("invalid mode: {options}"))),
        }
    }
    let source = match source {
        "" => MountSource::Anonymous { no_copy },
        path if path.starts_with('/') => MountSource::Bind {
            path: path.to_owned(),
            create: true,
            propagation,
            recursive: true,
            writable_below: false,
        },
        name => MountSource::Volume {
            name: volume_name(name)?,
            no_copy,
            subpath: None,
        },
    };
    Ok(Mount {
        target: clean(target)?,
        read_only,
        source,
    })
}

/// Docker's rule for names of volumes.
pub(super) fn volume_name(name: &str) -> Result<String, EngineError> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first && rest && name.len() > 1 {
        return Ok(name.to_owned());
    }
    Err(bad(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

fn long(point: &MountPoint) -> Result<Mount, EngineError> {
    let source = match point.r#type.as_str() {
        "bind" => {
            let options = point.bind_options.clone().unwrap_or_default();
            if !point.source.starts_with('/') {
                return Err(bad(format!(
                    "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
                    point.source
                )));
            }
            MountSource::Bind {
                path: point.source.clone(),
                create: options.create_mountpoint,
                propagation: Some(options.propagation).filter(|text| !text.is_empty()),
                recursive: !options.non_recursive,
                writable_below: options.read_only_non_recursive,
            }
        }
        "volume" => volume(point)?,
        "tmpfs" => {
            let options = point.tmpfs_options.clone().unwrap_or_default();
            MountSource::Tmpfs {
                size: Some(options.size_bytes).filter(|size| *size > 0),
                mode: Some(options.mode).filter(|mode| *mode > 0),
                uid: None,
                gid: None,
                options: Vec::new(),
            }
        }
        other => return Err(bad(format!("mount type \"{other}\" is not supported"))),
    };
    Ok(Mount {
        target: clean(&point.target)?,
        read_only: point.read_only,
        source,
    })
}

fn volume(point: &MountPoint) -> Result<MountSource, EngineError> {
    let options = point.volume_options.clone().unwrap_or_default();
    let no_copy = options.no_copy;
    Ok(match point.source.as_str() {
        "" => MountSource::Anonymous { no_copy },
        name => MountSource::Volume {
            name: volume_name(name)?,
            no_copy,
            subpath: Some(options.subpath).filter(|path| !path.is_empty()),
        },
    })
}

/// `rw,size=64m,mode=1777` and the like.
fn tmpfs(target: &str, text: &str) -> Result<Mount, EngineError> {
    let (mut size, mut mode, mut uid, mut gid) = (None, None, None, None);
    let mut read_only = false;
    let mut options = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let invalid = || bad(format!("invalid tmpfs option \"{option}\""));
        match option.split_once('=') {
            Some(("size", value)) => size = Some(bytes(value).ok_or_else(invalid)?),
            Some(("mode", value)) => {
                mode = Some(u32::from_str_radix(value, 8).map_err(|_| invalid())?);
            }
            Some(("uid", value)) => uid = Some(value.parse().map_err(|_| invalid())?),
            Some(("gid", value)) => gid = Some(value.parse().map_err(|_| invalid())?),
            None if option == "ro" => read_only = true,
            None if option == "rw" => {}
            _ => options.push(option.to_owned()),
        }
    }
    let source = MountSource::Tmpfs {
        size,
        mode,
        uid,
        gid,
        options,
    };
    Ok(Mount {
        target: clean(target)?,
        read_only,
        source,
    })
}

/// What create would take to make the same mounts: `Binds` for what has that form, else `Mounts`.
pub(super) fn wanted(mounts: &[Mount]) -> (Vec<String>, Vec<MountPoint>) {
    let mut binds = Vec::new();
    let mut points = Vec::new();
    for mount in mounts {
        let suffix = if mount.read_only { ":ro" } else { "" };
        match &mount.source {
            MountSource::Bind {
                path: from,
                create: true,
                propagation: None,
                recursive: true,
                writable_below: false,
            }
            | MountSource::Volume {
                name: from,
                no_copy: false,
                subpath: None,
            } => {
                binds.push(format!("{from}:{}{suffix}", mount.target));
            }
            _ => points.push(point(mount)),
        }
    }
    (binds, points)
}

fn point(mount: &Mount) -> MountPoint {
    let mut point = MountPoint {
        target: mount.target.clone(),
        read_only: mount.read_only,
        ..MountPoint::default()
    };
    match &mount.source {
        MountSource::Bind {
            path,
            create,
            propagation,
            recursive,
            writable_below,
        } => {
            point.r#type = "bind".into();
            point.source.clone_from(path);
            point.bind_options = Some(BindOptions {
                propagation: propagation.clone().unwrap_or_default(),
                non_recursive: !recursive,
                read_only_non_recursive: *writable_below,
                create_mountpoint: *create,
            });
        }
        MountSource::Volume {
            name,
            no_copy,
            subpath,
        } => {
            point.r#type = "volume".into();
            point.source.clone_from(name);
            let subpath = subpath.clone().unwrap_or_default();
            point.volume_options = Some(VolumeOptions {
                no_copy: *no_copy,
                subpath,
                ..VolumeOptions::default()
            });
        }
        MountSource::Anonymous { no_copy } => {
            point.r#type = "volume".into();
            point.volume_options = Some(VolumeOptions {
                no_copy: *no_copy,
                ..VolumeOptions::default()
            });
        }
        MountSource::Image { image, .. } => {
            point.r#type = "image".into();
            point.source.clone_from(image);
        }
        MountSource::Tmpfs { size, mode, .. } => {
            point.r#type = "tmpfs".into();
            point.tmpfs_options = Some(TmpfsOptions {
                size_bytes: size.unwrap_or_default(),
                mode: mode.unwrap_or_default(),
            });
        }
    }
    point
}

/// A row of inspect's `Mounts`; what has no place on the host has none.
pub(super) fn row(mount: &Mount, volume_path: &dyn Fn(&str) -> String) -> Option<Value> {
    match &mount.source {
        MountSource::Bind {
            path, propagation, ..
        } => Some(json!({
            "Type": "bind",
            "Source": path,
            "Destination": mount.target,
            "Mode": if mount.read_only { "ro" } else { "" },
            "RW": !mount.read_only,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        })),
        MountSource::Volume { name, .. } => Some(json!({
            "Type": "volume",
            "Name": name,
            "Source": volume_path(name),
            "Destination": mount.target,
            "Driver": "local",
            "Mode": "z",
            "RW": !mount.read_only,
            "Propagation": "",
        })),
        MountSource::Image { image, .. } => Some(json!({
            "Type": "image",
            "Source": image,
            "Destination": mount.target,
            "Mode": "",
            "RW": false,
            "Propagation": "",
        })),
        MountSource::Anonymous { .. } | MountSource::Tmpfs { .. } => None,
    }
}
