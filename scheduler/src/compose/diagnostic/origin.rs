//! How texts came to be part of the project, so that a problem in one can say who brought it in.
//!
//! ```text
//! main.yaml ── include ──► shop.yaml ── extends ──► common.yaml
//!    "included here"          "extended by `web` here"
//! ```

use super::Span;

/// Longer ways are mistakes, and have been reported.
const MAX_STEPS: usize = 8;

/// One step from the place that names something to the text that was meant.
#[derive(Debug)]
struct Origin {
    /// The text that was brought in: the body of a service, or `None` for a whole file.
    body: Option<Span>,
    file: u32,
    /// Where it is named.
    named: Span,
    how: How,
}

#[derive(Debug)]
enum How {
    Included,
    /// By the service of this name.
    Extended(String),
}

/// All steps of a run.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<Origin>);

impl Origins {
    pub(super) fn included(&mut self, file: u32, named: Span) {
        self.0.push(Origin {
            body: None,
            file,
            named,
            how: How::Included,
        });
    }

    pub(super) fn extended(&mut self, body: Span, named: Span, by: &str) {
        self.0.push(Origin {
            body: Some(body),
            file: body.file,
            named,
            how: How::Extended(by.to_owned()),
        });
    }

    /// The steps that lead from a problem back to the project's own files, nearest first, each with
    /// what to say of it.
    pub(super) fn trail(&self, at: Span, title: &str) -> Vec<(Span, String)> {
        let mut trail = Vec::new();
        let mut here = at;
        while trail.len() < MAX_STEPS {
            let Some(origin) = self.step(here, title, MAX_STEPS) else {
                return trail;
            };
            if trail.iter().any(|(named, _)| *named == origin.named) {
                return trail;
            }
            trail.push((origin.named, origin.how.words()));
            here = origin.named;
        }
        trail
    }

    /// Of several services that extend the same one, that of which the problem speaks. A service
    /// that stands in the same file has its own problems, so there the problem must speak of another.
    fn step(&self, at: Span, title: &str, steps: usize) -> Option<&Origin> {
        let here = || self.0.iter().filter(move |it| it.brings(at));
        let meant = |it: &&Origin| match &it.how {
            How::Included => false,
            How::Extended(by) => {
                speaks_of(title, by)
                    || steps > 0 && self.speaks_of_above(it.named, title, steps - 1)
            }
        };
        let foreign = |it: &&Origin| it.named.file != it.file;
        here().find(meant).or_else(|| here().find(foreign))
    }

    fn speaks_of_above(&self, at: Span, title: &str, steps: usize) -> bool {
        let extended = |it: &&Origin| matches!(it.how, How::Extended(_)) && it.brings(at);
        self.0.iter().filter(extended).any(|it| match &it.how {
            How::Extended(by) if speaks_of(title, by) => true,
            _ => steps > 0 && self.speaks_of_above(it.named, title, steps - 1),
        })
    }
}

impl Origin {
    fn brings(&self, at: Span) -> bool {
        match self.body {
            Some(body) => body.contains(at),
            None => self.file == at.file,
        }
    }
}

impl How {
    fn words(&self) -> String {
        match self {
            Self::Included => "included from here".to_owned(),
            Self::Extended(by) => format!("extended by service `{by}` here"),
        }
    }
}

fn speaks_of(title: &str, service: &str) -> bool {
    title.contains(&format!("service `{service}`"))
}
