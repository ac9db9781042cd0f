//! The rules by name, and which of them a run listens to.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::compose::check::nearest;

/// When a rule is listened to, unless it is asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// By every command that reads the files.
    Loading,
    /// By `wharfie check`.
    Check,
    /// By `wharfie check --warn pedantic`.
    Pedantic,
}

macro_rules! rules {
    ($($variant:ident $name:literal $group:ident)*) => {
        /// Something that is worth a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($variant,)*
        }

        impl Rule {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name by which it is silenced and explained.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub fn group(self) -> Group {
                match self {
                    $(Self::$variant => Group::$group,)*
                }
            }

            /// What it is about, why, and what to write instead: Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("pages/", $name, ".md")),)*
                }
            }
        }
    };
}

rules! {
    DecimalMode "decimal-mode" Loading
    NoEffect "no-effect" Loading
    ObsoleteVersion "obsolete-version" Loading
    RepeatedItem "repeated-item" Loading
    ShellOperator "shell-operator" Loading
    UnknownRule "unknown-rule" Loading
    UnsetVariable "unset-variable" Loading
    WindowsOnly "windows-only" Loading

    AnonymousDatabaseVolume "anonymous-database-volume" Check
    EngineSocket "engine-socket" Check
    HealthNotAwaited "health-not-awaited" Check
    LocalhostAddress "localhost-address" Check
    MissingFile "missing-file" Check
    MissingHealthcheck "missing-healthcheck" Check
    NeverCompletes "never-completes" Check
    PlainSecret "plain-secret" Check
    Privileged "privileged" Check
    PublishedDatabase "published-database" Check
    PublishedPortInside "published-port-inside" Check
    UnpinnedImage "unpinned-image" Check
    UnreachableService "unreachable-service" Check
    Unused "unused" Check

    Base60Port "base-60-port" Pedantic
    DatabaseWithoutVolume "database-without-volume" Pedantic
    Links "links" Pedantic
    NoMemoryLimit "no-memory-limit" Pedantic
    NoRestartPolicy "no-restart-policy" Pedantic
}

impl Rule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }

    /// The rule that was probably meant.
    pub fn nearest(name: &str) -> Option<Self> {
        Self::named(nearest(name, Self::ALL.iter().map(|it| it.name()))?)
    }

    /// The first line of its page that is not the title.
    pub fn summary(self) -> &'static str {
        let mut lines = self.page().lines().skip(1).map(str::trim);
        lines.find(|it| !it.is_empty()).unwrap_or_default()
    }
}

/// A name that is neither a rule nor a group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no rule `{name}`")]
pub struct UnknownRule {
    pub name: String,
    pub meant: Option<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Allow,
    Warn,
    Deny,
}

/// What a run does about each rule.
#[derive(Clone, Debug)]
pub struct Lints {
    levels: BTreeMap<Rule, Level>,
}

impl Default for Lints {
    /// What every command that reads the files listens to.
    fn default() -> Self {
        Self::up_to(Group::Loading)
    }
}

impl Lints {
    /// What `wharfie check` listens to.
    pub fn for_check() -> Self {
        Self::up_to(Group::Check)
    }

    fn up_to(group: Group) -> Self {
        let level = |rule: Rule| match rule.group() <= group {
            true => Level::Warn,
            false => Level::Allow,
        };
        let levels = Rule::ALL.iter().map(|rule| (*rule, level(*rule)));
        Self {
            levels: levels.collect(),
        }
    }

    /// Silences a rule, or the groups `pedantic` and `warnings` (all that are on).
    ///
    /// # Errors
    ///
    /// [`UnknownRule`] for any other name; so do the two below.
    pub fn allow(&mut self, name: &str) -> Result<(), UnknownRule> {
        self.set(name, Level::Allow)
    }

    /// Switches a rule on.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    pub fn warn(&mut self, name: &str) -> Result<(), UnknownRule> {
        self.set(name, Level::Warn)
    }

    /// Makes what a rule finds an error.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    pub fn deny(&mut self, name: &str) -> Result<(), UnknownRule> {
        self.set(name, Level::Deny)
    }

    pub(in crate::compose) fn wants(&self, rule: Rule) -> bool {
        self.levels.get(&rule) != Some(&Level::Allow)
    }

    pub(in crate::compose) fn denies(&self, rule: Rule) -> bool {
        self.levels.get(&rule) == Some(&Level::Deny)
    }

    fn set(&mut self, name: &str, level: Level) -> Result<(), UnknownRule> {
        let rules: Vec<Rule> = match name {
            "warnings" => Rule::ALL
                .iter()
                .copied()
                .filter(|it| self.wants(*it))
                .collect(),
            "pedantic" => Rule::ALL
                .iter()
                .copied()
                .filter(|it| it.group() == Group::Pedantic)
                .collect(),
            name => match Rule::named(name) {
                Some(rule) => vec![rule],
                None => {
                    return Err(UnknownRule {
                        name: name.to_owned(),
                        meant: Rule::nearest(name),
                    });
                }
            },
        };
        self.levels.extend(rules.into_iter().map(|it| (it, level)));
        Ok(())
    }
}
