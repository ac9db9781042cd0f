//! `check`: what is wrong with the files, and what looks wrong. Needs no node.

use std::process::ExitCode;

use clap::ValueEnum;
use scheduler::compose::{self, Color, Diagnostic, Group, Lints, Rule, Severity, UnknownRule};

use super::Outcome;
use crate::error::Failure;
use crate::output::{self, Colour, Table};
use crate::project::Context;

/// Find mistakes in the Compose file, and what was probably not meant
///
/// Ends with 1 if there are errors. A warning is silenced by `--allow RULE`, by a comment
/// `# wharfie:allow RULE` on its line or above it, or by `x-wharfie: {allow: [RULE]}` in the
/// service, or at the top for the whole file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the findings look like; JSON has one array, its positions count from 1
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Silence a rule; may be repeated
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Switch a rule on, or `pedantic`, all that are off; may be repeated
    #[arg(long, value_name = "RULE")]
    warn: Vec<String>,
    /// Make what a rule finds an error, or `warnings`, all that are on; may be repeated
    #[arg(long, value_name = "RULE")]
    deny: Vec<String>,
    /// Explain a rule or an attribute of the file; without a name, list the rules
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        default_missing_value = "",
        exclusive = true
    )]
    explain: Option<String>,
}

/// What wharfie does with each attribute; a test holds it against the tables of the loader.
const ATTRIBUTES: &str = include_str!("../../compose.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if let Some(name) = &self.explain {
            output::result(explain(name)?);
            return Ok(ExitCode::SUCCESS);
        }
        let found = context.check(&self.lints()?)?;
        match self.format {
            Format::Json => output::result(compose::to_json(&found)?),
            Format::Text if found.is_empty() => output::note("no problems found"),
            Format::Text => {
                let color = match context.colour() {
                    Colour::On => Color::Ansi,
                    Colour::Off => Color::Plain,
                };
                output::line(compose::render_all(&found, color));
                output::note(format!("\n{}", summary(&found)));
            }
        }
        match found.iter().any(|it| it.severity() == Severity::Error) {
            true => Ok(ExitCode::FAILURE),
            false => Ok(ExitCode::SUCCESS),
        }
    }

    /// What is allowed by name wins over what is switched on in groups.
    fn lints(&self) -> Result<Lints, Failure> {
        let mut lints = Lints::for_check();
        for name in &self.warn {
            lints.warn(name).map_err(unknown)?;
        }
        for name in &self.deny {
            lints.deny(name).map_err(unknown)?;
        }
        for name in &self.allow {
            lints.allow(name).map_err(unknown)?;
        }
        Ok(lints)
    }
}

fn unknown(error: UnknownRule) -> Failure {
    let hint = match error.meant {
        Some(meant) => format!("Did you mean `{}`?", meant.name()),
        None => "`wharfie check --explain` lists the rules.".to_owned(),
    };
    Failure::from(error).hint(hint)
}

fn explain(name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Ok(list());
    }
    if let Some(rule) = Rule::named(name) {
        return Ok(rule.page().to_owned());
    }
    let rows = attribute(name);
    match rows.is_empty() {
        false => Ok(rows),
        true => {
            let hint = match Rule::nearest(name) {
                Some(meant) => format!("Did you mean `{}`?", meant.name()),
                None => "`wharfie check --explain` lists the rules.".to_owned(),
            };
            Err(Failure::new(format!("there is no rule or attribute `{name}`")).hint(hint))
        }
    }
}

/// What the page says of an attribute wherever it may stand, and of what stands below it.
fn attribute(name: &str) -> String {
    let mut prefix = "";
    let mut found = String::new();
    for line in ATTRIBUTES.lines() {
        if line.starts_with("## ") {
            prefix = line.split('`').nth(1).unwrap_or_default();
        }
        let row = line
            .strip_prefix("| `")
            .and_then(|it| it.split_once("` | "));
        let Some((path, rest)) = row else { continue };
        let path = match prefix {
            "" => path.to_owned(),
            prefix => format!("{prefix}.{path}"),
        };
        let asked = path == name
            || path.ends_with(&format!(".{name}"))
            || path.contains(&format!(".{name}."))
            || path.starts_with(&format!("{name}."));
        if asked {
            let (status, note) = rest.split_once(" |").unwrap_or((rest, ""));
            let note = note.trim_end_matches('|').trim();
            let colon = if note.is_empty() { "" } else { ": " };
            found.push_str(&format!("{path}: {status}{colon}{note}\n"));
        }
    }
    found
}

fn list() -> String {
    let mut table = Table::new(10, &["RULE", "ON", "ABOUT"]);
    for rule in Rule::ALL {
        let on = match rule.group() {
            Group::Loading => "always",
            Group::Check => "check",
            Group::Pedantic => "pedantic",
        };
        table.row(vec![
            rule.name().to_owned(),
            on.to_owned(),
            rule.summary().to_owned(),
        ]);
    }
    table.render()
}

/// `2 errors, 1 warning`.
fn summary(found: &[Diagnostic]) -> String {
    let count = |severity: Severity, word: &str| match found
        .iter()
        .filter(|it| it.severity() == severity)
        .count()
    {
        0 => None,
        1 => Some(format!("1 {word}")),
        count => Some(format!("{count} {word}s")),
    };
    let parts = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
