//! What runs: arguments, environment and working directory, merged as Docker does.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::{SpecError, SpecInput};

/// Source: moby `oci/defaults.go`, `DefaultPathEnv`.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Entrypoint and command as one list.
///
/// An entrypoint in the spec drops the image's command. An empty list is as good as none, but for an
/// entrypoint that is one empty word: it takes the image's away.
///
/// Source: moby `daemon/commit.go`, `merge`.
pub(super) fn args(input: &SpecInput<'_>) -> Result<Vec<String>, SpecError> {
    let (container, image) = (input.container, input.image);
    let own_entrypoint = container.entrypoint.as_ref();
    let entrypoint = match own_entrypoint {
        Some(words) if words.len() == 1 && words[0].is_empty() => &[][..],
        Some(words) => words,
        None => &image.entrypoint,
    };
    let command = match &container.command {
        Some(words) if !words.is_empty() => words.as_slice(),
        _ if own_entrypoint.is_some_and(|words| !words.is_empty()) => &[],
        _ => &image.cmd,
    };
    let args: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    if args.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    // Line breaks are fine in arguments (scripts), NUL is not: execve(2) would cut the text there.
    no_nul("the command", args.iter())?;
    Ok(args)
}

/// The environment: defaults, then the image's, then the spec's, then `HOME` if nobody set it.
///
/// A name keeps the place where it appeared first. Source: moby `container/env.go`.
pub(super) fn environment(input: &SpecInput<'_>) -> Result<Vec<String>, SpecError> {
    let container = input.container;
    let mut lines = vec![PATH.to_owned(), format!("HOSTNAME={}", input.hostname)];
    if container.tty {
        lines.push("TERM=xterm".to_owned());
    }
    let image = input
        .image
        .env
        .iter()
        .filter(|line| name(line).is_some())
        .cloned();
    let mut merged = Merged::default();
    lines
        .into_iter()
        .chain(image)
        .for_each(|line| merged.set(line));
    let of_devices = input.device_env.iter();
    of_devices.for_each(|line| merged.set(line.clone()));
    for (name, value) in &container.environment {
        if name.is_empty() || name.contains('=') {
            return Err(SpecError::EnvironmentName { name: name.clone() });
        }
        match value {
            Some(value) => merged.set(format!("{name}={value}")),
            None => merged.remove(name),
        }
    }
    if !merged.places.contains_key("HOME") {
        merged.set(format!("HOME={}", input.user.home));
    }
    let lines: Vec<String> = merged.lines.into_iter().flatten().collect();
    no_nul("the environment", lines.iter())?;
    Ok(lines)
}

/// Lines `KEY=VALUE`, each key once.
#[derive(Default)]
struct Merged {
    lines: Vec<Option<String>>,
    places: BTreeMap<String, usize>,
}

impl Merged {
    fn set(&mut self, line: String) {
        let key = name(&line).unwrap_or(&line).to_owned();
        match self.places.get(&key) {
            Some(place) => self.lines[*place] = Some(line),
            None => {
                self.places.insert(key, self.lines.len());
                self.lines.push(Some(line));
            }
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(place) = self.places.remove(key) {
            self.lines[place] = None;
        }
    }
}

fn name(line: &str) -> Option<&str> {
    line.split_once('=')
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty())
}

/// Where the process starts.
///
/// Nothing inside `/proc`: `/proc/self/fd/7` would be a directory of the host if the runtime ever
/// leaked one (CVE-2024-21626).
pub(super) fn working_dir(input: &SpecInput<'_>) -> Result<PathBuf, SpecError> {
    let path = match input.container.working_dir.as_deref() {
        Some(path) if !path.is_empty() => path,
        _ if !input.image.working_dir.is_empty() => &input.image.working_dir,
        _ => "/",
    };
    no_nul("the working directory", [path])?;
    if !path.starts_with('/') {
        return Err(SpecError::WorkingDirRelative {
            path: path.to_owned(),
        });
    }
    let clean = clean(path);
    if clean.starts_with("/proc") && clean != Path::new("/proc") {
        return Err(SpecError::WorkingDirProc {
            path: path.to_owned(),
        });
    }
    Ok(clean)
}

/// Takes out `.`, `..` and doubled slashes, by the text alone.
pub(super) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Refuses a text that C would cut short.
pub(super) fn no_nul(
    what: &'static str,
    texts: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<(), SpecError> {
    if texts.into_iter().any(|text| text.as_ref().contains('\0')) {
        return Err(SpecError::ControlCharacter { what });
    }
    Ok(())
}
