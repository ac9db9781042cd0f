//! Where the reader of a message is, in words, and what was probably meant.

use super::{Checker, Step};

impl Checker<'_> {
    /// The node in question, in words: `` `ports[0].target` of service `web` ``.
    pub(in crate::compose) fn describe(&self) -> String {
        match self.path.as_slice() {
            [] => "the file".to_owned(),
            [Step::Key(section), Step::Key(name), rest @ ..] if noun(section).is_some() => {
                let owner = format!("{} `{name}`", noun(section).unwrap_or_default());
                if rest.is_empty() {
                    owner
                } else {
                    format!("`{}` of {owner}", join(rest))
                }
            }
            all => format!("`{}`", join(all)),
        }
    }

    pub(super) fn within(&self) -> String {
        if self.path.is_empty() {
            return " at the top level".to_owned();
        }
        format!(" in {}", self.describe())
    }
}

fn noun(section: &str) -> Option<&'static str> {
    Some(match section {
        "services" => "service",
        "networks" => "network",
        "volumes" => "volume",
        "secrets" => "secret",
        "configs" => "config",
        _ => return None,
    })
}

fn join(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Item(at) => text.push_str(&format!("[{at}]")),
        }
    }
    text
}

/// The name that was probably meant.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let distance = |name: &str| {
        strsim::damerau_levenshtein(&text, &name.to_ascii_lowercase().replace('-', "_"))
    };
    let (distance, name) = names.map(|name| (distance(name), name)).min()?;
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    (distance <= allowed).then_some(name)
}
