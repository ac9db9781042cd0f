//! Which files of a watched tree count: patterns as in a `.dockerignore`.
//!
//! Source: Docker's `.dockerignore` reference; Compose's `develop.watch` for what is never watched.

use scheduler::compose::Watch;

/// Never of interest: the repository's own files, and what editors leave for a moment.
const NEVER: [&str; 8] = [
    "**/.git",
    "**/.svn",
    "**/.DS_Store",
    "**/*~",
    "**/*.sw?",
    "**/.#*",
    "**/#*#",
    "**/4913",
];

/// Says of each path whether it counts.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    include: Vec<Pattern>,
    ignore: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// `!`: takes back what an earlier one ignores.
    back: bool,
    segments: Vec<String>,
}

impl Patterns {
    /// The patterns of an entry, over those of a `.dockerignore` in its directory.
    pub(super) fn of(wish: &Watch) -> Self {
        let file = std::fs::read_to_string(wish.path.join(".dockerignore")).unwrap_or_default();
        let lines = file.lines().map(str::trim);
        let lines = lines.filter(|it| !it.is_empty() && !it.starts_with('#'));
        let own = wish.ignore.iter().map(String::as_str);
        Self {
            include: wish.include.iter().map(|it| Pattern::parse(it)).collect(),
            ignore: lines.chain(own).chain(NEVER).map(Pattern::parse).collect(),
        }
    }

    /// Whether the file counts; the path is relative to the tree, with `/`.
    pub(super) fn counts(&self, path: &str) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|it| it.covers(path));
        included && !self.ignores(path)
    }

    /// Whether nothing below the directory can count.
    pub(super) fn skips(&self, directory: &str) -> bool {
        self.ignore.iter().all(|it| !it.back) && self.ignores(directory)
    }

    fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for pattern in &self.ignore {
            if pattern.covers(path) {
                ignored = !pattern.back;
            }
        }
        ignored
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let (back, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let segments = text.split('/').filter(|it| !it.is_empty() && *it != ".");
        Self {
            back,
            segments: segments.map(str::to_owned).collect(),
        }
    }

    /// Whether it names the path or a directory above it.
    fn covers(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
        (1..=path.len()).any(|length| matches(&self.segments, &path[..length]))
    }
}

/// `**` stands for any number of segments.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            matches(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, path)| matches(pattern, path))
        }
        (Some((first, rest)), Some((name, path))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            segment(&first, &name) && matches(rest, path)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// `*` is any number of characters, `?` one.
fn segment(pattern: &[char], name: &[char]) -> bool {
    // Where to go on when the last star takes one character more.
    let (mut at, mut of_name, mut star) = (0, 0, None);
    while of_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of_name));
                at += 1;
            }
            Some(it) if *it == '?' || *it == name[of_name] => {
                at += 1;
                of_name += 1;
            }
            _ => {
                let Some((back, taken)) = star else {
                    return false;
                };
                star = Some((back, taken + 1));
                (at, of_name) = (back + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(include: &[&str], ignore: &[&str], paths: &str, expected: &str) {
        let parse = |list: &[&str]| list.iter().map(|it| Pattern::parse(it)).collect();
        let patterns = Patterns {
            include: parse(include),
            ignore: parse(ignore),
        };
        let counts: Vec<_> = paths.split(' ').filter(|it| patterns.counts(it)).collect();
        assert_eq!(counts.join(" "), expected);
    }

    #[test]
    fn a_pattern_names_a_file_or_all_below_a_directory() {
        check(
            &[],
            &["node_modules"],
            "a node_modules/b/c x/node_modules/d",
            "a x/node_modules/d",
        );
        check(
            &[],
            &["**/node_modules/"],
            "a node_modules/b x/node_modules/d",
            "a",
        );
        check(
            &[],
            &["*.md", "!README.md"],
            "a.md README.md b/c.md",
            "README.md b/c.md",
        );
        check(
            &["*.rs", "src"],
            &["src/gen"],
            "a.rs b.c src/x src/gen/y",
            "a.rs src/x",
        );
        check(&[], &["a?c/*b*"], "abc/xby abc/x ac/b", "abc/x ac/b");
    }

    #[test]
    fn what_editors_leave_never_counts() {
        check(
            &[],
            &NEVER,
            "a a~ b/.a.swp .git/HEAD b/#a# main.rs",
            "a main.rs",
        );
    }
}
