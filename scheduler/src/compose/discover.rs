//! Which files are loaded, and what the project is called, when nobody says so.
//!
//! Pure: whether a file exists is asked of the caller.

use std::path::{Path, PathBuf};

/// Names looked for in a directory; the first one wins.
pub const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// Names of a second file that is merged over the one that was found.
pub const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What was found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, and its override file if there is one.
    pub files: Vec<PathBuf>,
    /// Candidates that lost, to be warned about.
    pub ignored: Vec<PathBuf>,
}

/// Looks for Compose files in `directory` and then in its parents.
pub fn find(directory: &Path, exists: &dyn Fn(&Path) -> bool) -> Option<Found> {
    directory.ancestors().find_map(|it| find_in(it, exists))
}

fn find_in(directory: &Path, exists: &dyn Fn(&Path) -> bool) -> Option<Found> {
    let present = |names: [&str; 4]| -> Vec<PathBuf> {
        names
            .iter()
            .map(|name| directory.join(name))
            .filter(|it| exists(it))
            .collect()
    };
    let mut candidates = present(FILE_NAMES).into_iter();
    let mut files = vec![candidates.next()?];
    let mut ignored: Vec<_> = candidates.collect();
    let mut overrides = present(OVERRIDE_NAMES).into_iter();
    files.extend(overrides.next());
    ignored.extend(overrides);
    Some(Found { files, ignored })
}

/// Splits `COMPOSE_FILE`; the separator is `COMPOSE_PATH_SEPARATOR`, or a colon.
pub fn split_compose_file(value: &str, separator: Option<&str>) -> Vec<PathBuf> {
    let separator = separator.filter(|it| !it.is_empty()).unwrap_or(":");
    value
        .split(separator)
        .filter(|it| !it.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// Why a name given by the user cannot be a project's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid project name `{name}`: it must consist only of lowercase alphanumeric characters, hyphens, \
     and underscores as well as start with a letter or number"
)]
pub struct ProjectNameError {
    pub name: String,
}

/// Checks a name that a user gave.
///
/// # Errors
///
/// Returns [`ProjectNameError`] when normalising would change it.
pub fn check_project_name(name: &str) -> Result<(), ProjectNameError> {
    if !name.is_empty() && normalize_project_name(name) == name {
        return Ok(());
    }
    Err(ProjectNameError {
        name: name.to_owned(),
    })
}

/// Makes a project's name out of a directory's; empty when nothing usable is left.
pub fn normalize_project_name(name: &str) -> String {
    let kept = |it: &char| matches!(it, 'a'..='z' | '0'..='9' | '_' | '-');
    let name: String = name.to_lowercase().chars().filter(kept).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

/// The name of a project that nobody named: its directory's, or that of the working directory.
pub fn default_project_name(directory: &Path) -> String {
    let base = directory
        .file_name()
        .map(|it| it.to_string_lossy())
        .unwrap_or_default();
    normalize_project_name(&base)
}
